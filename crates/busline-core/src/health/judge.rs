//! The verdict: facts of one look, compared with those of the looks before. Pure: it takes values and an instant.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::report::{Health, HealthState, Reason, Work};
use crate::error::Error;
use crate::subscription::Blocked;
use crate::topic::{GroupName, Partition, TopicName};

/// Time for which a loss is said.
const LOSS_SAID: Duration = Duration::from_secs(600);

/// What one look finds.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) publishers: Vec<Publishing>,
    pub(crate) subscriptions: Vec<Subscribing>,
    pub(crate) feedings: Vec<Feeding>,
    /// Records deleted before these groups had finished them.
    pub(crate) deleted: Vec<(TopicName, GroupName, u64)>,
    /// Why the backend does not answer.
    pub(crate) silence: Option<Error>,
}

/// What one look finds of a publisher.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) number: u64,
    pub(crate) topic: TopicName,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
    pub(crate) waiting: u64,
    /// Time without an ack that means nothing.
    pub(crate) patience: Duration,
    pub(crate) trouble: Option<Error>,
}

/// What one look finds of a subscription.
#[derive(Debug)]
pub(crate) struct Subscribing {
    pub(crate) number: u64,
    pub(crate) topic: TopicName,
    pub(crate) group: GroupName,
    /// Committed offset and records that wait, of each partition it works on.
    pub(crate) partitions: Vec<(Partition, u64, u64)>,
    /// Positions that were missing where it read.
    pub(crate) missing: u64,
    pub(crate) patience: Duration,
    pub(crate) trouble: Option<Error>,
    pub(crate) blocked: Vec<Blocked>,
    /// Handlers that block their threads, and the partitions they work on.
    pub(crate) blocked_handlers: (usize, BTreeSet<Partition>),
}

/// What handlers have published to the topic that they read, counted from the start.
#[derive(Debug)]
pub(crate) struct Feeding {
    /// Number of the publisher.
    pub(crate) number: u64,
    pub(crate) topic: TopicName,
    pub(crate) group: GroupName,
    /// Envelopes that its handlers published with it.
    pub(crate) fed: u64,
    /// Events that they handled.
    pub(crate) handled: u64,
}

/// Fewer envelopes than this between two looks may be the last steps of something that ends.
const FED_MIN: u64 = 100;

/// What a course is: something that moves, of a publisher or of a partition of a subscription.
type Course = (u64, Option<Partition>);

/// A number that rises, and when it was seen to rise last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    value: u64,
    at: Instant,
}

/// Where a course stands, and since when something waits for it to move.
#[derive(Debug, Clone, Copy)]
struct Stand {
    value: u64,
    since: Option<Instant>,
}

/// What the looks before have seen.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    courses: HashMap<Course, Stand>,
    failed: HashMap<u64, u64>,
    /// Fed and handled, by publisher.
    feedings: HashMap<u64, (u64, u64)>,
    missing: HashMap<u64, Seen>,
    deleted: HashMap<(TopicName, GroupName), Seen>,
}

/// The verdicts on what is at work, while they are collected.
#[derive(Default)]
struct Verdict {
    reasons: Vec<Reason>,
    has_moved: bool,
    works: usize,
    standing: usize,
}

impl Memory {
    /// Judges these facts, and remembers them.
    pub(crate) fn judge(&mut self, facts: Facts, now: Instant) -> Health {
        let before = std::mem::take(self);
        let mut verdict = Verdict::default();
        for publishing in facts.publishers {
            self.judge_publisher(&before, publishing, now, &mut verdict);
        }
        for subscribing in facts.subscriptions {
            self.judge_subscription(&before, subscribing, now, &mut verdict);
        }
        for feeding in facts.feedings {
            self.judge_feeding(&before, feeding, &mut verdict);
        }
        // Groups that could not be looked at this time are not forgotten.
        self.deleted = before.deleted;
        for (topic, group, records) in facts.deleted {
            self.judge_deleted(topic, group, records, now, &mut verdict);
        }
        if facts.silence.is_some() {
            for (course, stand) in before.courses {
                self.courses.entry(course).or_insert(stand);
            }
        }
        // An ack that moved is a better sign of life than an answer.
        let is_silent = facts.silence.is_some() && !verdict.has_moved;
        verdict.reasons.extend(facts.silence.map(Reason::NoAnswer));
        let state = match verdict {
            _ if is_silent => HealthState::Down,
            Verdict { works, standing, .. } if works > 0 && works == standing => HealthState::Down,
            Verdict { ref reasons, .. } if reasons.is_empty() => HealthState::Healthy,
            _ => HealthState::Degraded,
        };
        Health { state, reasons: verdict.reasons }
    }

