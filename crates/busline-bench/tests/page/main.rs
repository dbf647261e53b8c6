//! The pages of a benchmark in a real browser: they load without a word on the console, every plot is there and not empty,
//! and nothing needs a network or more width than a phone has.

mod broken;
mod browser;
mod pages;
mod probe;
mod whole;
