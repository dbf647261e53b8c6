//! The busline command.
fn main() {}
