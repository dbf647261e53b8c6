//! Whether a command changes something, or says what it would change.

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    DryRun,
    ForGood,
}

impl Mode {
    pub(super) fn of(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::ForGood }
    }
}
