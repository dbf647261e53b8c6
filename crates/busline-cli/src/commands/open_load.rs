//! `busline bench --rate`: publishes at a rate and says whether it holds.

use busline::Result;
use busline_bench::{OpenReport, OpenRequest, write_open_load};

use super::Ended;
use super::bench::{cancellable, failed, print_json, whole, wrong_value};
use super::report_files::ReportFiles;
use crate::args::Bench;
use crate::interrupt::Stop;
use crate::output::{Form, Output};

/// What to measure.
pub(crate) struct Request(OpenRequest);

impl Request {
    /// # Errors
    /// `Invalid/Range` with a value out of its range; those of [`ReportFiles::of`].
    pub(super) fn new(args: Bench, buses: Vec<String>) -> Result<Self> {
        let files = ReportFiles::of(&args, &buses)?;
        let defaults = OpenRequest::default();
        let request = OpenRequest {
            buses,
            rates: args.rate.unwrap_or_default().parse().map_err(|error| wrong_value(&error))?,
            duration: args.soak.unwrap_or(args.duration),
            slo: args.slo,
            soak: args.soak.is_some(),
            payload_bytes: args.payload.unwrap_or(defaults.payload_bytes),
            window_envelopes: args.window,
            topics: args.topics,
            json: files.json,
            markdown: files.markdown,
            html: files.html,
        };
        request.validate().map_err(|error| wrong_value(&error))?;
        Ok(Self(request))
    }

    /// Whether a file gets the results.
    pub(super) fn has_file(&self) -> bool {
        self.0.json.is_some()
    }
}

/// Runs it on a thread of its own, because it has runtimes of its own; Ctrl-C ends it after its present rate.
pub(super) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let into_file = request.0.json.is_some();
    let report = cancellable(move |bar| busline_bench::open_load(&request.0, bar), stop).await?;
    print(&report, into_file, output)?;
    whole(report.missing())?;
    Ok(if report.is_sound() { Ended::Done } else { Ended::SomeFailed })
}

fn print(report: &OpenReport, into_file: bool, output: &mut Output) -> Result<()> {
    if output.form() == Form::Json && !into_file {
        return print_json(report, output);
    }
    let mut table = Vec::new();
    write_open_load(report, &mut table).map_err(|error| failed(&error))?;
    output.raw(&table)
}
