//! The commits of a member: one under way at most, and the last once more as a sign of life.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Commit, Error, Offset, Partition, Result, not_owner, source_closed};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::consumer::{Consumer, TRY_AGAIN};
use super::member::Shared;
use crate::clients::pause;
use crate::native::{self, Ask, Native};
use crate::{error, groups};

/// Longest time between two looks for an answer, which rings no bell.
const ANSWER_TICK: Duration = Duration::from_millis(2);

/// Shortest time between two commits: at full speed each costs the broker as much as a hundred records.
const COMMIT_PAUSE: Duration = Duration::from_millis(20);

/// What a member wants to be committed, and what its group has not answered yet.
pub(super) struct Commits {
    wanted: VecDeque<Wanted>,
    under_way: Option<UnderWay>,
    /// When one was sent last.
    sent: Instant,
}

/// Commits that wait for their turn.
struct Wanted {
    commits: Vec<Commit>,
    answer: oneshot::Sender<Vec<Result<()>>>,
    until: Instant,
}

/// The one request for commits that the group has not answered; without `wanted` it is a sign of life only.
struct UnderWay {
    ask: Ask,
    wanted: Option<Wanted>,
    sent: Instant,
}

impl Commits {
    pub(super) fn new() -> Self {
        Self { wanted: VecDeque::new(), under_way: None, sent: Instant::now() }
    }

    /// Commits for the next requests; what is refused for a moment is tried again until then.
    pub(super) fn add(&mut self, commits: Vec<Commit>, answer: oneshot::Sender<Vec<Result<()>>>, until: Instant) {
        self.wanted.push_back(Wanted { commits, answer, until });
    }

    /// How long nothing has to be done for commits, if anything ever has.
    pub(super) fn idle_for(&self, is_hurried: bool) -> Option<Duration> {
        match (&self.under_way, self.wanted.is_empty()) {
            (Some(_), _) => Some(ANSWER_TICK),
            (None, false) => Some(self.due(is_hurried).saturating_duration_since(Instant::now())),
            (None, true) => None,
        }
    }

    /// When the next commit may be sent: at once if the group wants something back.
    fn due(&self, is_hurried: bool) -> Instant {
        if is_hurried { self.sent } else { self.sent + COMMIT_PAUSE }
    }

    /// Sends the next commit. Without one for a while the last is sent once more, as a sign of life that the group has to
    /// answer.
    pub(super) fn send_next(&mut self, shared: &Shared, consumer: &Arc<Consumer>, is_hurried: bool) {
        if self.under_way.is_some() || self.due(is_hurried) > Instant::now() {
            return;
        }
        while let Some(wanted) = self.wanted.pop_front() {
            let new = wanted.to_send(shared);
            if new.is_empty() {
                wanted.answer(shared, Ok(()));
            } else {
                return self.send(shared, consumer, Some(wanted), &new);
            }
        }
        if self.sent.elapsed() >= shared.agreement.silence_max() / 4 {
            let state = shared.state();
            let held = state.ahead.partitions();
            let beat = held.first().and_then(|partition| Some((*partition, state.ahead.committed(*partition)?)));
            drop(state);
            if let Some(beat) = beat {
                self.send(shared, consumer, None, &[beat]);
            }
        }
    }

    fn send(
        &mut self,
        shared: &Shared,
        consumer: &Arc<Consumer>,
        wanted: Option<Wanted>,
        offsets: &[(Partition, Offset)],
    ) {
        let topic = &shared.request.topic;
        let sent = Instant::now();
        self.sent = sent;
        let client: Arc<dyn Native> = Arc::<Consumer>::clone(consumer);
        let committing =
            groups::marked(&topic.name, topic.incarnation, offsets).and_then(|list| native::commit(&client, &list));
        match committing {
            Ok(ask) => self.under_way = Some(UnderWay { ask, wanted, sent }),
            Err(failed) => self.refused(shared, wanted, failed),
        }
    }

    /// Takes the group's answer, if it has come.
    pub(super) fn take_answer(&mut self, shared: &Shared) {
        let Some(answer) = self.under_way.as_ref().and_then(|under_way| under_way.ask.poll(Duration::ZERO)) else {
            return;
        };
        let Some(UnderWay { wanted, sent, .. }) = self.under_way.take() else { return };
        match native::committed(&answer) {
            Ok(committed) => {
                shared.change(|state| {
                    state.alive = state.alive.max(Some(sent));
                    state.trouble = None;
                    committed.iter().for_each(|(partition, offset)| state.ahead.note_committed(*partition, *offset));
                });
                if let Some(wanted) = wanted {
                    wanted.answer(shared, Ok(()));
                }
            }
            Err(failed) => self.refused(shared, wanted, failed),
        }
    }

    /// A commit that was refused for a moment is made again while the partition is held.
    fn refused(&mut self, shared: &Shared, wanted: Option<Wanted>, failed: Error) {
        let Some(wanted) = wanted else { return tracing::debug!("sign of life: {failed}") };
        let failed = failed.at("commit", &shared.request.topic.name);
        if error::is_transient(&failed) && Instant::now() < wanted.until && !wanted.to_send(shared).is_empty() {
            self.wanted.push_front(wanted);
            return pause(TRY_AGAIN);
        }
        wanted.answer(shared, Err(failed));
    }

    /// What was under way will not be answered any more.
    pub(super) fn client_has_ended(&mut self, shared: &Shared) {
        if let Some(UnderWay { wanted: Some(wanted), .. }) = self.under_way.take() {
            wanted.answer(shared, Err(source_closed()));
        }
    }
}

impl Wanted {
    /// The commits that the broker must hear of: it would take an older offset too.
    fn to_send(&self, shared: &Shared) -> Vec<(Partition, Offset)> {
        let state = shared.state();
        let is_new = |commit: &&Commit| {
            state.ahead.generation(commit.partition) == Some(commit.generation)
                && state.ahead.committed(commit.partition).is_none_or(|known| known < commit.offset)
        };
        self.commits.iter().filter(is_new).map(|commit| (commit.partition, commit.offset)).collect()
    }

    /// What was committed under a generation that is over is fenced, whatever became of the rest.
    fn answer(self, shared: &Shared, outcome: Result<()>) {
        let state = shared.state();
        let of = |commit: &Commit| {
            if state.ahead.generation(commit.partition) != Some(commit.generation) {
                return Err(not_owner(commit.partition));
            }
            if state.ahead.committed(commit.partition).is_some_and(|known| known >= commit.offset) {
                return Ok(());
            }
            outcome.clone()
        };
        let outcomes = self.commits.iter().map(of).collect();
        drop(state);
        // Whoever waited may be gone.
        drop(self.answer.send(outcomes));
    }
}
