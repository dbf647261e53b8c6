use crate::entry::{Crash, Durability, Fault, FaultStart, Medium, Op, Target, Tolerance};
use crate::history::History;

/// The faults of a run.
#[derive(Debug, Default)]
pub(crate) struct Faults<'a> {
    spans: Vec<FaultSpan<'a>>,
}

/// One fault from its start to its stop.
#[derive(Debug)]
pub(crate) struct FaultSpan<'a> {
    pub(crate) start: &'a FaultStart,
    pub(crate) began: u64,
    /// `None`: it lasted to the end of the run.
    pub(crate) ended: Option<u64>,
    pub(crate) proof: Option<&'a str>,
}

impl FaultSpan<'_> {
    /// Whether it could take a record acked at `acked` although all its copies had that durability.
    pub(crate) fn may_take(&self, durability: Durability, acked: u64) -> bool {
        self.threatens(acked)
            && self.start.copies >= durability.copies
            && !survives(durability.medium, self.start.crash)
    }

    /// Whether it could take a weaker record than any acked at `acked`, so that surviving it is a feat.
    pub(crate) fn threatens(&self, acked: u64) -> bool {
        self.start.crash != Crash::Nothing && self.ended.is_none_or(|ended| ended >= acked)
    }

    /// Whether it was open at any time between the two, both included.
    pub(crate) fn overlaps(&self, from: u64, to: u64) -> bool {
        self.began <= to && self.ended.is_none_or(|ended| ended >= from)
    }
}

/// The table of promise P4: which medium outlives which crash.
fn survives(medium: Medium, crash: Crash) -> bool {
    match crash {
        Crash::Nothing => true,
        Crash::Process => medium >= Medium::Written,
        Crash::Power => medium >= Medium::Synced,
        Crash::Medium => false,
    }
}

impl<'a> Faults<'a> {
    pub(crate) fn gather(history: &'a History) -> Self {
        let mut faults = Self::default();
        for entry in history.entries() {
            match &entry.op {
                Op::Fault(Fault::Start(start)) => {
                    faults.spans.push(FaultSpan { start, began: entry.mono_ns, ended: None, proof: None });
                }
                Op::Fault(Fault::Stop(stop)) => {
                    let same = |span: &&mut FaultSpan<'_>| {
                        span.ended.is_none() && span.start.kind == stop.kind && span.start.target == stop.target
                    };
                    if let Some(span) = faults.spans.iter_mut().rev().find(same) {
                        span.ended = Some(entry.mono_ns);
                        span.proof = stop.proof.as_deref();
                    }
                }
                _ => {}
            }
        }
        faults
    }

    /// All of them, earliest first.
    pub(crate) fn spans(&self) -> &[FaultSpan<'a>] {
        &self.spans
    }

    /// Whether an ack of that durability at that time outlives everything that happened after it.
    pub(crate) fn spare(&self, durability: Durability, acked: u64) -> bool {
        !self.spans.iter().any(|span| span.may_take(durability, acked))
    }

    /// A broker that lost its state or its place between the two times.
    pub(crate) fn broker_failed(&self, from: u64, to: u64) -> bool {
        self.spans.iter().any(|span| {
            matches!(span.start.target, Target::Broker(_))
                && span.start.crash != Crash::Nothing
                && span.overlaps(from, to)
        })
    }

    /// The times between `from` and `to` without a fault beyond tolerance, each cut by `rest` at its beginning if a
    /// fault came before it.
    pub(crate) fn calms(&self, from: u64, to: u64, rest: u64) -> Vec<(u64, u64)> {
        let mut calms = Vec::new();
        let mut calm_from = from;
        for span in self.spans.iter().filter(|span| span.start.tolerance == Tolerance::Beyond) {
            if span.began > calm_from {
                calms.push((calm_from, span.began));
            }
            calm_from = calm_from.max(span.ended.map_or(u64::MAX, |ended| ended.saturating_add(rest)));
        }
        if calm_from < to {
            calms.push((calm_from, to));
        }
        calms
    }
}
