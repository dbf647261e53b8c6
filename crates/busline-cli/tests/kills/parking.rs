//! Members and replays are killed while events fail, are parked, replayed and released; at the end everything is judged.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use busline_history::{
    GroupPlan, Handler, Life, Op, Parked, Plan, Process, Reached, Recorder, Report, Row, Run, Verdict,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::consumer::end;
use super::publisher::Publisher;
use super::{Killed, Outcome, evidence, note, seed};

/// Files that are worked on at once, and kills on each.
const FILES: usize = 6;
const KILLS_PER_FILE: usize = 36;

/// Latest moment of a kill after the process began: some come while it joins, some in the middle of its work.
const KILL_WITHIN: Duration = Duration::from_millis(1_500);

/// Pause between two events.
const EVENT_EVERY: Duration = Duration::from_millis(8);

/// Kills after which the handler is broken, or mended again.
const KILLS_PER_STATE: usize = 4;

/// While the file `broken` is there, events of keys that end in 0 or 5 fail.
const HANDLER: &str = "#!/bin/sh
read -r line
[ -e \"$0.broken\" ] || exit 0
case \"$line\" in *'\"subject\":\"key-'[0-9]*[05]'\"'*|*'\"subject\":\"key-'[05]'\"'*) exit 1;; esac
";

#[test]
fn killed_members_and_replays_lose_and_reorder_nothing_that_is_parked() -> Outcome {
    let (seed, start) = (seed(), Instant::now());
    let outcomes: Vec<Outcome<(usize, usize, String)>> = std::thread::scope(|scope| {
        let files: Vec<_> =
            (0..FILES).map(|file| scope.spawn(move || one_file(seed.wrapping_add(file as u64)))).collect();
        files.into_iter().map(|file| file.join().unwrap_or_else(|_| Err("a file's thread panicked".into()))).collect()
    });
    let (mut members, mut replays) = (0, 0);
    for outcome in outcomes {
        let (of_members, of_replays, report) = outcome?;
        println!("{report}");
        (members, replays) = (members + of_members, replays + of_replays);
    }
    println!("{members} kills of members and {replays} of replays in {:.0?}", start.elapsed());
    assert!(members + replays >= 200 && replays >= 50, "{members} and {replays} kills");
    Ok(())
}

/// The files of one run.
struct Site {
    folder: PathBuf,
    started: usize,
}

impl Site {
    fn new(folder: &Path) -> Outcome<Self> {
        let site = Self { folder: folder.to_owned(), started: 0 };
        std::fs::write(site.handler(), HANDLER)?;
        std::fs::set_permissions(site.handler(), PermissionsExt::from_mode(0o755))?;
        Ok(site)
    }

    fn handler(&self) -> PathBuf {
        self.folder.join("handler")
    }

    fn set_broken(&self, is_broken: bool) -> Outcome {
        let mark = self.folder.join("handler.broken");
        if is_broken {
            std::fs::write(mark, "")?;
        } else if mark.exists() {
            std::fs::remove_file(mark)?;
        }
        Ok(())
    }

    fn busline(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_busline"));
        command
            .args(line.split(' '))
            .arg("--bus")
            .arg(format!("sqlite:{}", self.folder.join("bus.db").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Starts a process that runs the handler, with a history of its own.
    fn start(&mut self, line: &str) -> Outcome<Child> {
        self.started += 1;
        let history = self.folder.join(format!("process-{}.ndjson", self.started));
        let mut command = self.busline(line);
        Ok(command.arg("--exec").arg(self.handler()).env("BUSLINE_HISTORY", history).spawn()?)
    }

    fn member(&mut self) -> Outcome<Child> {
        self.start("sub kills --group g --concurrency 4 --lease 1 --attempts 1 --json")
    }

    fn replay(&mut self) -> Outcome<Child> {
        self.start("parked replay --group g --topic kills --lease 1")
    }

    fn is_anything_parked(&self) -> Outcome<bool> {
        let listed = self.busline("parked list --group g --topic kills --json").stdout(Stdio::piped()).output()?;
        if listed.status.success() { Ok(!listed.stdout.is_empty()) } else { Err("parked list failed".into()) }
    }
}

fn one_file(seed: u64) -> Outcome<(usize, usize, String)> {
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let mut site = Site::new(folder.path())?;
    let recorder = Recorder::create(folder.path().join("faults.ndjson"), 0)?.actor("killer");
    let mut plan = Plan {
        groups: vec![GroupPlan::from_beginning("g", "kills")],
        parked: Parked::KeyWaits,
        acked_min: 500,
        ..Plan::default()
    };
    site.set_broken(true)?;
    let publisher = Publisher::start_slowly(folder.path(), 0, EVENT_EVERY)?;
    publisher.wait_for_topic(&folder.path().join("bus.db"))?;
    let mut members = vec![site.member()?, site.member()?];
    let (mut of_members, mut of_replays) = (0, 0);
    for kill in 0.. {
        if of_members + of_replays == KILLS_PER_FILE {
            break;
        }
        site.set_broken((kill / KILLS_PER_STATE).is_multiple_of(2))?;
        let after = KILL_WITHIN.mul_f64(dice.random_range(0.0..1.0));
        let is_replay = dice.random_bool(0.6);
        let victim = if is_replay { site.replay()? } else { members.swap_remove(dice.random_range(0..members.len())) };
        // A replay may have found nothing more to do.
        if let Some(killed) = kill_after(victim, after)? {
            note(&recorder, seed, "F8", &killed, after)?;
            plan.killed.insert(killed.process);
            *if is_replay { &mut of_replays } else { &mut of_members } += 1;
        }
        while members.len() < 2 {
            members.push(site.member()?);
        }
    }
    publisher.end()?;
    site.set_broken(false)?;
    recorder.life(Life::DrainBegin)?;
    for member in members {
        end(member)?;
    }
    finish(&mut site)?;
    recorder.life(Life::DrainEnd { reached: Reached::End })?;
    let report = judge(folder.path(), &plan);
    if std::env::var_os("BUSLINE_KEEP").is_some() {
        println!("kept: {}", folder.keep().display());
    }
    Ok((of_members, of_replays, report?))
}

/// Kills a process this long after the call; `None` if it had ended by itself.
#[expect(clippy::disallowed_methods, reason = "the moment of the kill is the point of the test")]
fn kill_after(mut victim: Child, after: Duration) -> Outcome<Option<Killed>> {
    std::thread::sleep(after);
    victim.kill()?;
    let status = victim.wait()?;
    let process = Process { pid: victim.id(), epoch: 0 };
    let by_signal = status.signal() == Some(9);
    Ok(by_signal.then(|| Killed { process, by_signal, until_then: format!("{after:?} of its life") }))
}

/// A last member works until the group is at the end, and replays run until nothing is parked.
fn finish(site: &mut Site) -> Outcome {
    let wait = |mut child: Child| -> Outcome {
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the end was not reached: {status}").into()) }
    };
    wait(site.start("sub kills --group g --concurrency 4 --lease 1 --attempts 1 --json --until-end")?)?;
    while site.is_anything_parked()? {
        wait(site.replay()?)?;
    }
    Ok(())
}

fn judge(folder: &Path, plan: &Plan) -> Outcome<String> {
    let (history, dump) = evidence(folder)?;
    let handled: HashSet<&str> = history
        .entries()
        .iter()
        .filter_map(|entry| match &entry.op {
            Op::Handler(Handler::Ok(delivery)) => Some(delivery.id.as_str()),
            _ => None,
        })
        .collect();
    let missing: Vec<&Row> =
        dump.rows().iter().filter(|row| row.id.as_deref().is_some_and(|id| !handled.contains(id))).collect();
    if !missing.is_empty() {
        return Err(format!("no handler got {missing:?}").into());
    }
    let report = Report::of(&Run::new(&history, &dump, plan));
    if report.verdict == Verdict::Green { Ok(report.to_string()) } else { Err(report.to_string().into()) }
}
