//! The task: find the mutations, check or run them, tell.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::copy::{self, Copy};
use super::patch::Mutation;
use super::request::{Mode, Request};
use super::verdict::{self, Verdict};
use crate::duration::Shown;
use crate::process::{self, Ended};
use crate::tidy::{blanked, function_names};
use crate::workspace::Workspace;

/// Where the mutations are.
const FOLDER: &str = "xtask/mutations";

/// The longest build of one test.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);

/// The longest run of one test. A mutation that hangs it is a bad one: in CI it would be the job that hangs.
const TEST_MAX: Duration = Duration::from_secs(5 * 60);

/// Does what is asked. `false`: a mutation is not as it should be, and was printed.
pub(crate) fn run(workspace: &Workspace, request: &Request) -> Result<bool> {
    let all = Mutation::read_all(&workspace.root().join(FOLDER))?;
    let chosen = choose(all, &request.names)?;
    if chosen.is_empty() {
        println!("no mutations in {FOLDER}");
        return Ok(true);
    }
    match request.mode {
        Mode::List => {
            chosen
                .iter()
                .for_each(|one| println!("{}\n    Breaks: {}\n    Test: {}", one.name, one.breaks, one.test_line()));
            Ok(true)
        }
        Mode::Check => check(workspace, &chosen),
        Mode::Run => run_all(workspace, &chosen),
    }
}

fn choose(all: Vec<Mutation>, names: &[String]) -> Result<Vec<Mutation>> {
    if let Some(gone) = names.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
        bail!("no mutation `{gone}` in {FOLDER}; `cargo xtask mutate --list` shows them");
    }
    Ok(all.into_iter().filter(|one| names.is_empty() || names.contains(&one.name)).collect())
}

/// Sees that each patch applies and that its test exists.
fn check(workspace: &Workspace, mutations: &[Mutation]) -> Result<bool> {
    let mut sources = String::new();
    for path in workspace.files()?.iter().filter(|path| path.ends_with(".rs")) {
        sources.push_str(&blanked(&std::fs::read_to_string(workspace.root().join(path))?));
    }
    let mut all_well = true;
    for mutation in mutations {
        let name = mutation.filter().rsplit("::").next().unwrap_or_default();
        let applies = copy::apply(workspace.root(), &mutation.path, true);
        let wrong = match applies {
            Err(error) => Some(format!("{error:#}")),
            Ok(()) if !function_names(&sources).any(|function| function.contains(name)) => {
                Some(format!("no function is called {name}"))
            }
            Ok(()) => None,
        };
        if let Some(wrong) = wrong {
            println!("{}: {wrong}", mutation.name);
            all_well = false;
        }
    }
    if all_well {
        println!("mutate --check: {} mutations apply", mutations.len());
    }
    Ok(all_well)
}

/// One line of the table.
struct Line<'a> {
    mutation: &'a Mutation,
    verdict: Verdict,
    took: Duration,
}

fn run_all(workspace: &Workspace, mutations: &[Mutation]) -> Result<bool> {
    let begin = Instant::now();
    let copy = Copy::of(workspace)?;
    let before = run_unmutated(&copy, mutations)?;
    let mut lines = Vec::new();
    for mutation in mutations {
        let began = Instant::now();
        let verdict = match before[&mutation.test] {
            Some(wrong) => Verdict::Void(wrong),
            None => run_mutated(&copy, mutation)?,
        };
        let line = Line { mutation, verdict, took: began.elapsed() };
        println!("{}: {} in {}", mutation.name, line.verdict, Shown(line.took));
        lines.push(line);
    }
    copy.restore()?;
    print!("\n{}", table(&lines));
    let red = lines.iter().filter(|line| line.verdict.is_red()).count();
    println!("\nmutate: {red} of {} mutations are red, in {}", lines.len(), Shown(begin.elapsed()));
    if red < lines.len() {
        println!("what the others printed: {}", copy.log("NAME").display());
    }
    Ok(red == lines.len())
}

