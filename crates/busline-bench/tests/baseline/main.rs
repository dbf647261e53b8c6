//! The benchmark's baseline on the project itself: this build against itself raises no alarm, and a slowed one does.
//!
//! It is run in release and alone (`RELEASE_TESTS` in xtask): a build of another kind, or other tests at the same time,
//! would be what is compared.

#[path = "../refusal/slowed.rs"]
mod slowed;
#[path = "../refusal/wrapped.rs"]
mod wrapped;

mod against_itself;
