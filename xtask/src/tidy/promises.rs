//! `docs/promises.md` has one row for each clause, and the tests it cites exist.
//!
//! A row is a line of a table with a column headed `Test` or `Tests`; its first cell begins with the clause, such as
//! `P1`, alone or with words behind it. The test cell holds names of test functions in backticks, with or without the
//! path of their module, or the word *missing*. Tables without such a column are left alone.

use std::collections::HashSet;

use super::code::function_names;
use super::tree::{File, Finding, Tree};

const PATH: &str = "docs/promises.md";

/// Letter, and the highest number, of each group of clauses.
const CLAUSES: [(char, u8); 4] = [('P', 9), ('C', 15), ('T', 4), ('B', 4)];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(PATH) else {
        return vec![Finding::about(PATH, "is not there; it lists every clause with its tests")];
    };
    let rows = rows(&file.text);
    let functions: HashSet<&str> = tree.sources().flat_map(|source| function_names(&source.code)).collect();
    counted(file, &rows).into_iter().chain(rows.iter().filter_map(|row| cited(file, row, &functions))).collect()
}

struct Row<'a> {
    at: usize,
    clause: &'a str,
    tests: &'a str,
}

/// The rows of all tables that have a test column.
fn rows(text: &str) -> Vec<Row<'_>> {
    let (mut rows, mut at, mut column) = (Vec::new(), 0, None);
    let mut in_table = false;
    for line in text.split_inclusive('\n') {
        let cells = cells(line);
        match (&cells, in_table) {
            (None, _) => column = None,
            (Some(heads), false) => column = heads.iter().position(|head| is_test_head(head)),
            (Some(cells), true) => {
                let clause = cells.first().map(|cell| clause_of(cell)).filter(|clause| is_clause(clause));
                if let (Some(clause), Some(column)) = (clause, column) {
                    rows.push(Row { at, clause, tests: cells.get(column).copied().unwrap_or_default() });
                }
            }
        }
        in_table = cells.is_some();
        at += line.len();
    }
    rows
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.trim().strip_prefix('|')?;
    Some(inside.strip_suffix('|').unwrap_or(inside).split('|').map(str::trim).collect())
}

fn is_test_head(head: &str) -> bool {
    ["test", "tests"].contains(&head.trim_matches('*').to_lowercase().as_str())
}

fn clause_of(cell: &str) -> &str {
    let cell = cell.trim_start_matches(['*', '`', '[']);
    cell.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default()
}

/// A letter and a number, whether or not there is such a clause.
fn is_clause(word: &str) -> bool {
    let mut letters = word.chars();
    let group = letters.next().is_some_and(|letter| CLAUSES.iter().any(|(group, _)| *group == letter));
    group && !letters.as_str().is_empty() && letters.all(|letter| letter.is_ascii_digit())
}

/// Clauses without a row or with several, and rows of clauses that do not exist.
fn counted(file: &File, rows: &[Row<'_>]) -> Vec<Finding> {
    let clauses: Vec<String> =
        CLAUSES.iter().flat_map(|(group, last)| (1..=*last).map(move |number| format!("{group}{number}"))).collect();
    let mut findings = Vec::new();
    for clause in &clauses {
        let mut of_clause = rows.iter().filter(|row| row.clause == clause);
        if of_clause.next().is_none() {
            findings.push(Finding::about(PATH, format!("{clause} has no row in a table with a column `Tests`")));
        }
        findings.extend(of_clause.map(|row| file.finding(row.at, format!("{clause} has a second row"))));
    }
    let unknown = rows.iter().filter(|row| !clauses.iter().any(|clause| clause == row.clause));
    findings.extend(unknown.map(|row| file.finding(row.at, format!("there is no clause {}", row.clause))));
    findings
}

fn cited(file: &File, row: &Row<'_>, functions: &HashSet<&str>) -> Option<Finding> {
    let cited: Vec<&str> = row.tests.split('`').skip(1).step_by(2).collect();
    if cited.is_empty() && !row.tests.contains("missing") {
        return Some(file.finding(row.at, format!("{} cites no test; name one, or say *missing*", row.clause)));
    }
    let unknown = |name: &&&str| !functions.contains(name.rsplit("::").next().unwrap_or(name));
    let gone = cited.iter().find(unknown)?;
    Some(file.finding(row.at, format!("{} cites `{gone}`, and no function has that name", row.clause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with a row for each clause, changed by the test.
    fn says(change: impl Fn(String) -> String) -> Vec<String> {
        let mut page = "# Promises\n\n| Clause | Tests |\n|---|---|\n".to_owned();
        for (group, last) in CLAUSES {
            (1..=last).for_each(|number| page.push_str(&format!("| **{group}{number}** Words | `suite::holds` |\n")));
        }
        let page = change(page);
        let tree = Tree::of(&[(PATH, &page), ("a/tests/suite.rs", "async fn holds() {}")]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    fn one(change: impl Fn(String) -> String) -> String {
        let mut said = says(change);
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0)
    }

    #[test]
    fn a_true_page_has_no_findings() {
        assert!(says(|page| page).is_empty());
        assert!(says(|page| page.replacen("`suite::holds`", "*missing*", 1)).is_empty());
        assert!(says(|page| page + "\n| Clause | Kafka |\n|---|---|\n| P1 | yes |\n").is_empty());
    }

    #[test]
    fn a_clause_without_a_row_and_one_with_two_are_found() {
        assert!(one(|page| page.replace("**C15**", "**also**")).contains("C15 has no row"));
        assert!(one(|page| page + "| P3 | `holds` |\n").contains("P3 has a second row"));
        assert!(one(|page| page + "| P10 | `holds` |\n").contains("no clause P10"));
    }

    #[test]
    fn a_test_that_is_not_there_is_found() {
        assert!(one(|page| page.replacen("`suite::holds`", "`holds`, `gone`", 1)).contains("P1 cites `gone`"));
        assert!(one(|page| page.replacen("`suite::holds`", "", 1)).contains("P1 cites no test"));
        assert!(!check(&Tree::of(&[])).is_empty());
    }
}
