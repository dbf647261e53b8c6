//! The command that repeats a benchmark.

use crate::contender::backend_of;
use crate::request::BenchRequest;

/// The command line of a request. Where a bus is stays out of it: an address may hold what is secret.
pub(crate) fn command(request: &BenchRequest) -> String {
    let mut parts = vec!["busline bench".to_string()];
    parts.extend(request.buses.iter().map(|url| format!("--bus {}", without_address(url))));
    let names = |names: &[String]| names.join(",");
    parts.push(format!("--level {}", names(&request.levels.iter().map(ToString::to_string).collect::<Vec<_>>())));
    parts.push(format!("--mode {}", names(&request.modes.iter().map(ToString::to_string).collect::<Vec<_>>())));
    let lists = [
        ("--strategy", request.strategies.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("--headers", request.headers.iter().map(|on| if *on { "on" } else { "off" }.to_string()).collect()),
        ("--streams", request.streams.iter().map(ToString::to_string).collect()),
    ];
    let asked = lists.iter().filter(|(_, values)| !values.is_empty());
    parts.extend(asked.map(|(flag, values)| format!("{flag} {}", names(values))));
    parts.extend(request.durability.map(|medium| format!("--durability {medium}")));
    parts.push(format!("--runs {}", request.runs));
    let defaults = BenchRequest::default();
    let mut differs = |flag: &str, is: Option<String>| parts.extend(is.map(|value| format!("{flag} {value}")));
    differs("--payload", request.payload_bytes.map(|bytes| bytes.to_string()));
    differs("--senders", request.senders.map(|senders| senders.to_string()));
    let window = request.window_envelopes;
    differs("--window", (window != defaults.window_envelopes).then(|| window.to_string()));
    differs("--copies", (request.copies != defaults.copies).then(|| request.copies.to_string()));
    differs("--topics", (request.topics != defaults.topics).then(|| request.topics.to_string()));
    parts.join(" ")
}

pub(crate) fn without_address(url: &str) -> String {
    match backend_of(url) {
        "memory" => "memory:".into(),
        "sqlite" => "sqlite:FILE".into(),
        backend => format!("{backend}://HOST:PORT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use crate::workload::{Level, Mode};

    #[test]
    fn a_command_repeats_the_ways_that_were_asked_for() {
        let request = BenchRequest {
            buses: vec!["kafka://a".into()],
            levels: vec![Level::Low],
            modes: vec![Mode::Async],
            strategies: vec![Strategy::Fast, Strategy::Capped256],
            headers: vec![true, false],
            streams: vec![1, 4],
            durability: Some(busline::Medium::Synced),
            copies: 2,
            ..BenchRequest::default()
        };
        assert_eq!(
            command(&request),
            "busline bench --bus kafka://HOST:PORT --level low --mode async --strategy fast,capped-256 --headers on,off \
             --streams 1,4 --durability synced --runs 3 --copies 2"
        );
    }

    #[test]
    fn a_command_repeats_the_request_and_shows_no_address() {
        let request = BenchRequest {
            buses: vec!["nats://user:secret@10.0.0.1".into(), "sqlite:/srv/shop.db".into()],
            levels: vec![Level::Low, Level::Surge],
            modes: vec![Mode::Async],
            runs: 5,
            topics: 1,
            ..BenchRequest::default()
        };
        assert_eq!(
            command(&request),
            "busline bench --bus nats://HOST:PORT --bus sqlite:FILE --level low,surge --mode async --runs 5 --topics 1"
        );
    }
}
