//! The servers' monitoring port, asked for the one fact that JetStream does not tell: whether an ack is synced.

use std::collections::HashSet;
use std::time::Duration;

use busline_core::{Error, ErrorKind, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ServerAddress;
use crate::error::unreachable;

/// Largest answer taken, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Whether all of these servers sync before they ack; with no server to ask, nothing is attested.
///
/// # Errors
/// `Unavailable/Monitoring`: a server that was to be asked does not answer.
pub(crate) async fn all_sync(monitors: &[ServerAddress], patience: Duration) -> Result<bool> {
    let mut servers = HashSet::new();
    let mut cluster = 1;
    for monitor in monitors {
        let asked = timeout(patience, variables(monitor)).await;
        let answer = asked.unwrap_or_else(|_| Err(unreachable("no answer in time")));
        let variables = answer.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "Monitoring")
                .because(error)
                .next("correct 'monitor=' in the URL, or leave it out and do without 'synced'")
                .at("ask the monitoring of", monitor.authority())
        })?;
        if variables["jetstream"]["config"]["sync_always"] != Value::Bool(true) {
            return Ok(false);
        }
        servers.insert(variables["server_id"].to_string());
        cluster = cluster.max(variables["jetstream"]["meta"]["cluster_size"].as_u64().unwrap_or(1));
    }
    // A stream may move to any server of its cluster, so each of them has to say it.
    Ok(servers.len() as u64 >= cluster)
}

async fn variables(monitor: &ServerAddress) -> Result<Value> {
    let refused = |error: std::io::Error| unreachable("the connection failed").because(error);
    let mut socket = TcpStream::connect((monitor.host.as_str(), monitor.port)).await.map_err(refused)?;
    // HTTP/1.0: the answer is not in chunks and ends with the connection.
    let request = format!("GET /varz HTTP/1.0\r\nHost: {}\r\n\r\n", monitor.authority());
    socket.write_all(request.as_bytes()).await.map_err(refused)?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(refused)?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(&answer[..0], |at| &answer[at + 4..]);
    serde_json::from_slice(body).map_err(|error| unreachable("an answer that is no JSON").because(error))
}
