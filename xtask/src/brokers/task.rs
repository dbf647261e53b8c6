//! Starting, listing and stopping.

use anyhow::Result;
use busline_brokers::Left;

use super::kind::{Kind, Running};
use super::request::Request;
use super::started::Started;
use crate::workspace::Workspace;

/// Does what was asked for. `false`: something that should run does not.
pub(crate) fn run(workspace: &Workspace, request: &Request) -> Result<bool> {
    let mut started = Started::read(workspace.target())?;
    match request {
        Request::Start(kinds) => kinds.iter().try_for_each(|kind| start(&mut started, kind))?,
        Request::Stop(kind) => stop(&mut started, kind.as_ref())?,
        Request::Status => return Ok(status(&started)),
    }
    Ok(true)
}

/// One that runs already is only shown, so that a script may always begin with a start.
fn start(started: &mut Started, kind: &Kind) -> Result<()> {
    if let Some(running) = started.get(kind).filter(|running| is_whole(running)) {
        print(&kind.to_string(), running);
        return Ok(());
    }
    stop(started, Some(kind))?;
    let running = kind.start()?;
    print(&kind.to_string(), &running);
    started.add(kind, running)
}

fn stop(started: &mut Started, kind: Option<&Kind>) -> Result<()> {
    let name = kind.map(Kind::to_string);
    for (kind, running) in started.take(|one| name.as_deref().is_none_or(|name| name == one))? {
        running.left.iter().try_for_each(Left::stop)?;
        running.left.iter().try_for_each(Left::remove)?;
        println!("{kind}: stopped");
    }
    Ok(())
}

fn status(started: &Started) -> bool {
    for (kind, running) in started.all() {
        print(kind, running);
    }
    started.all().all(|(_, running)| is_whole(running))
}

fn is_whole(running: &Running) -> bool {
    !running.left.is_empty() && running.left.iter().all(Left::runs)
}

fn print(kind: &str, running: &Running) {
    println!("{kind}: {}", running.url);
    for page in &running.pages {
        println!("    monitoring: {page}");
    }
    for left in running.left.iter().filter(|left| !left.runs()) {
        println!("    process {} has ended; `cargo xtask brokers start {kind}` starts it anew", left.pid());
    }
}
