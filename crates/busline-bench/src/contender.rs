//! The buses of a benchmark: where each has its runs, and what it is called in results.

use std::sync::Arc;

use anyhow::Result;

use crate::connect::Connect;
use crate::place::Place;

/// One bus.
pub(crate) struct Contender {
    pub(crate) place: Place,
    /// The backend's name, with a number where several buses have the same backend.
    pub(crate) label: String,
}

/// The buses of these URLs, in their order; without a URL temporary SQLite files.
pub(crate) fn contenders(urls: &[String], connect: &Arc<dyn Connect>) -> Result<Vec<Contender>> {
    let place = |url| Place::new(url, Arc::clone(connect));
    if urls.is_empty() {
        return Ok(vec![Contender { place: place(None)?, label: "sqlite".into() }]);
    }
    let named = urls.iter().zip(labels(urls));
    named.map(|(url, label)| Ok(Contender { place: place(Some(url.as_str()))?, label })).collect()
}

fn labels(urls: &[String]) -> Vec<String> {
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
    fn each_run_begins_with_another_bus() {
        let connect: Arc<dyn Connect> = Arc::new(crate::connect::ByUrl);
        let buses = contenders(&["memory:", "memory:", "memory:"].map(String::from), &connect).expect("places");
        let order = |run| turn(&buses, run).map(|it| it.label.as_str()).collect::<Vec<_>>();
        assert_eq!(order(1), ["memory-1", "memory-2", "memory-3"]);
        assert_eq!(order(2), ["memory-2", "memory-3", "memory-1"]);
        assert_eq!(order(4), order(1));
    }
}
