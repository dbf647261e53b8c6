//! C1 and C2: a member dies or freezes in the middle of its handlers, in a process of its own, and another one follows it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busline_core::{Bus, Delivery, Driver, Envelope, GroupName, Offset, Result, Subscription, TopicName, TopicSpec};
use tokio::time::{Instant, sleep};

use crate::member_process::{GROUP, Handled, MemberProcess, Word, settings};

/// Where two processes meet as members of a group, fresh for each test.
pub trait Meeting: Send + Sync {
    /// The lease of both members.
    const LEASE: Duration;

    /// What the other process is told: a URL, a path.
    fn place(&self) -> String;

    /// Opens the backend at this place.
    fn connect(place: &str) -> impl Future<Output = Result<Arc<dyn Driver>>> + Send;

    /// How soon after its death a member is followed.
    fn followed_within() -> RangeInclusive<Duration>;

    /// How long a frozen member stays so, if others take over sooner.
    fn frozen_for() -> Duration;
}

/// Makes the tests of members in processes of their own.
///
/// Takes a type that is a [`Meeting`], and an expression that makes a fresh one.
///
/// # Examples
/// ```ignore
/// busline_conformance::members!(OneServer, OneServer::new());
/// ```
#[macro_export]
macro_rules! members {
    ($meeting:ty, $fresh:expr) => {
        const OTHER_MEMBER: &str = concat!(module_path!(), "::be_a_member_in_a_process_of_its_own");

        #[test]
        fn be_a_member_in_a_process_of_its_own() {
            $crate::run_members($crate::be_a_member::<$meeting>());
        }

        #[test]
        fn a_killed_member_is_followed() {
            $crate::run_members($crate::a_killed_member_is_followed::<$meeting>($fresh, OTHER_MEMBER));
        }

        #[test]
        fn a_frozen_member_begins_nothing_that_it_lost_and_joins_again() {
            $crate::run_members($crate::a_frozen_member_joins_again::<$meeting>($fresh, OTHER_MEMBER));
        }
    };
}

/// Runs one of the tests on a runtime of its own.
#[doc(hidden)]
pub fn run_members(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime").block_on(test);
}

const PARTITIONS: usize = 4;
const KEYS: usize = 12;

/// Longest wait for a step. A take-over may wait for the end of a session that the backend chooses.
const STEP_MAX: Duration = Duration::from_secs(90);

const CLOSE: Duration = Duration::from_secs(20);

/// Whether writing is possible shows within this.
const PROBE: Duration = Duration::from_millis(500);

/// A member here and one in a process of its own.
struct Pair {
    bus: Bus,
    topic: TopicName,
    subscription: Subscription,
    /// What was handled here.
    handled: Arc<Mutex<Handled>>,
    other: MemberProcess,
}

