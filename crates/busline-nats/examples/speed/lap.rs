//! What one part cost: time and CPU, and how several rounds of it compare.

use std::collections::BTreeMap;
use std::time::Instant;

use busline_brokers::nats::Server;

/// A part under way.
pub(crate) struct Watch {
    started: Instant,
    server: Option<u32>,
    cpu: f64,
    server_cpu: f64,
}

/// What a part cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lap {
    /// Records a second, or microseconds where the part says so.
    pub(crate) figure: f64,
    /// Microseconds of this process's CPU for each record.
    pub(crate) cpu: f64,
    /// The same of the server's.
    pub(crate) server_cpu: f64,
    /// Processors that the server kept busy meanwhile.
    pub(crate) server_busy: f64,
}

impl Watch {
    pub(crate) fn start(server: &Server) -> Self {
        let server = server.pid();
        Self { server, cpu: cpu(None), server_cpu: cpu(server), started: Instant::now() }
    }

    /// Records a second, and CPU for each.
    pub(crate) fn end(&self, records: u64) -> Lap {
        let count = records as f64;
        let took = self.started.elapsed().as_secs_f64();
        let (own, servers) = (cpu(None) - self.cpu, cpu(self.server) - self.server_cpu);
        let (cpu, server_cpu) = (own * 1e6 / count, servers * 1e6 / count);
        Lap { figure: count / took, cpu, server_cpu, server_busy: servers / took }
    }
}

/// Seconds on a processor of all threads of a process or of this one, from their clocks in nanoseconds.
fn cpu(process: Option<u32>) -> f64 {
    let process = process.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// The laps of each part, in the order in which parts first came.
#[derive(Debug, Default)]
pub(crate) struct Laps {
    order: Vec<&'static str>,
    laps: BTreeMap<&'static str, Vec<Lap>>,
}

impl Laps {
    pub(crate) fn add(&mut self, part: &'static str, lap: Lap) {
        if !self.order.contains(&part) {
            self.order.push(part);
        }
        self.laps.entry(part).or_default().push(lap);
    }

    /// Prints each part, and the first one's ratios to each other one: medians over the rounds, each ratio that of one
    /// round, since parts of one round share the machine's mood.
    pub(crate) fn print(&self, unit: &str) {
        for part in &self.order {
            let figure = Spread::of(self.laps[part].iter().map(|lap| lap.figure));
            let cpu = Spread::of(self.laps[part].iter().map(|lap| lap.cpu));
            let server = Spread::of(self.laps[part].iter().map(|lap| lap.server_cpu));
            let busy = Spread::of(self.laps[part].iter().map(|lap| lap.server_busy));
            println!("{part:<22} {figure:.0} {unit}, {cpu:.2} µs CPU; server {server:.2} µs, {busy:.2} processors");
        }
        let Some((first, others)) = self.order.split_first() else { return };
        for other in others {
            let pairs = || self.laps[first].iter().zip(&self.laps[other]);
            let figure = Spread::of(pairs().map(|(own, twin)| own.figure / twin.figure));
            let cpu = Spread::of(pairs().map(|(own, twin)| own.cpu / twin.cpu));
            println!("{first} ÷ {other}: {figure:.2}, CPU {cpu:.2}");
        }
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("load average: {}", load.trim());
    }
}

/// The median, with the least and the greatest.
struct Spread {
    least: f64,
    median: f64,
    greatest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
        Self { least: at(0), median: at(values.len() / 2), greatest: at(values.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.least, self.greatest)
    }
}
