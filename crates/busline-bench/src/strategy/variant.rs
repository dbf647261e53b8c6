//! What differs between two runs of one bus.

use busline::{Error, ErrorKind, Result};

use super::name::Strategy;
use crate::request::BenchRequest;

/// One way to run a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) strategy: Strategy,
    /// Whether each message has its attributes as headers too.
    pub(crate) headers: bool,
    /// Streams of each topic.
    pub(crate) streams: u32,
}

impl Variant {
    /// What a bus's label has behind it: each part that differs from the default.
    pub(crate) fn suffix(&self) -> String {
        let Self { strategy, headers, streams } = *self;
        let mut suffix = if strategy == Strategy::Fast { String::new() } else { format!("/{strategy}") };
        match headers {
            true if !strategy.has_headers() => suffix += "/headers",
            false if strategy.has_headers() => suffix += "/no-headers",
            _ => {}
        }
        if streams == 1 { suffix } else { format!("{suffix}/{streams}-streams") }
    }
}

/// All ways of the request that this backend has, in the request's order.
///
/// # Errors
/// `Unsupported/Strategy`, `Unsupported/Headers` or `Unsupported/Streams` where it has none.
pub(crate) fn variants(label: &str, backend: &str, request: &BenchRequest) -> Result<Vec<Variant>> {
    let is_server = matches!(backend, "nats" | "kafka");
    let strategies = those(&request.strategies, |it| it.exists_on(backend));
    let headers = those(&request.headers, |on| is_server || !on);
    let streams = those(&request.streams, |count| count == 1 || backend == "nats");
    for (asked, found, reason, has) in [
        (!request.strategies.is_empty(), strategies.len(), "Strategy", "the strategy fast alone"),
        (!request.headers.is_empty(), headers.len(), "Headers", "headers off alone: its dump checks rows without any"),
        (!request.streams.is_empty(), streams.len(), "Streams", "1 stream alone: only NATS has streams"),
    ] {
        if asked && found == 0 {
            return Err(Error::new(ErrorKind::Unsupported, reason)
                .cause(format!("{backend} is measured with {has}"))
                .next("leave this bus out, or ask for that too")
                .at("bench", label));
        }
    }
    let mut all = Vec::new();
    for strategy in if strategies.is_empty() { vec![Strategy::Fast] } else { strategies } {
        for headers in if headers.is_empty() { vec![strategy.has_headers()] } else { headers.clone() } {
            for streams in if streams.is_empty() { vec![1] } else { streams.clone() } {
                all.push(Variant { strategy, headers, streams });
            }
        }
    }
    Ok(all)
}

/// Those that are there, each once.
fn those<T: Copy + PartialEq>(asked: &[T], there: impl Fn(T) -> bool) -> Vec<T> {
    let mut found = Vec::new();
    for one in asked.iter().copied().filter(|one| there(*one)) {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(strategies: &[Strategy], headers: &[bool], streams: &[u32]) -> BenchRequest {
        BenchRequest {
            strategies: strategies.into(),
            headers: headers.into(),
            streams: streams.into(),
            ..BenchRequest::default()
        }
    }

    #[track_caller]
    fn labelled(backend: &str, request: &BenchRequest) -> Vec<String> {
        variants(backend, backend, request).expect("legal").iter().map(Variant::suffix).collect()
    }

    #[test]
    fn a_label_says_what_differs_from_the_default() {
        assert_eq!(labelled("kafka", &BenchRequest::default()), [""]);
        let all = request(&Strategy::ALL, &[], &[]);
        assert_eq!(labelled("nats", &all), ["", "/pipelined", "/task-per-message", "/capped-256"]);
        let headers = request(&[Strategy::Fast, Strategy::TaskPerMessage], &[true, false], &[]);
        assert_eq!(labelled("kafka", &headers), ["/headers", "", "/task-per-message", "/task-per-message/no-headers"]);
        assert_eq!(labelled("nats", &request(&[], &[true], &[1, 2, 2])), ["/headers", "/headers/2-streams"]);
    }

    #[test]
    fn a_bus_has_those_of_the_ways_that_it_can_and_none_is_refused_by_name() {
        let all = request(&Strategy::ALL, &[true, false], &[1, 2, 4]);
        assert_eq!(labelled("sqlite", &all), [""], "beside the servers it runs as it is");
        assert_eq!(labelled("kafka", &all).len(), 8);
        assert_eq!(labelled("nats", &all).len(), 24);
        for (backend, request, code) in [
            ("sqlite", request(&[Strategy::Capped256], &[], &[]), "Unsupported/Strategy"),
            ("memory", request(&[], &[true], &[]), "Unsupported/Headers"),
            ("kafka", request(&[], &[], &[2, 4]), "Unsupported/Streams"),
        ] {
            assert_eq!(variants(backend, backend, &request).expect_err("refused").code(), code);
        }
    }
}
