//! The member at work: until its end, its count or a signal; and what it tells meanwhile.

use std::sync::Arc;
use std::time::Duration;

use busline::{
    Blocked, Bus, Error, ErrorKind, GroupName, Lag, Left, Offset, Partition, Result, Subscription, TopicName,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::lines::{Lines, Said};
use crate::commands::Ended;
use crate::interrupt::Stop;
use crate::watched::Watch;

/// Pauses between two looks at what has changed; each doubles the one before.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(100);

/// Lines written between two flushes at most.
pub(crate) const LINES_MAX: usize = 256;

/// Time after which no failed attempt is made again that could be: longer than the longest pause between two.
const REST: Duration = Duration::from_secs(3);

/// What holds the group back is said of this many records at most.
const BLOCKED_TOLD_MAX: usize = 20;

/// What was said on stderr already.
#[derive(Default)]
pub(super) struct Told {
    blocked: Vec<Blocked>,
    trouble: Trouble,
    /// That events are parked.
    parked: bool,
}

/// How long something has kept the source from moving.
#[derive(Default)]
enum Trouble {
    #[default]
    None,
    Since(Instant),
    Told,
}

/// Time that trouble lasts before it is told.
const TROUBLE_TOLD_AFTER: Duration = Duration::from_secs(1);

/// The member at work.
pub(super) struct Member<'a> {
    pub(super) bus: &'a Bus,
    pub(super) subscription: Subscription,
    pub(super) topic: TopicName,
    pub(super) group: GroupName,
    /// Up to where the group is to come.
    pub(super) ends: Option<Vec<(Partition, Offset)>>,
    pub(super) lines: Lines<'a>,
    pub(super) watch: Arc<Watch>,
    pub(super) told: Told,
    pub(super) stop: Stop,
}