    fn judge_publisher(&mut self, before: &Self, is: Publishing, now: Instant, verdict: &mut Verdict) {
        let Publishing { number, topic, acked, failed, waiting, patience, trouble } = is;
        let (standing, moved) = self.follow(before, (number, None), acked, waiting, now);
        let fails = failed.saturating_sub(before.failed.get(&number).copied().unwrap_or_default());
        self.failed.insert(number, failed);
        let work = Work::Publisher(topic.clone());
        let stands = standing >= patience;
        let is_failing = fails > 0 && !moved;
        verdict.note(moved, stands || is_failing || (trouble.is_some() && !moved));
        verdict.reasons.extend(trouble.map(|error| Reason::Trouble(work.clone(), error)));
        if is_failing {
            verdict.reasons.push(Reason::Failing { topic, envelopes: fails });
        }
        if stands {
            verdict.reasons.push(Reason::NoProgress { work, partition: None, waiting, standing });
        }
    }

    fn judge_subscription(&mut self, before: &Self, is: Subscribing, now: Instant, verdict: &mut Verdict) {
        let Subscribing { number, topic, group, partitions, missing, patience, trouble, blocked, blocked_handlers } =
            is;
        let work = Work::Subscription(group.clone(), topic.clone());
        let mut has_moved = false;
        let mut standing = Vec::new();
        let busy = partitions.iter().filter(|(.., waiting)| *waiting > 0).count();
        for (partition, committed, waiting) in partitions {
            let (stands_for, moved) = self.follow(before, (number, Some(partition)), committed, waiting, now);
            has_moved |= moved;
            if stands_for >= patience {
                standing.push((stands_for, partition, waiting));
            }
        }
        let stands = busy > 0 && standing.len() == busy;
        verdict.note(has_moved, stands || (trouble.is_some() && !has_moved));
        verdict.reasons.extend(trouble.map(|error| Reason::Trouble(work.clone(), error)));
        verdict.reasons.extend(blocked.into_iter().map(|blocked| Reason::Blocked(group.clone(), blocked)));
        let (handlers, of) = blocked_handlers;
        if handlers > 0 {
            let (topic, group, partitions) = (topic.clone(), group.clone(), of.into_iter().collect());
            verdict.reasons.push(Reason::HandlerBlocked { topic, group, handlers, partitions });
        }
        if let Some((standing, partition, waiting)) = standing.into_iter().max() {
            verdict.reasons.push(Reason::NoProgress { work, partition: Some(partition), waiting, standing });
        }
        let said = grown(before.missing.get(&number).copied(), missing, now);
        self.missing.insert(number, said);
        if missing > 0 && now - said.at < LOSS_SAID {
            verdict.reasons.push(Reason::Missing { topic, group, positions: missing });
        }
    }

    /// Whoever publishes one event for each that he handles has never done.
    fn judge_feeding(&mut self, before: &Self, is: Feeding, verdict: &mut Verdict) {
        let Feeding { number, topic, group, fed, handled } = is;
        self.feedings.insert(number, (fed, handled));
        let Some((fed_before, handled_before)) = before.feedings.get(&number) else { return };
        let (envelopes, handled) = (fed.saturating_sub(*fed_before), handled.saturating_sub(*handled_before));
        // Attempts that have just ended may not be counted yet: a few of a hundred either way prove nothing.
        if envelopes >= FED_MIN && envelopes * 100 >= handled * 95 {
            verdict.reasons.push(Reason::SelfFeedingTopic { topic, group, envelopes });
        }
    }

    fn judge_deleted(&mut self, topic: TopicName, group: GroupName, records: u64, now: Instant, verdict: &mut Verdict) {
        let place = (topic, group);
        let said = grown(self.deleted.get(&place).copied(), records, now);
        let (topic, group) = place.clone();
        self.deleted.insert(place, said);
        if records > 0 && now - said.at < LOSS_SAID {
            verdict.reasons.push(Reason::Deleted { topic, group, records });
        }
    }

    /// How long this course has stood still while something waits, and whether it has moved since the last look.
    fn follow(&mut self, before: &Self, course: Course, value: u64, waiting: u64, now: Instant) -> (Duration, bool) {
        let known = before.courses.get(&course).copied();
        let moved = known.is_some_and(|known| known.value != value);
        let since = known.filter(|_| !moved).and_then(|known| known.since).unwrap_or(now);
        self.courses.insert(course, Stand { value, since: (waiting > 0).then_some(since) });
        (if waiting > 0 { now - since } else { Duration::ZERO }, moved)
    }
}

impl Verdict {
    fn note(&mut self, moved: bool, stands: bool) {
        self.has_moved |= moved;
        self.works += 1;
        self.standing += usize::from(stands);
    }
}