/// Runs each test once as the tree is, so that red means the mutation; `None` is green.
fn run_unmutated<'a>(
    copy: &Copy<'_>,
    mutations: &'a [Mutation],
) -> Result<HashMap<&'a Vec<String>, Option<&'static str>>> {
    let mut before = HashMap::new();
    for mutation in mutations {
        if !before.contains_key(&mutation.test) {
            let began = Instant::now();
            let log = format!("{}.unmutated", mutation.name);
            let wrong = match build_and_test(copy, mutation, &log)? {
                Some(ended) => verdict::unmutated(&ended),
                None => Some("it does not build, without the mutation"),
            };
            let said = wrong.unwrap_or("green");
            println!("unmutated: cargo test {}: {said} in {}", mutation.test_line(), Shown(began.elapsed()));
            before.insert(&mutation.test, wrong);
        }
    }
    Ok(before)
}

fn run_mutated(copy: &Copy<'_>, mutation: &Mutation) -> Result<Verdict> {
    copy.restore()?;
    if let Err(error) = copy.apply(&mutation.path) {
        println!("{}: {error:#}", mutation.name);
        return Ok(Verdict::Void("the patch does not apply"));
    }
    match build_and_test(copy, mutation, &mutation.name)? {
        Some(ended) => Ok(verdict::mutated(&ended, mutation.filter())),
        None => Ok(Verdict::Void("it does not build")),
    }
}

/// Builds the test, then runs it within its limit. `None`: it does not build.
fn build_and_test(copy: &Copy<'_>, mutation: &Mutation, log: &str) -> Result<Option<Ended>> {
    let built = process::within(BUILD_MAX, copy.cargo().args(["test", "--no-run"]).args(&mutation.test))?;
    if !built.succeeded() {
        std::fs::write(copy.log(log), &built.output)?;
        return Ok(None);
    }
    let ended = process::within(TEST_MAX, copy.cargo().arg("test").args(&mutation.test))?;
    std::fs::write(copy.log(log), &ended.output)?;
    Ok(Some(ended))
}

fn table(lines: &[Line<'_>]) -> String {
    let widest = |width: fn(&Mutation) -> usize| lines.iter().map(|line| width(line.mutation)).max().unwrap_or(0);
    let names = widest(|mutation| mutation.name.len());
    let tests = widest(|mutation| mutation.test_line().len());
    let mut table = format!("{:names$}  {:tests$}  {:>12}  verdict\n", "mutation", "test", "took");
    for Line { mutation, verdict, took } in lines {
        let (name, test) = (&mutation.name, mutation.test_line());
        table.push_str(&format!("{name:names$}  {test:tests$}  {:>12}  {verdict}\n", Shown(*took)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutation(name: &str) -> Mutation {
        Mutation { name: name.into(), path: name.into(), breaks: "P1".into(), test: vec!["-p".into(), "a".into()] }
    }

    #[test]
    fn named_ones_are_chosen_and_unknown_names_are_told() {
        let all = || vec![mutation("a"), mutation("b")];
        assert_eq!(choose(all(), &["b".into()]).expect("it is there"), [mutation("b")]);
        assert_eq!(choose(all(), &[]).expect("all are").len(), 2);
        assert!(choose(all(), &["c".into()]).is_err());
    }

    #[test]
    fn the_table_says_what_each_did() {
        let (one, two) = (mutation("hole"), mutation("late-ack"));
        let line = |mutation, verdict| Line { mutation, verdict, took: Duration::from_secs(2) };
        let shown = table(&[line(&one, Verdict::Red(vec!["order".into()])), line(&two, Verdict::Green)]);
        let expected = "\
mutation  test          took  verdict
hole      -p a         2.0 s  red: order
late-ack  -p a         2.0 s  GREEN (bad): the test does not notice
";
        assert_eq!(shown, expected);
    }
}