impl Pair {
    /// Both share the partitions, and the other one is in the middle of handlers.
    async fn at_work<M: Meeting>(meeting: &M, other: &str) -> Self {
        let place = meeting.place();
        let bus = Bus::new(M::connect(&place).await.expect("the backend is there"));
        let topic = format!("conformance-members-{:x}", rand::random::<u32>());
        let topic: TopicName = topic.parse().expect("legal");
        let spec = TopicSpec { partitions: PARTITIONS as u32, ..TopicSpec::default() };
        bus.driver().create_topic(&topic, &spec).await.expect("a new topic");
        let handled = Arc::<Mutex<Handled>>::default();
        let notes = Arc::clone(&handled);
        let handler = move |Delivery { envelope, .. }: Delivery| {
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.entry(envelope.aggregate_id).or_default().push(envelope.event_version);
            std::future::ready(Ok(()))
        };
        let subscribed = bus.subscribe(topic.as_str(), GROUP).settings(settings::<M>()).handle(handler);
        let subscription = subscribed.await.expect("joins");
        let other = MemberProcess::start(other, &place, topic.as_str());
        let pair = Self { bus, topic, subscription, handled, other };
        pair.until("an equal share for both", async || pair.shares_equally().await).await;
        pair.publish(1..=2).await;
        // Then nothing of it is just about to begin.
        pair.until("handlers of every key", async || pair.began() == KEYS).await;
        assert!(pair.other.is_at_work(), "each member has keys");
        pair
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let end = Instant::now() + STEP_MAX;
        while !holds().await {
            assert!(Instant::now() < end, "{what} did not come; handled here: {:?}", self.handled());
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn group() -> GroupName {
        GROUP.parse().expect("legal")
    }

    fn handled(&self) -> Handled {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keys that either has begun with.
    fn began(&self) -> usize {
        let keys = [self.handled(), self.other.said(Word::Began)].into_iter().flat_map(BTreeMap::into_keys);
        keys.collect::<BTreeSet<String>>().len()
    }

    async fn shares_equally(&self) -> bool {
        let members = self.bus.driver().members(&Self::group(), &self.topic).await.expect("the topic exists");
        members.len() == 2 && members.iter().all(|member| member.partitions.len() == PARTITIONS / 2)
    }

    async fn committed(&self) -> Vec<Option<Offset>> {
        self.bus.driver().committed(&Self::group(), &self.topic).await.expect("the topic exists")
    }

    async fn is_drained(&self) -> bool {
        let lag = self.bus.driver().lag(&Self::group(), &self.topic).await.expect("the topic exists");
        lag.iter().all(|lag| lag.records == 0)
    }

    async fn publish(&self, versions: RangeInclusive<u64>) {
        let publisher = self.bus.publisher(self.topic.as_str()).open().await.expect("opens");
        for version in versions {
            for key in 0..KEYS {
                let envelope = Envelope::new(format!("key-{key}"), "Happened", version);
                publisher.publish_sync(envelope).await.expect("stored");
            }
        }
    }

    /// Every key's events up to this version were handled by either, and the group has nothing more to do.
    async fn until_handled(&self, last: u64) {
        let is_handled = |key: usize| {
            let all = [self.handled(), self.other.said(Word::Ended)];
            let of_key = |handled: &Handled| handled.get(&format!("key-{key}")).cloned().unwrap_or_default();
            let versions: Vec<u64> = all.iter().flat_map(of_key).collect();
            (1..=last).all(|version| versions.contains(&version))
        };
        let what = format!("every event up to version {last}");
        self.until(&what, async || (0..KEYS).all(is_handled) && self.is_drained().await).await;
    }

    async fn until_taken_over(&self) {
        self.until("the take-over", async || self.subscription.partitions().len() == PARTITIONS).await;
    }

    /// Freezes the other process, and not in the middle of a transaction that keeps everybody from writing.
    async fn freeze(&self) {
        let topic = format!("{}-probe", self.topic);
        let publisher = self.bus.publisher(&topic).deadline(PROBE).open().await.expect("opens");
        loop {
            self.other.signal("-STOP");
            if publisher.publish_sync(Envelope::new("probe", "Happened", 1)).await.is_ok() {
                return;
            }
            self.other.signal("-CONT");
        }
    }

    async fn close(self) {
        for handled in [self.handled(), self.other.said(Word::Ended)] {
            for (key, versions) in handled {
                assert!(firsts(&versions).is_sorted(), "{key}: {versions:?}");
            }
        }
        self.subscription.close(CLOSE).await.expect("closes");
        self.bus.close(CLOSE).await.expect("closes");
    }
}

/// What came for the first time, in that order.
fn firsts(versions: &[u64]) -> Vec<u64> {
    let mut seen = Vec::new();
    for version in versions {
        if !seen.contains(version) {
            seen.push(*version);
        }
    }
    seen
}

/// Killed in the middle of handlers that never end: what it had begun is handled by the other.
#[doc(hidden)]
pub async fn a_killed_member_is_followed<M: Meeting>(meeting: M, other: &str) {
    let pair = Pair::at_work(&meeting, other).await;
    pair.other.signal("-KILL");
    let killed = Instant::now();
    pair.until_taken_over().await;
    let (taken, within) = (killed.elapsed(), M::followed_within());
    println!("taken over after {taken:?} with a lease of {:?}", M::LEASE);
    assert!(within.contains(&taken), "a member that was alive is followed within {within:?}, not after {taken:?}");
    pair.until_handled(2).await;
    assert_eq!(pair.handled().len(), KEYS, "the dead member has finished nothing");
    pair.close().await;
}

/// Frozen in the middle of handlers until the other has taken its partitions over and finished their events. After the
/// thaw, what it was in is broken off by the loss, or ends before it hears of that and is committed to no avail; nothing
/// else that it had read begins.
#[doc(hidden)]
pub async fn a_frozen_member_joins_again<M: Meeting>(meeting: M, other: &str) {
    let pair = Pair::at_work(&meeting, other).await;
    pair.freeze().await;
    let frozen = Instant::now();
    let begun = pair.other.said(Word::Began);
    pair.until_taken_over().await;
    pair.until_handled(2).await;
    // More, which the frozen one has not read: a commit of its own would lead behind it.
    pair.publish(3..=3).await;
    pair.until_handled(3).await;
    let committed = pair.committed().await;
    sleep(M::frozen_for().saturating_sub(frozen.elapsed())).await;
    println!("thawed after {:?}", frozen.elapsed());
    pair.other.let_handlers_end();
    pair.other.signal("-CONT");
    let is_over = async || {
        let over = [Word::Ended, Word::BrokenOff].map(|word| pair.other.said(word));
        begun.keys().all(|key| over.iter().any(|handled| handled.contains_key(key)))
    };
    pair.until("the end of what it was in", is_over).await;
    pair.until("its return", async || pair.shares_equally().await).await;
    assert_eq!(pair.other.said(Word::Began), begun, "it begins nothing that it has lost");
    assert_eq!(pair.committed().await, committed, "what it has finished moves no offset");
    pair.publish(4..=4).await;
    pair.until_handled(4).await;
    assert!(pair.other.said(Word::Ended).values().flatten().any(|version| *version == 4), "it works again");
    pair.close().await;
}
