//! The mission table (`tests/mission.md`) names tests and files that exist, every row once, and says why a row has none.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::Violation;

/// How many rows there are.
const ROWS: usize = 165;

/// The names of the test functions of a Rust file.
pub fn tests_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // A text that is no Rust is the compiler's to complain about.
    if let Ok(tokens) = text.parse() {
        collect(tokens, &mut found);
    }
    found
}

fn collect(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let (mut is_test, mut after_hash, mut after_fn) = (false, false, false);
    for token in tokens {
        let hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        match token {
            TokenTree::Group(group) if after_hash && group.delimiter() == Delimiter::Bracket => {
                is_test |= names_test(group.stream());
            }
            TokenTree::Group(group) => {
                if group.delimiter() == Delimiter::Brace {
                    is_test = false;
                }
                collect(group.stream(), found);
            }
            TokenTree::Ident(ident) if after_fn => {
                if is_test {
                    found.insert(ident.to_string());
                }
                after_fn = false;
            }
            TokenTree::Ident(ident) if ident == "fn" => after_fn = true,
            _ => {}
        }
        after_hash = hash;
    }
}

/// `test`, `tokio::test`, `tokio::test(flavor = ..)`.
fn names_test(attribute: TokenStream) -> bool {
    let path = attribute
        .into_iter()
        .take_while(|token| !matches!(token, TokenTree::Group(_)))
        .collect::<Vec<_>>();
    matches!(path.last(), Some(TokenTree::Ident(last)) if last == "test")
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its line, counted from 1.
    pub line: usize,
    /// `M001`.
    pub name: &'a str,
    /// The file that decides.
    pub file: &'a str,
    /// The test that shows it.
    pub shown: &'a str,
    /// What was switched off to see it fail, and what came of it.
    pub off: &'a str,
    /// Anything else.
    pub remark: &'a str,
}

impl<'a> Row<'a> {
    /// The name of the test.
    #[must_use]
    pub fn test(&self) -> Option<&'a str> {
        quoted(self.shown)
    }
    /// The line as it stands in the document.
    #[must_use]
    pub fn text(&self) -> String {
        let remark = if self.remark.is_empty() {
            String::new()
        } else {
            format!("{} ", self.remark)
        };
        format!(
            "| {} | {} | {} | {} | {remark}|",
            self.name, self.file, self.shown, self.off
        )
    }
}

/// The rows of the table, and the lines that should be rows and are none.
#[must_use]
pub fn rows(text: &str) -> (Vec<Row<'_>>, Vec<usize>) {
    let (mut found, mut odd) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| M")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells[..] {
            [name, file, shown, off, remark] => found.push(Row {
                line: number + 1,
                name,
                file,
                shown,
                off,
                remark,
            }),
            _ => odd.push(number + 1),
        }
    }
    (found, odd)
}

/// Whether the mission has such a row.
#[must_use]
pub fn is_row(name: &str) -> bool {
    (1..=ROWS).any(|row| name == format!("M{row:03}"))
}

/// What is wrong with the table.
pub fn violations(
    place: &str,
    text: &str,
    tests: &BTreeSet<String>,
    exists: &impl Fn(&Path) -> bool,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (rows, odd) = rows(text);
    found.extend(
        odd.into_iter()
            .map(|line| Violation::new(place, line, "a row has five cells")),
    );
    for row in rows {
        let (number, file, shown, remark) = (row.line, row.file, row.shown, row.remark);
        *seen.entry(row.name.to_owned()).or_default() += 1;
        if let Some(path) = quoted(file)
            && !exists(Path::new(path))
        {
            found.push(Violation::new(place, number, format!("{path} does not exist")));
        }
        match quoted(shown) {
            Some(test) if !tests.contains(test) => {
                found.push(Violation::new(place, number, format!("there is no test {test}")));
            }
            Some(_) => {}
            None if remark.is_empty() => {
                found.push(Violation::new(
                    place,
                    number,
                    "no test, and no word about what the row waits for",
                ));
            }
            None => {}
        }
    }
    for row in 1..=ROWS {
        let name = format!("M{row:03}");
        let count = seen.remove(&name).unwrap_or(0);
        if count != 1 {
            found.push(Violation::new(place, 0, format!("{name} stands {count} times")));
        }
    }
    found.extend(
        seen.keys()
            .map(|name| Violation::new(place, 0, format!("{name} is no row of the mission"))),
    );
    found
}

fn quoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(last: &str) -> String {
        let rows = (1..ROWS).map(|row| format!("| M{row:03} | `a.rs` | `it_works` | off | |\n"));
        rows.collect::<String>() + last + "\n"
    }

    fn wrong(last: &str) -> Vec<Violation> {
        let tests = ["it_works".to_owned()].into();
        violations("mission.md", &table(last), &tests, &|path| path == Path::new("a.rs"))
    }

    #[test]
    fn a_good_table_passes_and_planted_mistakes_are_caught() {
        assert_eq!(wrong("| M165 | `a.rs` | `it_works` | off | fine |"), []);
        assert_eq!(wrong("| M165 | | | | waits for groups |"), []);
        for planted in [
            "| M165 | `b.rs` | `it_works` | | |",
            "| M165 | `a.rs` | `it_worked` | | |",
            "| M165 | `a.rs` | | | |",
            "| M165 | `a.rs` | `it_works` | |",
            "",
            "| M165 | `a.rs` | `it_works` | | |\n| M165 | `a.rs` | `it_works` | | |",
            "| M165 | `a.rs` | `it_works` | | |\n| M166 | `a.rs` | `it_works` | | |",
        ] {
            assert!(!wrong(planted).is_empty(), "{planted}");
        }
    }

    #[test]
    fn tests_are_functions_with_a_test_attribute() {
        let text = "mod tests { #[test] fn one() {} #[tokio::test(flavor = \"x\")] async fn two() {} fn three() {} }";
        assert_eq!(tests_in(text), ["one".to_owned(), "two".to_owned()].into());
    }
}
