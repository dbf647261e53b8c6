//! What a benchmark is asked to do, as one plain struct.

use std::path::PathBuf;

use anyhow::{Result, bail};
use busline::{Durability, Medium, TopicSpec};

use crate::strategy::Strategy;
use crate::workload::{Level, Mode, PAYLOAD_BYTES, Shape, TOPICS};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchRequest {
    /// The buses, as URLs: each run goes over all of them before the next one. At most 8; default none, which is a
    /// temporary SQLite file for each run.
    pub buses: Vec<String>,
    /// Levels in the order they are run. Default: all but flood, which alone takes longer than the rest together.
    pub levels: Vec<Level>,
    /// Modes. Default: all.
    pub modes: Vec<Mode>,
    /// How envelopes are published: each bus is run in all of these that it has. Default: none named, which is `fast`.
    pub strategies: Vec<Strategy>,
    /// Whether messages have headers: each bus is run with all of these that it has. Default: none named, which is as the
    /// strategy has them.
    pub headers: Vec<bool>,
    /// Streams of each topic on NATS, each tried. Range 1 to 4, default: none named, which is 1.
    pub streams: Vec<u32>,
    /// What acks of every bus must attest, no more and no less. Default: whatever they do.
    pub durability: Option<Medium>,
    /// Copies that those acks must attest. Range 1 to 127, default 1; more need `durability` and clusters.
    pub copies: u8,
    /// Measured runs of each level and mode, each beside its twins; one more warms up. Range 1 to 100, default 3.
    pub runs: u32,
    /// Size of a payload. Unit: bytes. Default: the level's own, 41 or 256.
    pub payload_bytes: Option<usize>,
    /// Window of each publisher. Unit: envelopes. Range 1 to 1,000,000, default 8,192.
    pub window_envelopes: usize,
    /// Tasks that publish. Default: one for each aggregate; 2 at surge and flood unless each waits for its ack.
    pub senders: Option<usize>,
    /// Topics, each with a publisher of its own. Range 1 to 50, default 5.
    pub topics: usize,
    /// A file for the results, written anew after each run.
    pub json: Option<PathBuf>,
    /// The file of an earlier benchmark to compare with.
    pub baseline: Option<PathBuf>,
    /// Change of a figure that is no regression, in 100 of its earlier value. Range 0 to 1,000, default 15.
    pub tolerance_percent: u32,
    /// A file for the report as Markdown, written anew after each run.
    pub markdown: Option<PathBuf>,
    /// A file for the report as one page with plots, written anew after each run.
    pub html: Option<PathBuf>,
}

/// Most buses of one benchmark: each one more is that much longer between two runs of the same one.
pub(crate) const BUSES_MAX: usize = 8;

impl Default for BenchRequest {
    fn default() -> Self {
        Self {
            buses: Vec::new(),
            levels: vec![Level::Low, Level::Medium, Level::High, Level::Extreme, Level::Surge],
            modes: Mode::BURSTS.into(),
            strategies: Vec::new(),
            headers: Vec::new(),
            streams: Vec::new(),
            durability: None,
            copies: 1,
            runs: 3,
            payload_bytes: None,
            window_envelopes: 8_192,
            senders: None,
            topics: TOPICS,
            json: None,
            baseline: None,
            tolerance_percent: 15,
            markdown: None,
            html: None,
        }
    }
}

impl BenchRequest {
    /// Checks every field.
    ///
    /// # Errors
    /// All fields that are out of their range, with the range.
    pub fn validate(&self) -> Result<()> {
        let mut wrong = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        check(!self.levels.is_empty(), "no level (name at least one)".into());
        check(!self.modes.is_empty(), "no mode (name at least one)".into());
        check((1..=100).contains(&self.runs), format!("runs = {} (1 to 100)", self.runs));
        let window = self.window_envelopes;
        check((1..=1_000_000).contains(&window), format!("window = {window} (1 to 1,000,000 envelopes)"));
        check((1..=50).contains(&self.topics), format!("topics = {} (1 to 50)", self.topics));
        let buses = self.buses.len();
        check(buses <= BUSES_MAX, format!("buses = {buses} (at most {BUSES_MAX})"));
        let tolerance = self.tolerance_percent;
        check(tolerance <= 1_000, format!("tolerance = {tolerance} (0 to 1,000 percent)"));
        let streams_max = TopicSpec::default().partitions;
        for streams in self.streams.iter().filter(|count| !(1..=streams_max).contains(*count)) {
            check(false, format!("streams = {streams} (1 to {streams_max}, the partitions of a topic)"));
        }
        let copies = self.copies;
        check((1..=127).contains(&copies), format!("copies = {copies} (1 to 127)"));
        check(copies == 1 || self.durability.is_some(), format!("copies = {copies} without a durability to compare"));
        check(self.senders != Some(0), "senders = 0 (at least 1)".into());
        if let Some(bytes) = self.payload_bytes {
            let (min, max) = (PAYLOAD_BYTES.start(), PAYLOAD_BYTES.end());
            check(PAYLOAD_BYTES.contains(&bytes), format!("payload = {bytes} ({min} to {max} bytes)"));
        }
        if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join(", ")) }
    }

    /// What every ack must attest, if it was asked for.
    pub(crate) fn wanted(&self) -> Option<Durability> {
        self.durability.map(|medium| Durability { medium, copies: self.copies })
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            payload_bytes: self.payload_bytes,
            window_envelopes: self.window_envelopes,
            senders: self.senders,
            topics: self.topics,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_out_of_range_are_named_at_once() {
        let request = BenchRequest {
            buses: vec!["memory:".into(); 9],
            runs: 0,
            window_envelopes: 0,
            payload_bytes: Some(1),
            streams: vec![1, 5],
            copies: 2,
            ..BenchRequest::default()
        };
        let text = request.validate().expect_err("refused").to_string();
        for field in ["runs", "window", "payload", "buses", "streams = 5", "copies = 2 without"] {
            assert!(text.contains(field), "{text}");
        }
        BenchRequest::default().validate().expect("defaults are legal");
    }
}
