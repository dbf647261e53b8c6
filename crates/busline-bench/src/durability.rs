//! Buses compared at equal durability: each must attest exactly what was asked for.

use anyhow::Result;
use busline::{Bus, Durability, Error, ErrorKind};

use crate::clearing::leaving_nothing;
use crate::connect::CLOSE_MAX;
use crate::contender::Contender;
use crate::place::Stage;
use crate::runtime::runtime;
use crate::topic_plan::attested;

/// Makes a topic on each bus and looks what its acks attest, before anything is measured.
///
/// # Errors
/// `Unsupported/Durability` with what the bus attests instead; those of the driver.
pub(crate) fn check(buses: &[Contender], wanted: Durability) -> Result<()> {
    buses.iter().try_for_each(|bus| check_one(bus, wanted))
}

fn check_one(bus: &Contender, wanted: Durability) -> Result<()> {
    let stage = bus.place.stage(1);
    let found = leaving_nothing(&stage, || {
        runtime()?.block_on(async {
            let bus = stage.bus().await?;
            let found = attested_on(&bus, &stage).await;
            bus.close(CLOSE_MAX).await?;
            anyhow::Ok(found)
        })
    })?;
    match found {
        Ok(found) if found == wanted => Ok(()),
        Ok(found) => Err(other_than_wanted(bus, found, wanted).into()),
        Err(error) => Err(match error.downcast::<Error>() {
            Ok(error) if error.reason() == "Replicas" => {
                too_many_copies(bus, wanted, stage.plan.spec.replicas).because(error).into()
            }
            other => other.map_or_else(|error| error, Into::into),
        }),
    }
}

/// What acks attest on a topic that is made as those of runs are.
async fn attested_on(bus: &Bus, stage: &Stage) -> Result<Durability> {
    stage.plan.make(bus, &stage.url, &stage.topics).await?;
    attested(bus, &stage.topics[0]).await
}

/// Not even a topic with so many copies can be made.
fn too_many_copies(bus: &Contender, wanted: Durability, replicas: u8) -> Error {
    let next = match bus.backend() {
        "nats" | "kafka" => "ask for fewer --copies, or add servers: N copies need 2 N - 1",
        _ => "an embedded bus keeps one copy: ask for that, or leave this bus out",
    };
    refused(bus, format!("wanted {wanted}, which needs topics of {replicas} replicas, and they are refused"), next)
}

fn other_than_wanted(bus: &Contender, found: Durability, wanted: Durability) -> Error {
    let next = match bus.backend() {
        "nats" => {
            "for synced set sync_interval: always on every server and monitor=HOST:PORT in the URL, for written leave \
             both out; N copies need 2 N - 1 servers"
        }
        "kafka" => "N copies need 2 N - 1 brokers, and unclean.leader.election.enable=false",
        _ => "an embedded bus attests one thing only: ask for that, or leave this bus out",
    };
    refused(bus, format!("acks attest {found} here, wanted {wanted}"), next)
}

fn refused(bus: &Contender, cause: String, next: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "Durability").cause(cause).next(next).at("bench", &bus.label)
}
