//! A bus that fails in the middle of a run ends the benchmark, and its topics are taken away all the same.

use std::sync::Arc;

use busline::{
    BoxFuture, Bus, Driver, Error, ErrorKind, Layer, Layered, Result, Source, SourceRequest, SqliteConfig, SqliteDriver,
};
use busline_bench::{BenchRequest, Connect, Level, Mode, OpenRequest, Quiet, Rates, open_load_on, run_on};

/// Opens files behind it.
#[derive(Debug)]
struct FailingBuses;

impl Connect for FailingBuses {
    fn connect<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Bus>> {
        Box::pin(async {
            let path = url.strip_prefix("sqlite:").expect("a file");
            let inner: Arc<dyn Driver> = Arc::new(SqliteDriver::open(SqliteConfig::new(path)).await?);
            Ok(Bus::new(Arc::new(Layered::new(inner, WithoutSources))))
        })
    }
}

/// What is published can be read by no group.
#[derive(Debug)]
struct WithoutSources;

impl Layer for WithoutSources {
    fn source<'a>(&'a self, _: &'a dyn Driver, _: SourceRequest) -> BoxFuture<'a, Result<Arc<dyn Source>>> {
        Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "Injected").cause("a test").next("none")) })
    }
}

#[test]
fn a_run_that_fails_takes_its_topics_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let buses = vec![format!("sqlite:{}", folder.path().join("bus.db").display())];
    let connect: Arc<dyn Connect> = Arc::new(FailingBuses);
    let burst = BenchRequest {
        buses: buses.clone(),
        levels: vec![Level::Low],
        modes: vec![Mode::Async],
        runs: 1,
        ..BenchRequest::default()
    };
    let paced = OpenRequest { buses: buses.clone(), rates: Rates::Each(vec![100.0]), ..OpenRequest::default() };
    for (what, failed) in [
        ("a burst", run_on(&burst, &connect, &mut Quiet).map(drop)),
        ("a rate", open_load_on(&paced, &connect, &mut Quiet).map(drop)),
    ] {
        let error = failed.expect_err("nobody can read");
        assert!(format!("{error:#}").contains("Unavailable/Injected"), "{what}: {error:#}");
        assert_eq!(topics(&buses[0]), Vec::<String>::new(), "{what}");
    }
}

fn topics(url: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bus = busline::connect(url).await.expect("opens");
        let topics = bus.driver().topics().await.expect("reads");
        bus.close(std::time::Duration::from_secs(10)).await.expect("closes");
        topics.iter().map(|topic| topic.name.to_string()).collect()
    })
}
