use super::{
    bounds, close, content, duplicates, durability, gaps, key_order, liveness, loss, outcome, parking, positions,
    progress, publish_order, time,
};
use crate::run::Run;
use crate::violation::{Anomaly, Violation};

/// A judge: all that it finds in a run, in no order of time.
pub type Judge = for<'r, 'a> fn(&'r Run<'a>) -> Vec<Violation>;

/// Every judge with the anomaly that it finds.
pub const JUDGES: &[(Anomaly, Judge)] = &[
    (Anomaly::Lost, loss::lost),
    (Anomaly::LostAtBroker, durability::lost_at_broker),
    (Anomaly::Phantom, content::phantoms),
    (Anomaly::AbortedRead, content::aborted_reads),
    (Anomaly::Corrupt, content::corruptions),
    (Anomaly::LogDuplicate, duplicates::log_duplicates),
    (Anomaly::ExcessDelivery, duplicates::excess_deliveries),
    (Anomaly::DoubleEffect, duplicates::double_effects),
    (Anomaly::KeyReorder, key_order::reorders),
    (Anomaly::KeyOverlap, key_order::overlaps),
    (Anomaly::PublishReorder, publish_order::reorders),
    (Anomaly::InconsistentPosition, positions::inconsistencies),
    (Anomaly::Gap, gaps::gaps),
    (Anomaly::Backwards, progress::backwards),
    (Anomaly::PrematureCommit, progress::premature_commits),
    (Anomaly::AckLie, durability::ack_lies),
    (Anomaly::LostOutcome, outcome::lost_outcomes),
    (Anomaly::Stuck, liveness::stuck),
    (Anomaly::UnseenAtDrain, loss::unseen_at_drain),
    (Anomaly::ParkLoss, parking::park_losses),
    (Anomaly::ParkedIncomplete, parking::incomplete),
    (Anomaly::SilentDowngrade, durability::downgrades),
    (Anomaly::UnboundedGrowth, bounds::growth),
    (Anomaly::CloseViolation, close::violations),
    (Anomaly::TimeTravel, time::travels),
    (Anomaly::HalfBatch, outcome::half_batches),
];

/// Asks every judge; the violations come in order of their anomaly's number.
pub fn judge(run: &Run<'_>) -> Vec<Violation> {
    JUDGES.iter().flat_map(|(_, judge)| judge(run)).collect()
}
