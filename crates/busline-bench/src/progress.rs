//! How far a benchmark is.

/// Who is told how far a benchmark is.
pub trait Progress {
    /// It begins, and has so many steps.
    fn begin(&mut self, steps: u64);

    /// A step begins.
    fn step(&mut self, what: &str);

    /// All steps are done, or no more follow.
    fn end(&mut self);

    /// Whether to end early: the report then holds what was measured until then.
    fn is_cancelled(&self) -> bool;
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&mut self, _steps: u64) {}

    fn step(&mut self, _what: &str) {}

    fn end(&mut self) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}