/// The value, with the time at which it was first seen.
fn grown(known: Option<Seen>, value: u64, now: Instant) -> Seen {
    known.filter(|known| known.value >= value).unwrap_or(Seen { value, at: now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn name(name: &str) -> TopicName {
        TopicName::new(name).expect("a legal name")
    }

    fn group() -> GroupName {
        GroupName::new("billing").expect("a legal name")
    }

    fn publishing(acked: u64, failed: u64, waiting: u64) -> Publishing {
        let patience = Duration::from_secs(5);
        Publishing { number: 1, topic: name("orders"), acked, failed, waiting, patience, trouble: None }
    }

    fn subscribing(partitions: &[(u32, u64, u64)]) -> Subscribing {
        Subscribing {
            number: 2,
            topic: name("orders"),
            group: group(),
            partitions: partitions.iter().map(|(number, is, waits)| (Partition(*number), *is, *waits)).collect(),
            missing: 0,
            patience: Duration::from_secs(35),
            trouble: None,
            blocked: Vec::new(),
            blocked_handlers: Default::default(),
        }
    }

    fn publishers(publishers: Vec<Publishing>) -> Facts {
        Facts { publishers, ..Facts::default() }
    }

    fn subscriptions(subscriptions: Vec<Subscribing>) -> Facts {
        Facts { subscriptions, ..Facts::default() }
    }

    fn silent() -> Option<Error> {
        Some(Error::new(ErrorKind::Unavailable, "Test"))
    }

    /// Judges one look after another, so many seconds from the first; gives the last verdict.
    fn judge(looks: impl IntoIterator<Item = (u64, Facts)>) -> Health {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let judged = looks.into_iter().map(|(second, facts)| memory.judge(facts, start + Duration::from_secs(second)));
        judged.last().expect("a look")
    }

    #[track_caller]
    fn check(looks: impl IntoIterator<Item = (u64, Facts)>, state: HealthState, reason: &str) {
        let health = judge(looks);
        assert_eq!(health.state, state, "{health}");
        assert!(health.to_string().contains(reason), "{health}");
        assert_eq!(health.reasons.is_empty(), state == HealthState::Healthy, "{health}");
    }

    #[test]
    fn a_publisher_is_judged_by_its_acks() {
        let at = |second, acked, failed, waiting| (second, publishers(vec![publishing(acked, failed, waiting)]));
        check([at(0, 0, 0, 0)], HealthState::Healthy, "");
        check([at(0, 5, 0, 1), at(4, 5, 0, 9)], HealthState::Healthy, "");
        check([at(0, 5, 0, 1), at(5, 5, 0, 9)], HealthState::Down, "nothing has moved for 5s while 9 wait");
        check([at(0, 5, 0, 1), at(5, 6, 0, 9)], HealthState::Healthy, "");
        check([at(0, 5, 0, 0), at(60, 5, 0, 1)], HealthState::Healthy, "");
        check([at(0, 5, 0, 1), at(4, 5, 0, 0), at(8, 5, 0, 1)], HealthState::Healthy, "");
        // Each fails at once, so nothing waits.
        check([at(0, 5, 0, 0), at(1, 5, 3, 0)], HealthState::Down, "3 envelopes failed and none was acked");
        check([at(0, 5, 0, 0), at(1, 6, 3, 0)], HealthState::Healthy, "");
        check([at(0, 5, 3, 0), at(1, 5, 3, 0)], HealthState::Healthy, "");
    }

    #[test]
    fn a_subscription_is_judged_by_its_commits() {
        let at = |second, partitions: &[_]| (second, subscriptions(vec![subscribing(partitions)]));
        check([at(0, &[(0, 7, 3)]), at(34, &[(0, 7, 4)])], HealthState::Healthy, "");
        check([at(0, &[(0, 7, 3)]), at(35, &[(0, 7, 4)])], HealthState::Down, "35s while 4 wait in partition 0");
        check([at(0, &[(0, 7, 3)]), at(35, &[(0, 8, 4)])], HealthState::Healthy, "");
        // One of two stands still.
        let one = [at(0, &[(0, 7, 3), (1, 0, 9)]), at(60, &[(0, 9, 1), (1, 0, 9)])];
        check(one, HealthState::Degraded, "while 9 wait in partition 1");
        // The other one has nothing to do.
        let only = [at(0, &[(0, 7, 0), (1, 0, 9)]), at(60, &[(0, 7, 0), (1, 0, 9)])];
        check(only, HealthState::Down, "partition 1");
        // Given away and taken again.
        check([at(0, &[(0, 7, 3)]), at(30, &[]), at(60, &[(0, 7, 3)])], HealthState::Healthy, "");
    }

    #[test]
    fn it_is_down_only_if_nothing_moves() {
        let both = |second, acked, committed| {
            let publishers = vec![publishing(acked, 0, 1)];
            (second, Facts { publishers, subscriptions: vec![subscribing(&[(0, committed, 1)])], ..Facts::default() })
        };
        check([both(0, 1, 1), both(60, 1, 1)], HealthState::Down, "");
        check([both(0, 1, 1), both(60, 2, 1)], HealthState::Degraded, "group billing on orders");
        check([both(0, 1, 1), both(60, 1, 2)], HealthState::Degraded, "publisher of orders");
    }

    #[test]
    fn an_ack_is_a_better_sign_of_life_than_an_answer() {
        check([(0, Facts { silence: silent(), ..Facts::default() })], HealthState::Down, "no answer: Unavailable/Test");
        let at = |acked| Facts { silence: silent(), ..publishers(vec![publishing(acked, 0, 1)]) };
        check([(0, at(1)), (1, at(1))], HealthState::Down, "no answer");
        check([(0, at(1)), (1, at(2))], HealthState::Degraded, "no answer");
    }

    #[test]
    fn what_stood_still_before_a_silence_stands_still_after_it() {
        let at = |second| (second, subscriptions(vec![subscribing(&[(0, 7, 3)])]));
        let unseen = (20, Facts { silence: silent(), ..subscriptions(vec![subscribing(&[])]) });
        check([at(0), unseen, at(40)], HealthState::Down, "for 40s while 3 wait");
    }

    #[test]
    fn what_holds_a_key_back_is_told() {
        let (topic, key) = (name("orders"), Some("k".to_owned()));
        let held = Blocked { topic, partition: Partition(0), offset: None, key, why: "it waits" };
        let at =
            |second| (second, subscriptions(vec![Subscribing { blocked: vec![held.clone()], ..subscribing(&[]) }]));
        check([at(0)], HealthState::Degraded, "group billing: orders/0 key k: it waits");
    }

    #[test]
    fn handlers_that_block_their_threads_are_told() {
        let blocked_handlers = (2, BTreeSet::from([Partition(3), Partition(0)]));
        let at = (0, subscriptions(vec![Subscribing { blocked_handlers, ..subscribing(&[]) }]));
        check([at], HealthState::Degraded, "HandlerBlocked: group billing on orders: 2 handlers block their threads");
    }

    #[test]
    fn a_topic_feeds_itself_if_its_handlers_publish_as_much_as_they_handle() {
        let at = |second, fed, handled| {
            let feedings = vec![Feeding { number: 1, topic: name("orders"), group: group(), fed, handled }];
            (second, Facts { feedings, ..Facts::default() })
        };
        let told = "published 100 envelopes to their own topic orders";
        check([at(0, 900, 900)], HealthState::Healthy, "");
        check([at(0, 900, 900), at(1, 1_000, 1_000)], HealthState::Degraded, told);
        // Each second event is a last step, or few have been seen.
        check([at(0, 900, 900), at(1, 1_000, 1_010)], HealthState::Healthy, "");
        check([at(0, 900, 900), at(1, 999, 950)], HealthState::Healthy, "");
        check([at(0, 900, 900), at(1, 1_000, 1_000), at(2, 1_000, 1_000)], HealthState::Healthy, "");
    }

    #[test]
    fn trouble_weighs_by_what_moves() {
        let at = |acked| publishers(vec![Publishing { trouble: silent(), ..publishing(acked, 0, 1) }]);
        check([(0, at(1)), (1, at(1))], HealthState::Down, "publisher of orders: Unavailable/Test");
        check([(0, at(1)), (1, at(2))], HealthState::Degraded, "publisher of orders: Unavailable/Test");
    }

    #[test]
    fn losses_are_said_for_a_while_after_the_last() {
        let deleted =
            |second, records| (second, Facts { deleted: vec![(name("orders"), group(), records)], ..Facts::default() });
        let said = "orders: 40 records were deleted before group billing had finished them";
        check([deleted(0, 0), deleted(1, 0)], HealthState::Healthy, "");
        check([deleted(0, 40)], HealthState::Degraded, said);
        check([deleted(0, 40), deleted(599, 40)], HealthState::Degraded, said);
        check([deleted(0, 40), deleted(600, 40)], HealthState::Healthy, "");
        check([deleted(0, 30), deleted(590, 40), deleted(1_000, 40)], HealthState::Degraded, said);
        // A look at which the group could not be seen.
        check([deleted(0, 40), (5, Facts::default()), deleted(700, 40)], HealthState::Healthy, "");
        let missing = |second, missing| (second, subscriptions(vec![Subscribing { missing, ..subscribing(&[]) }]));
        check([missing(0, 0), missing(1, 15)], HealthState::Degraded, "15 positions were missing");
        check([missing(0, 15), missing(600, 15)], HealthState::Healthy, "");
    }
}
