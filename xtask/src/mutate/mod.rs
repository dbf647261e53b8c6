//! `cargo xtask mutate`: break the code on purpose, and see that the test that holds the promise notices.
//!
//! A mutation is `xtask/mutations/NAME.patch`: a diff for `git apply` behind two lines that say what it breaks and
//! which test must turn red. The tree is copied for it, so the checkout is never changed.

mod copy;
mod patch;
mod request;
mod task;
mod verdict;

pub(crate) use request::Request;
pub(crate) use task::run;