impl Member<'_> {
    pub(super) async fn run(mut self, mut said: mpsc::Receiver<Said>, close_max: Duration) -> Result<Ended> {
        let outcome = self.work(&mut said).await;
        let left = self.leave(&mut said, close_max).await;
        self.tell();
        match self.watch.parked_count() {
            0 => {}
            count => self.lines.output.say(&format!("{}: {count} events were parked", self.topic)),
        }
        outcome?;
        let left = left?;
        if let Some(error) = self.lines.broken.take() {
            return Err(error);
        }
        match self.watch.ended() {
            Some(error) => Err(error),
            None => Ok(self.sum_up(&left)),
        }
    }

    /// Writes lines until there is a reason to end.
    async fn work(&mut self, said: &mut mpsc::Receiver<Said>) -> Result<()> {
        let (mut batch, mut pause) = (Vec::new(), LOOK_MIN);
        let mut next_look = Instant::now() + pause;
        loop {
            tokio::select! {
                _ = said.recv_many(&mut batch, LINES_MAX) => {
                    self.lines.write(&mut batch);
                    if self.lines.is_finished() {
                        return Ok(());
                    }
                }
                () = self.stop.requested() => return Ok(()),
                () = tokio::time::sleep_until(next_look) => {
                    if self.look().await? {
                        return Ok(());
                    }
                    pause = (pause * 2).min(LOOK_MAX);
                    next_look = Instant::now() + pause;
                }
            }
        }
    }

    /// Leaves the group. Handlers that run meanwhile still have their lines written.
    async fn leave(&mut self, said: &mut mpsc::Receiver<Said>, close_max: Duration) -> Result<Left> {
        let subscription = self.subscription.clone();
        let close = subscription.close(close_max);
        tokio::pin!(close);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                left = &mut close => {
                    return left;
                }
                _ = said.recv_many(&mut batch, LINES_MAX), if !said.is_closed() => self.lines.write(&mut batch),
            }
        }
    }

    /// Tells what has changed; gives whether the group has come to the end.
    async fn look(&mut self) -> Result<bool> {
        self.tell();
        if let Some(error) = self.watch.ended() {
            return Err(error);
        }
        if self.is_at_end().await? {
            return Ok(true);
        }
        self.check_blocked()?;
        Ok(false)
    }

    /// Whether the group has come to the end that was asked for.
    async fn is_at_end(&self) -> Result<bool> {
        let Some(ends) = &self.ends else { return Ok(false) };
        match self.bus.driver().lag(&self.group, &self.topic).await {
            Ok(lag) => Ok(is_at_end(ends, &lag)),
            // The backend may answer at the next look.
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn tell(&mut self) {
        for note in self.watch.take_notes() {
            self.lines.output.say(&note);
        }
        if !self.told.parked && self.watch.parked_count() > 0 {
            self.told.parked = true;
            let (topic, group) = (&self.topic, &self.group);
            self.lines.output.say(&format!("{topic}: events are parked; see 'busline parked list --group {group}'"));
        }
        self.tell_trouble();
    }

    /// Says what keeps the source from moving, once, and only if it lasts: members of one file wait for each other all the
    /// time.
    fn tell_trouble(&mut self) {
        let Some(trouble) = self.watch.trouble() else {
            self.told.trouble = Trouble::None;
            return;
        };
        match self.told.trouble {
            Trouble::None => self.told.trouble = Trouble::Since(Instant::now()),
            Trouble::Since(since) if since.elapsed() >= TROUBLE_TOLD_AFTER => {
                self.lines.output.say(&format!("{}: {trouble}", self.topic));
                self.told.trouble = Trouble::Told;
            }
            Trouble::Since(_) | Trouble::Told => {}
        }
    }

    /// Says what holds the group back. Once nothing else is at work, whoever waits for an end or a count waits in vain.
    fn check_blocked(&mut self) -> Result<()> {
        let mut blocked = self.subscription.blocked();
        let in_the_way = blocked.iter().find(|blocked| self.is_in_the_way(blocked)).cloned();
        let in_the_way = in_the_way.filter(|_| self.watch.rests_for(REST));
        blocked.truncate(BLOCKED_TOLD_MAX);
        for new in blocked.iter().filter(|blocked| !self.told.blocked.contains(blocked)) {
            self.lines.output.say(&new.to_string());
        }
        self.told.blocked = blocked;
        in_the_way.map_or(Ok(()), |blocked| {
            Err(Error::new(ErrorKind::Unavailable, "Blocked")
                .cause(blocked.to_string())
                .next("mend what makes it fail and run this again, or let it be parked")
                .at("sub", format!("{} of group {}", self.topic, self.group)))
        })
    }

    fn is_in_the_way(&self, blocked: &Blocked) -> bool {
        let before_end = self.ends.as_ref().is_some_and(|ends| {
            ends.iter().any(|(partition, end)| {
                *partition == blocked.partition && blocked.offset.is_none_or(|offset| offset < *end)
            })
        });
        before_end || self.lines.left.is_some()
    }

    fn sum_up(&self, left: &Left) -> Ended {
        left.left.iter().for_each(|left| self.lines.output.say(&format!("not ended in time: {left}")));
        if left.left.is_empty() { Ended::Done } else { Ended::SomeFailed }
    }
}

/// Whether the group has finished every partition up to its end. What is not there to be read needs no finishing.
fn is_at_end(ends: &[(Partition, Offset)], lag: &[Lag]) -> bool {
    ends.iter()
        .zip(lag)
        .all(|((_, end), lag)| lag.committed.is_some_and(|committed| committed >= *end || lag.records == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends(committed: Option<u64>, records: u64, expected: bool) {
        let lag = Lag {
            partition: Partition(0),
            committed: committed.map(Offset),
            end: Offset(12),
            records,
            deleted: Some(0),
        };
        assert_eq!(is_at_end(&[(Partition(0), Offset(10))], &[lag]), expected, "{committed:?} {records}");
    }

    #[test]
    fn the_end_is_that_of_the_start_and_numbers_without_records_do_not_hold_it_back() {
        ends(None, 2, false);
        ends(None, 0, false);
        ends(Some(9), 3, false);
        ends(Some(10), 2, true);
        ends(Some(7), 0, true);
    }
}
