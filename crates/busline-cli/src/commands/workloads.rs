//! `busline bench --workload`: conditions to consume under, each on a file of its own.

use busline::Result;
use busline_bench::{
    BenchRequest, Scenario, ScenarioReport, ScenarioRequest, publish_process, scenarios, write_scenarios,
};

use super::Ended;
use super::bench::{cancellable, chosen, failed, joined, print_json, whole, wrong_value};
use crate::args::Bench;
use crate::interrupt::Stop;
use crate::output::{Form, Output};

/// What to measure.
pub(crate) struct Request(ScenarioRequest);

impl Request {
    /// # Errors
    /// `Invalid/Range` with every value out of its range.
    pub(super) fn new(args: &Bench) -> Result<Self> {
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let defaults = BenchRequest { runs: args.runs, payload_bytes: args.payload, ..BenchRequest::default() };
        defaults.validate().map_err(|error| wrong_value(&error))?;
        Ok(Self(ScenarioRequest {
            scenarios: chosen(&args.workload, &Scenario::ALL, Vec::new())?,
            runs: args.runs,
            payload_bytes: args.payload.unwrap_or(PAYLOAD_BYTES),
            child: vec![program.into_os_string(), "bench".into(), "--publish-process".into()],
        }))
    }
}

/// Size of a payload of a workload unless another is asked for. Unit: bytes.
const PAYLOAD_BYTES: usize = 256;

/// Runs them on a thread of their own, because they have runtimes of their own.
pub(super) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let report = cancellable(move |bar| scenarios(&request.0, bar), stop).await?;
    print(&report, output)?;
    whole(report.missing())?;
    Ok(if report.is_sound() { Ended::Done } else { Ended::SomeFailed })
}

/// Is the publishing process of one.
pub(super) async fn publish(arguments: Vec<String>) -> Result<Ended> {
    joined(tokio::task::spawn_blocking(move || publish_process(&arguments)).await)?;
    Ok(Ended::Done)
}

fn print(report: &ScenarioReport, output: &mut Output) -> Result<()> {
    if output.form() == Form::Json {
        return print_json(report, output);
    }
    let mut table = Vec::new();
    write_scenarios(report, &mut table).map_err(|error| failed(&error))?;
    output.raw(&table)
}
