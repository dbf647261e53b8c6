//! C7 and C8: a process dies at each single step of parking, of a replay and of the release of a key, one after the other.
//!
//! The process is a runtime of its own behind a wrapper of its own. At the chosen step it has no effect any more, and then all
//! its tasks are dropped; others go on with what it leaves. Real processes are killed elsewhere, at any moment; here no
//! step is missed.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Delivery, Driver, Handler, HandlerError, ReplayOptions};
use tokio::runtime::{Builder, Runtime};

use crate::consume_stage::{GROUP, Gate, Log, quick_retry};
use crate::faulty::{Faults, Faulty, Moment, Shape, Side};
use crate::harness::Harness;
use crate::stage::{Stage, within};

/// Keys of a run: the first one fails.
const KEYS: [&str; 2] = ["bad", "good"];

/// What all processes of a run share.
#[derive(Clone)]
struct Play {
    log: Log,
    /// Opened when the handler is mended.
    mended: Gate,
    /// From this version on the bad key fails until then.
    fails_from: u64,
}

impl Play {
    fn new(fails_from: u64) -> Self {
        Self { log: Log::default(), mended: Gate::shut(), fails_from }
    }

    /// A handler whose process may die as it begins and as it ends.
    fn handler(&self, faults: Option<&Faults>) -> impl Handler + use<> {
        let (play, faults) = (self.clone(), faults.cloned());
        move |delivery: Delivery| {
            let (play, faults) = (play.clone(), faults.clone());
            async move {
                pass(faults.as_ref(), Side::Before).await;
                let envelope = &delivery.envelope;
                let is_bad = envelope.aggregate_id == KEYS[0] && envelope.event_version >= play.fails_from;
                let is_ok = !is_bad || play.mended.is_open();
                play.log.start(&delivery);
                play.log.end(&delivery, is_ok);
                pass(faults.as_ref(), Side::After).await;
                if is_ok { Ok(()) } else { Err(HandlerError::from("not yet")) }
            }
        }
    }

    /// Every version was handled in order; after a death what comes again goes on in order. Gives the most repeats of a
    /// key.
    fn judge(&self, versions: u64, moment: Moment) -> usize {
        let repeats = KEYS.map(|key| {
            let handled = self.log.handled(key);
            let mut first = Vec::new();
            for version in &handled {
                if !first.contains(version) {
                    first.push(*version);
                }
            }
            assert_eq!(first, (1..=versions).collect::<Vec<u64>>(), "{key} after a death at {moment:?}: {handled:?}");
            let leaps = handled.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
            assert_eq!(leaps, 0, "{key} after a death at {moment:?}: {handled:?}");
            handled.len() - first.len()
        });
        repeats.into_iter().max().unwrap_or_default()
    }
}

async fn pass(faults: Option<&Faults>, side: Side) {
    if let Some(faults) = faults {
        faults.pass("handler", side).await;
    }
}

/// A process that dies.
struct Victim {
    runtime: Runtime,
    faults: Faults,
    driver: Arc<dyn Driver>,
}

impl Victim {
    fn new(stage: &Stage) -> Self {
        let (driver, faults) = Faulty::wrap(Arc::clone(stage.driver()), Shape::default());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Self { runtime, faults, driver }
    }

    /// Lives as a member of the group.
    fn join(&self, stage: &Stage, play: &Play) {
        let (bus, topic) = (Bus::new(Arc::clone(&self.driver)), stage.topic.clone());
        let handler = play.handler(Some(&self.faults));
        self.runtime.spawn(async move {
            let subscription = bus.subscribe(&topic, GROUP).retry(quick_retry(2)).handle(handler).await;
            std::future::pending::<()>().await;
            drop(subscription);
        });
    }

    /// Lives for a replay.
    fn replay(&self, stage: &Stage, play: &Play) {
        let (bus, topic) = (Bus::new(Arc::clone(&self.driver)), stage.topic.clone());
        let handler = play.handler(Some(&self.faults));
        self.runtime.spawn(async move {
            let parked = bus.parked(&topic, GROUP).await.expect("the group has a parking topic");
            drop(parked.replay(options(), handler).await);
        });
    }

    async fn dies(self, moment: Moment) {
        within(&format!("the death at {moment:?}"), self.faults.died()).await;
        self.runtime.shutdown_background();
    }
}

fn options() -> ReplayOptions {
    ReplayOptions { lease: Duration::from_secs(1), ..ReplayOptions::default() }
}

