//! The buses of a benchmark: where each has its runs, and what it is called in results.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::connect::Connect;
use crate::place::Place;
use crate::request::BenchRequest;
use crate::strategy::{Strategy, Variant, variants};
use crate::topic_plan::TopicPlan;

/// One bus, run in one way.
pub(crate) struct Contender {
    pub(crate) place: Place,
    /// The backend's name, with a number where several buses have the same backend, and what differs from the default.
    pub(crate) label: String,
    pub(crate) variant: Variant,
}

impl Contender {
    pub(crate) fn backend(&self) -> &str {
        backend_of_label(&self.label)
    }
}

/// The buses of these URLs, in their order, each as it is; without a URL temporary SQLite files.
///
/// # Errors
/// A folder for their files that cannot be made.
pub(crate) fn contenders(urls: &[String], connect: &Arc<dyn Connect>) -> Result<Vec<Contender>> {
    in_all_ways(&BenchRequest { buses: urls.to_vec(), ..BenchRequest::default() }, connect)
}

/// The buses of a request, in the order of their URLs, each in all ways it is asked for; without a URL temporary SQLite
/// files.
///
/// # Errors
/// A bus that has none of the ways asked for; more than can take turns.
pub(crate) fn in_all_ways(request: &BenchRequest, connect: &Arc<dyn Connect>) -> Result<Vec<Contender>> {
    let urls: Vec<Option<&str>> = match &request.buses[..] {
        [] => vec![None],
        urls => urls.iter().map(|url| Some(url.as_str())).collect(),
    };
    let labels = if request.buses.is_empty() { vec!["sqlite".to_string()] } else { labels(&request.buses) };
    let mut contenders = Vec::new();
    for (url, label) in urls.into_iter().zip(labels) {
        for variant in variants(&label, url.map_or("sqlite", backend_of), request)? {
            let url = url.map(|url| with_strategy(url, variant.strategy));
            let plan = TopicPlan::new(variant.streams, request.wanted());
            let place = Place::new(url.as_deref(), Arc::clone(connect))?.with_plan(plan);
            contenders.push(Contender { place, label: label.clone() + &variant.suffix(), variant });
        }
    }
    let count = contenders.len();
    ensure!(count <= CONTENDERS_MAX, "{count} buses and ways to run them; at most {CONTENDERS_MAX} take turns");
    Ok(contenders)
}

/// Most buses and ways of one benchmark: each one more is that much longer between two runs of the same one.
pub(crate) const CONTENDERS_MAX: usize = 32;

/// The URL by which the bus's own driver publishes in this way.
fn with_strategy(url: &str, strategy: Strategy) -> String {
    if strategy != Strategy::Pipelined || backend_of(url) != "nats" {
        return url.into();
    }
    format!("{url}{}strategy=pipelined", if url.contains('?') { '&' } else { '?' })
}

/// The backend of a label.
pub(crate) fn backend_of_label(label: &str) -> &str {
    label.split(['-', '/']).next().unwrap_or(label)
}

/// The bus of a label, without the way to publish to it.
pub(crate) fn bus_of_label(label: &str) -> &str {
    label.split('/').next().unwrap_or(label)
}

/// Whether this is the label of a bus that is published to in another way than the fast one.
pub(crate) fn is_way(label: &str) -> bool {
    bus_of_label(label) != label
}

/// What the buses of these URLs are called: the backend, with a number where several have the same.
pub(crate) fn labels(urls: &[String]) -> Vec<String> {
    let backends: Vec<&str> = urls.iter().map(|url| backend_of(url)).collect();
    let label = |(at, backend): (usize, &&str)| {
        let same = |backends: &[&str]| backends.iter().filter(|other| *other == backend).count();
        if same(&backends) == 1 { (*backend).to_string() } else { format!("{backend}-{}", same(&backends[..=at])) }
    };
    backends.iter().enumerate().map(label).collect()
}

/// The backend that a URL names.
pub(crate) fn backend_of(url: &str) -> &str {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "tls" => "nats",
        scheme => scheme,
    }
}

/// The order of one run: each run begins with another bus, so that none is always the first.
pub(crate) fn turn(contenders: &[Contender], run: u32) -> impl Iterator<Item = &Contender> {
    let first = (run as usize - 1) % contenders.len();
    contenders[first..].iter().chain(&contenders[..first])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses_of_one_backend_are_numbered_and_others_are_not() {
        let urls = ["nats://a?strategy=fast", "sqlite:x.db", "tls://b"].map(String::from);
        assert_eq!(labels(&urls), ["nats-1", "sqlite", "nats-2"]);
    }

    #[test]
    fn a_bus_that_is_run_in_several_ways_is_told_apart() {
        let connect: Arc<dyn Connect> = Arc::new(crate::connect::ByUrl);
        let buses = ["nats://a", "nats://b?monitor=b:1"].map(String::from).into();
        let strategies = vec![Strategy::Fast, Strategy::Pipelined];
        let request = BenchRequest { buses, strategies, ..BenchRequest::default() };
        let buses = in_all_ways(&request, &connect).expect("places");
        let labels: Vec<&str> = buses.iter().map(|it| it.label.as_str()).collect();
        assert_eq!(labels, ["nats-1", "nats-1/pipelined", "nats-2", "nats-2/pipelined"]);
        assert!(buses.iter().all(|bus| bus.backend() == "nats"));
        let urls: Vec<String> = buses.iter().map(|bus| bus.place.stage(1).url).collect();
        let piped = ["nats://a?strategy=pipelined", "nats://b?monitor=b:1&strategy=pipelined"];
        assert_eq!(urls, ["nats://a", piped[0], "nats://b?monitor=b:1", piped[1]]);
    }

    #[test]
    fn each_run_begins_with_another_bus() {
        let connect: Arc<dyn Connect> = Arc::new(crate::connect::ByUrl);
        let buses = contenders(&["memory:", "memory:", "memory:"].map(String::from), &connect).expect("places");
        let order = |run| turn(&buses, run).map(|it| it.label.as_str()).collect::<Vec<_>>();
        assert_eq!(order(1), ["memory-1", "memory-2", "memory-3"]);
        assert_eq!(order(2), ["memory-2", "memory-3", "memory-1"]);
        assert_eq!(order(4), order(1));
    }
}
