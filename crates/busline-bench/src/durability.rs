//! Buses compared at equal durability: each must attest exactly what was asked for.

use std::time::Duration;

use anyhow::Result;
use busline::{Durability, Error, ErrorKind};

use crate::burst_run::{clear, runtime};
use crate::contender::Contender;
use crate::topic_plan::attested;

/// Longest wait for a bus to close.
const CLOSE_MAX: Duration = Duration::from_secs(60);

/// Makes a topic on each bus and looks what its acks attest, before anything is measured.
///
/// # Errors
/// `Unsupported/Durability` with what the bus attests instead; those of the driver.
pub(crate) fn check(buses: &[Contender], wanted: Durability) -> Result<()> {
    buses.iter().try_for_each(|bus| check_one(bus, wanted))
}

fn check_one(bus: &Contender, wanted: Durability) -> Result<()> {
    let stage = bus.place.stage(1);
    let found = runtime()?.block_on(async {
        let bus = stage.bus().await?;
        stage.plan.make(&bus, &stage.url, &stage.topics).await?;
        let found = attested(&bus, &stage.topics[0]).await?;
        bus.close(CLOSE_MAX).await?;
        anyhow::Ok(found)
    })?;
    clear(&stage)?;
    if found == wanted { Ok(()) } else { Err(refused(bus, found, wanted).into()) }
}

fn refused(bus: &Contender, found: Durability, wanted: Durability) -> Error {
    let next = match bus.backend() {
        "nats" => {
            "for synced set sync_interval: always on every server and monitor=HOST:PORT in the URL, for written leave \
             both out; N copies need 2 N - 1 servers"
        }
        "kafka" => "N copies need 2 N - 1 brokers, and unclean.leader.election.enable=false",
        _ => "an embedded bus attests one thing only: ask for that, or leave this bus out",
    };
    Error::new(ErrorKind::Unsupported, "Durability")
        .cause(format!("acks attest {found} here, wanted {wanted}"))
        .next(next)
        .at("bench", &bus.label)
}