impl Stage {
    /// Replays until nothing of these keys is parked, and the group is at its end.
    async fn settles(&self, play: &Play) {
        within("the end of parking", async {
            loop {
                self.drained().await;
                let count = self.parked().await.count().await.expect("the backend works");
                if count == 0 {
                    return;
                }
                let replayed = self.parked().await.replay(options(), play.handler(None)).await;
                replayed.expect("replays");
            }
        })
        .await;
    }
}

/// Each side of the first `count` of these steps.
fn moments(steps: &[(&'static str, usize)]) -> Vec<Moment> {
    let each = |(step, count): &(&'static str, usize)| {
        let step = *step;
        (0..*count).flat_map(move |nth| [Side::Before, Side::After].map(|side| Moment { step, side, nth }))
    };
    steps.iter().flat_map(each).collect()
}

/// A member dies at each step of taking over and of parking; the next one goes on, and what is parked is replayed.
pub async fn a_death_at_any_step_of_parking_keeps_all_in_order(harness: impl Harness) {
    let steps = [("owner", 1), ("handler", 5), ("park", 1), ("behind", 1), ("read", 4), ("commit", 1)];
    for moment in moments(&steps) {
        let (stage, play) = (Stage::open(&harness).await, Play::new(2));
        stage.one_partition().await;
        stage.publish(&KEYS, 4).await;
        let victim = Victim::new(&stage);
        victim.faults.die_at(moment);
        victim.join(&stage, &play);
        victim.dies(moment).await;
        let next = stage.subscribe_and_park().handle(play.handler(None)).await.expect("subscribes");
        stage.drained().await;
        assert_eq!(stage.parked_of(KEYS[0]).await, [2, 3, 4], "after a death at {moment:?}");
        play.mended.open();
        stage.settles(&play).await;
        stage.publish_from(&KEYS, 5, 6).await;
        stage.settles(&play).await;
        let repeats = play.judge(6, moment);
        println!("{moment:?}: {repeats} repeated");
        drop(next);
        stage.close().await;
    }
}

/// A replay dies at each of its steps beside a member that lives; the next replay repeats at most what was in hand.
pub async fn a_death_at_any_step_of_a_replay_keeps_all_in_order(harness: impl Harness) {
    let succeeds = [("replayer", 1), ("read", 6), ("handler", 3), ("done", 3), ("resigned", 1), ("release", 1)];
    let fails = [("handler", 1), ("failed", 1)];
    let all = moments(&succeeds).into_iter().map(|moment| (moment, true));
    for (moment, is_mended) in all.chain(moments(&fails).into_iter().map(|moment| (moment, false))) {
        let (stage, play) = (Stage::open(&harness).await, Play::new(1));
        stage.one_partition().await;
        stage.publish(&KEYS, 3).await;
        let member = stage.subscribe_and_park().handle(play.handler(None)).await.expect("subscribes");
        stage.drained().await;
        assert_eq!(stage.parked_of(KEYS[0]).await, [1, 2, 3]);
        if is_mended {
            play.mended.open();
        }
        let victim = Victim::new(&stage);
        victim.faults.die_at(moment);
        victim.replay(&stage, &play);
        victim.dies(moment).await;
        play.mended.open();
        stage.settles(&play).await;
        stage.publish_from(&KEYS, 4, 5).await;
        stage.settles(&play).await;
        let repeats = play.judge(5, moment);
        println!("{moment:?}: {repeats} repeated");
        assert!(repeats <= 1, "{repeats} repeated after a death at {moment:?}");
        drop(member);
        stage.close().await;
    }
}

/// A member dies at each step after a replay has emptied the queue of its key: while it hears of that, and while the next
/// events run.
pub async fn a_death_while_a_key_is_released_keeps_all_in_order(harness: impl Harness) {
    for moment in moments(&[("read", 3), ("handler", 4), ("commit", 1)]) {
        let (stage, play) = (Stage::open(&harness).await, Play::new(1));
        stage.one_partition().await;
        stage.publish(&KEYS, 2).await;
        let victim = Victim::new(&stage);
        victim.join(&stage, &play);
        within("the first commit", async {
            while stage.driver().groups().await.expect("the backend works").is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        stage.drained().await;
        play.mended.open();
        let replayed = stage.parked().await.replay(options(), play.handler(None)).await.expect("replays");
        assert_eq!(replayed.replayed, 2);
        victim.faults.die_at(moment);
        stage.publish_from(&KEYS, 3, 5).await;
        victim.dies(moment).await;
        let next = stage.subscribe_and_park().handle(play.handler(None)).await.expect("subscribes");
        stage.settles(&play).await;
        let repeats = play.judge(5, moment);
        println!("{moment:?}: {repeats} repeated");
        drop(next);
        stage.close().await;
    }
}
