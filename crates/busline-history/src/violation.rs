use std::fmt;

/// A rule that the run broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub anomaly: Anomaly,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen, on one line: ids, positions, key and time since the run began.
    pub facts: String,
}

impl Violation {
    pub(crate) fn fatal(anomaly: Anomaly, facts: impl Into<String>) -> Self {
        Self { anomaly, severity: Severity::Fatal, facts: facts.into() }
    }

    pub(crate) fn fail(anomaly: Anomaly, facts: impl Into<String>) -> Self {
        Self { anomaly, severity: Severity::Fail, facts: facts.into() }
    }

    pub(crate) fn counted(anomaly: Anomaly, facts: impl Into<String>) -> Self {
        Self { anomaly, severity: Severity::Counted, facts: facts.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.anomaly.code(), self.anomaly.name(), self.facts)
    }
}

/// How bad a violation is, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Legal in this run, and worth a number in its summary.
    Counted,
    /// The run failed.
    Fail,
    /// The run failed, and a promise about data is broken.
    Fatal,
}

macro_rules! anomalies {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $promise:literal;)*) => {
        /// What a history must not show.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Anomaly {
            $($(#[$doc])* $variant,)*
        }

        impl Anomaly {
            /// All of them, in order of their number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its number, for example `A1`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Its name in words.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The promises it breaks, for example `C1, P4`.
            pub fn promises(self) -> &'static str {
                match self { $(Self::$variant => $promise,)* }
            }
        }
    };
}

anomalies! {
    /// An acked envelope was not handled, parked or skipped.
    Lost = "A1", "lost", "C1, P4";
    /// An acked envelope is not stored.
    LostAtBroker = "A2", "lost at broker", "P4";
    /// Something is stored or delivered that nobody published.
    Phantom = "A3", "phantom", "C1";
    /// Something is stored or delivered that certainly was not published.
    AbortedRead = "A4", "aborted read", "P2";
    /// Content, key or topic changed on the way.
    Corrupt = "A5", "corrupt", "C1";
    /// One publish is stored twice.
    LogDuplicate = "A6", "log duplicate", "P5";
    /// A record came again without a permitted cause.
    ExcessDelivery = "A7", "excess delivery", "C5";
    /// An effect that was promised once happened twice.
    DoubleEffect = "A8", "double effect", "effectively once";
    /// A record of a key was started before the one before it ended.
    KeyReorder = "A9", "key reorder", "C2";
    /// Two handlers of one key ran at once.
    KeyOverlap = "A10", "key overlap", "C2";
    /// Envelopes of one publisher and key are stored out of order, or acked behind a hole.
    PublishReorder = "A11", "publish reorder", "P1";
    /// One position holds two envelopes.
    InconsistentPosition = "A12", "inconsistent position", "P4";
    /// A consumer passed over a stored position.
    Gap = "A13", "gap", "C4, C14";
    /// A consumer or a committed offset went back by itself.
    Backwards = "A14", "backwards", "C4";
    /// A commit passed an unfinished record.
    PrematureCommit = "A15", "premature commit", "C1, C4";
    /// A fault took what its ack said it could not.
    AckLie = "A16", "ack lie", "P4";
    /// A publish has no outcome in time, or more than one.
    LostOutcome = "A17", "lost outcome", "P2";
    /// Something waits and nothing moves.
    Stuck = "A18", "stuck", "C15, B1";
    /// The drain ended and something still waits.
    UnseenAtDrain = "A19", "unseen at drain", "C15";
    /// A record out of attempts is not parked, or a parked one was handled.
    ParkLoss = "A20", "park loss, park lie", "C7, C8";
    /// A parked record lacks a part of its diagnosis.
    ParkedIncomplete = "A21", "parked incomplete", "C7";
    /// The durability got is weaker than the one asked for.
    SilentDowngrade = "A23", "silent downgrade", "P4, T4";
    /// A gauge or a retry count passed its bound.
    UnboundedGrowth = "A24", "unbounded growth", "C11, B4";
    /// A close was late, not final, or not the same twice.
    CloseViolation = "A25", "close violation", "P9, C13";
    /// A timestamp went back or a delay fired early.
    TimeTravel = "A26", "time travel", "B1";
    /// An atomic batch is stored in part. It has no number of its own and goes by its promise.
    HalfBatch = "P6", "half batch", "P6";
}
