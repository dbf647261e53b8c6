//! The loop of a sink's task: batches in, messages out, answers in, and what the clocks say.
//!
//! The kinds of sink differ in how a record travels and what an answer to it means; that is their [`Way`].

use std::future::poll_fn;
use std::task::{Context, Poll};

use busline_core::{Error, ErrorKind, Partition, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::ground::Ground;
use super::line::Line;
use super::rec::Rec;
use super::session::{ANSWER_MAX, Woke};
use crate::error::unreachable;
use crate::link::Heard;

/// What each kind of sink does its own way with the records it took.
pub(crate) trait Way {
    /// What the administration says to a question.
    type Said;

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool;

    /// Whether something is open at the server that is to be ended before the sink ends.
    fn is_open(&self) -> bool;

    /// Takes the next record; those of a key come in their order.
    fn take(&mut self, ground: &Ground, rec: Rec);

    /// Sends what may go.
    fn send(&mut self, line: &mut Line, now: Instant);

    /// Takes the answer that came to this number.
    fn answered(&mut self, line: &mut Line, number: u64, answer: Answer);

    /// The server refuses this user's messages to this partition.
    fn denied(&mut self, line: &mut Line, partition: Partition, error: &Error);

    /// Reports everything of a batch that has no outcome: what no copy was sent of is definitely not stored. What may be
    /// stored is found out all the same, and holds up what must not overtake it until then.
    fn report(&mut self, line: &mut Line, batch: u64, error: &Error);

    /// The connection is gone: what was sent and not answered is in doubt.
    fn broken(&mut self, now: Instant);

    /// The topic is gone, and everything was reported.
    fn forget(&mut self);

    /// Whether an answer is missing for so long that the connection is of no use.
    fn is_stuck(&self, now: Instant) -> bool;

    fn look_at_clocks(&mut self, line: &Line, now: Instant);

    /// Polls the question under way.
    fn poll_question(&mut self, cx: &mut Context<'_>) -> Poll<Self::Said>;

    /// Takes the answer to a question.
    ///
    /// # Errors
    /// What kept the administration from answering; the question is asked again.
    fn said(&mut self, line: &mut Line, said: Self::Said) -> Result<()>;
}

/// The task of a sink.
pub(crate) struct Work<W> {
    line: Line,
    way: W,
}

/// What was heard that concerns a sink.
enum Word {
    Answer(Option<u64>, Answer),
    Complaint(String),
}

impl<W: Way> Work<W> {
    pub(crate) fn new(line: Line, way: W) -> Self {
        Self { line, way }
    }

    /// Runs until the sink is closed and everything is settled, or its time to close is over.
    pub(crate) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.take_in();
            let idle = self.line.is_idle() && self.way.is_idle();
            if self.line.session.has_ticked(now, idle) {
                self.look_at_clocks(now);
            }
            if !self.line.send_atomic(now) {
                self.way.send(&mut self.line, now);
            }
            let settled = self.line.is_settled() && !self.way.is_open();
            if self.line.session.is_over(now, settled) {
                self.take_in();
                return self.report_all(&self.line.ground.closed());
            }
            self.wait().await;
        }
    }

    fn take_in(&mut self) {
        self.line.fill();
        while let Some((batch, behind)) = self.line.next_batch(self.way.is_idle()) {
            self.line.open(batch, &behind, |ground, rec| self.way.take(ground, rec));
        }
    }

    async fn wait(&mut self) {
        let (session, way) = (&mut self.line.session, &mut self.way);
        let woke = tokio::select! {
            biased;
            woke = session.wait() => woke,
            said = poll_fn(|cx| way.poll_question(cx)) => return self.said(said),
        };
        match woke {
            Woke::Heard => self.hear(),
            Woke::Broken(error) => self.break_link(error),
            Woke::Gone(error) => self.lose_topic(error),
            Woke::Dialed | Woke::Stirred => {}
        }
    }

    fn hear(&mut self) {
        loop {
            match self.next_word() {
                Ok(Some(Word::Answer(Some(number), answer))) => self.answered(number, answer),
                Ok(Some(Word::Answer(None, _))) => {}
                Ok(Some(Word::Complaint(text))) => self.complained(&text),
                Ok(None) => return,
                Err(error) => return self.break_link(error),
            }
        }
    }

    fn next_word(&mut self) -> Result<Option<Word>> {
        let Some(link) = &mut self.line.session.link else { return Ok(None) };
        Ok(match link.next()? {
            Some(Heard::Message(message)) => {
                Some(Word::Answer(self.line.ground.number_in(message.subject), Answer::read(&message)?))
            }
            Some(Heard::Complaint(text)) => Some(Word::Complaint(text.to_owned())),
            None => None,
        })
    }

    fn answered(&mut self, number: u64, answer: Answer) {
        if let Some(answer) = self.line.atomic_answered(number, answer) {
            self.way.answered(&mut self.line, number, answer);
        }
    }

    fn said(&mut self, said: W::Said) {
        match self.way.said(&mut self.line, said) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => self.lose_topic(self.line.ground.gone()),
            Err(error) => {
                self.line.session.set_trouble(Some(error));
                self.line.session.hold();
            }
        }
    }

    // ---- trouble

    /// The connection is given up with everything in its buffers.
    fn break_link(&mut self, error: Error) {
        self.line.session.lose_link(error);
        self.line.atomic_broken();
        self.way.broken(Instant::now());
    }

    fn complained(&mut self, text: &str) {
        if !text.to_ascii_lowercase().contains("permissions violation") {
            return self.line.session.set_trouble(Some(crate::dialer::complaint(text)));
        }
        let error = self.line.ground.denied(text);
        self.line.session.set_trouble(Some(error.clone()));
        // A complaint about anything else, such as the subscription to answers, says nothing of what was published.
        if let Some(partition) = self.line.ground.partition_named_in(text) {
            self.way.denied(&mut self.line, partition, &error);
        }
    }

    /// The topic was deleted: nothing is ever sent again.
    fn lose_topic(&mut self, error: Error) {
        self.line.fill();
        self.report_all(&error);
        self.line.close_for(error);
        self.way.forget();
    }

    fn report_all(&mut self, error: &Error) {
        for batch in self.line.pending.numbers() {
            self.way.report(&mut self.line, batch, error);
        }
        self.line.report_rest(error);
    }

    fn look_at_clocks(&mut self, now: Instant) {
        for batch in self.line.pending.overdue(now) {
            let overdue = self.line.overdue();
            self.way.report(&mut self.line, batch, &overdue);
        }
        self.line.look_at_clocks(now);
        let stuck = self.line.is_stuck(now) || self.way.is_stuck(now);
        if self.line.session.link.is_some() && stuck {
            self.break_link(unreachable(format!("no answer within {ANSWER_MAX:?}")));
        }
        self.way.look_at_clocks(&self.line, now);
        if let Err(error) = self.line.session.look_at_clocks(now) {
            self.break_link(error);
        }
    }
}
