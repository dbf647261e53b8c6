//! What is asked of an open load.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};

use crate::request::BUSES_MAX;
use crate::workload::{PAYLOAD_BYTES, Shape, TOPICS};

/// The rates to publish at. Unit: envelopes a second.
#[derive(Debug, Clone, PartialEq)]
pub enum Rates {
    /// These, one after the other.
    Each(Vec<f64>),
    /// Rising, until the service level does not hold; then the highest one that does is looked for.
    Auto,
}

impl FromStr for Rates {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let rate = |part: &str| -> Result<f64> {
            let rate = part.trim().parse().with_context(|| format!("rate '{part}' is neither a number nor 'auto'"))?;
            if !RATE.contains(&rate) {
                bail!("rate = {rate} ({} to {} envelopes a second)", RATE.start(), RATE.end());
            }
            Ok(rate)
        };
        text.split(',').map(rate).collect::<Result<_>>().map(Self::Each)
    }
}

const RATE: std::ops::RangeInclusive<f64> = 1.0..=1_000_000.0;

/// An open load.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRequest {
    /// The buses, as URLs, 8 at most; each rate goes over all of them. Default none: a temporary SQLite file for each run.
    pub buses: Vec<String>,
    /// The rates. Default: auto.
    pub rates: Rates,
    /// How long each rate is held. Default 10 s.
    pub duration: Duration,
    /// What p99 from the due time to the handler must stay below for a rate to hold. Default 50 ms.
    pub slo: Duration,
    /// Whether the run is for what changes over time: its slopes are judged.
    pub soak: bool,
    /// Size of a payload. Unit: bytes. Default 256.
    pub payload_bytes: usize,
    /// Window of each publisher. Unit: envelopes. Default 8,192.
    pub window_envelopes: usize,
    /// Topics, each with a publisher and a group of its own. Default 5.
    pub topics: usize,
    /// A file for the results, written anew after each rate.
    pub json: Option<PathBuf>,
    /// A file for the report as Markdown, written anew after each rate.
    pub markdown: Option<PathBuf>,
    /// A file for the report as one page with plots, written anew after each rate.
    pub html: Option<PathBuf>,
}

impl Default for OpenRequest {
    fn default() -> Self {
        Self {
            buses: Vec::new(),
            rates: Rates::Auto,
            duration: Duration::from_secs(10),
            slo: Duration::from_millis(50),
            soak: false,
            payload_bytes: 256,
            window_envelopes: 8_192,
            topics: TOPICS,
            json: None,
            markdown: None,
            html: None,
        }
    }
}

/// Most envelopes of one rate, each of which is remembered by a bit until it is judged.
const ENVELOPES_MAX: f64 = 100_000_000.0;

impl OpenRequest {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of its range, with the range.
    pub fn validate(&self) -> Result<()> {
        let buses = self.buses.len();
        if buses > BUSES_MAX {
            bail!("buses = {buses} (at most {BUSES_MAX})");
        }
        let day = Duration::from_secs(86_400);
        if !(Duration::from_secs(1)..=day).contains(&self.duration) {
            bail!("duration = {:?} (1 s to 24 h)", self.duration);
        }
        if !(Duration::from_micros(100)..=Duration::from_secs(60)).contains(&self.slo) {
            bail!("slo = {:?} (100 µs to 60 s)", self.slo);
        }
        if !(1..=1_000_000).contains(&self.window_envelopes) {
            bail!("window = {} (1 to 1,000,000 envelopes)", self.window_envelopes);
        }
        if !(1..=50).contains(&self.topics) {
            bail!("topics = {} (1 to 50)", self.topics);
        }
        if !PAYLOAD_BYTES.contains(&self.payload_bytes) {
            bail!("payload = {} ({} to {} bytes)", self.payload_bytes, PAYLOAD_BYTES.start(), PAYLOAD_BYTES.end());
        }
        if let Rates::Each(rates) = &self.rates {
            if rates.is_empty() {
                bail!("no rate (name at least one)");
            }
            if rates.iter().any(|rate| rate * self.duration.as_secs_f64() > ENVELOPES_MAX) {
                bail!("rate × duration is above {ENVELOPES_MAX} envelopes: shorten it, or lower the rate");
            }
        }
        Ok(())
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            payload_bytes: Some(self.payload_bytes),
            window_envelopes: self.window_envelopes,
            senders: None,
            topics: self.topics,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_or_auto() {
        assert_eq!("auto".parse::<Rates>().expect("legal"), Rates::Auto);
        assert_eq!("500,2000".parse::<Rates>().expect("legal"), Rates::Each(vec![500.0, 2_000.0]));
        for wrong in ["", "fast", "0", "-5", "1e9", "NaN"] {
            assert!(wrong.parse::<Rates>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_field_out_of_its_range_is_named_with_the_range() {
        let legal = OpenRequest { buses: vec!["memory:".into(); BUSES_MAX], ..OpenRequest::default() };
        legal.validate().expect("all within");
        let (long, hour) = (Duration::from_secs(90_000), Duration::from_secs(3_600));
        let each = |rates: &[f64]| Rates::Each(rates.to_vec());
        let table = [
            (OpenRequest { buses: vec!["memory:".into(); BUSES_MAX + 1], ..legal.clone() }, "buses = 9 (at most 8)"),
            (OpenRequest { duration: long, ..legal.clone() }, "duration = 90000s (1 s to 24 h)"),
            (OpenRequest { slo: long, ..legal.clone() }, "slo = 90000s (100 µs to 60 s)"),
            (OpenRequest { window_envelopes: 0, ..legal.clone() }, "window = 0 (1 to 1,000,000 envelopes)"),
            (OpenRequest { topics: 51, ..legal.clone() }, "topics = 51 (1 to 50)"),
            (OpenRequest { payload_bytes: 1, ..legal.clone() }, "payload = 1 ("),
            (OpenRequest { rates: each(&[]), ..legal.clone() }, "no rate (name at least one)"),
            (
                OpenRequest { rates: each(&[1.0, 1e6]), duration: hour, ..legal.clone() },
                "shorten it, or lower the rate",
            ),
        ];
        for (request, told) in table {
            let text = request.validate().expect_err(told).to_string();
            assert!(text.contains(told) && !text.contains('\n'), "{text}");
        }
    }
}
