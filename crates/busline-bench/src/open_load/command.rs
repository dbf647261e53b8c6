//! The command that repeats an open load.

use super::request::{OpenRequest, Rates};
use crate::request_line::without_address;

/// The command line of a request. Where a bus is stays out of it: an address may hold what is secret.
pub(super) fn command(request: &OpenRequest) -> String {
    let mut parts = vec!["busline bench".to_string()];
    parts.extend(request.buses.iter().map(|url| format!("--bus {}", without_address(url))));
    let rates = match &request.rates {
        Rates::Auto => "auto".to_string(),
        Rates::Each(rates) => rates.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    };
    let held = if request.soak { "--soak" } else { "--duration" };
    parts.push(format!("--rate {rates} {held} {}s", request.duration.as_secs_f64()));
    parts.push(format!("--slo {}ms", request.slo.as_secs_f64() * 1e3));
    let defaults = OpenRequest::default();
    let mut differs = |flag: &str, is: usize, default: usize| {
        parts.extend((is != default).then(|| format!("{flag} {is}")));
    };
    differs("--payload", request.payload_bytes, defaults.payload_bytes);
    differs("--window", request.window_envelopes, defaults.window_envelopes);
    differs("--topics", request.topics, defaults.topics);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_command_repeats_the_request_and_shows_no_address() {
        let request = OpenRequest {
            buses: vec!["nats://user:secret@10.0.0.1".into()],
            rates: Rates::Each(vec![500.0, 2_000.0]),
            soak: true,
            duration: Duration::from_secs(120),
            topics: 1,
            ..OpenRequest::default()
        };
        assert_eq!(
            command(&request),
            "busline bench --bus nats://HOST:PORT --rate 500,2000 --soak 120s --slo 50ms --topics 1"
        );
        let auto = command(&OpenRequest::default());
        assert_eq!(auto, "busline bench --rate auto --duration 10s --slo 50ms");
    }
}
