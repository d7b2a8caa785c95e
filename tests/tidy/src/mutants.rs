//! The list of mutants (`tests/mutants.yaml`): for each row of the mission what is switched off, and the test that must fail then.
//!
//! A mutant is a text of a file and what stands there instead. In a copy of the repository all of them are put in at once,
//! each behind a question about an environment variable, so that one build serves them all. Pure; the runner is
//! `src/bin/mutants/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;

use crate::{
    Violation,
    mission::{self, Row},
};

/// Where the list is.
pub const LIST: &str = "tests/mutants.yaml";
/// The environment variable that names the mutant which is switched on in the copy.
pub const SWITCH: &str = "USHER_MUTANT";

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Files that are compiled in as text, and the expression that reads them.
    pub data: Vec<Data>,
    /// The mutants.
    pub mutants: Vec<Mutant>,
    /// Rows that are no behaviour.
    #[serde(default)]
    pub without: Vec<Without>,
}

/// Files of a folder that are compiled in as text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The folder.
    pub folder: String,
    /// Where their text is read.
    pub file: String,
    /// The expression there that is the text of one of them.
    pub find: String,
}

/// One behaviour, switched off.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// The rows that hang on it.
    pub rows: Vec<String>,
    /// What is switched off, in words.
    pub off: String,
    /// Whether it is no expression (an attribute), and is therefore built by itself.
    #[serde(default)]
    pub alone: bool,
    /// Where.
    pub file: String,
    /// A text that stands in the file once and holds `find`, where that alone is too common.
    pub context: Option<String>,
    /// What is replaced: of Rust an expression, of anything else any text.
    pub find: String,
    /// By what.
    pub replace: String,
    /// The test that must fail: `package/lib/path::of::test` or `package/file of tests/name`.
    pub test: String,
}

/// A row without a mutant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Without {
    /// The row.
    pub row: String,
    /// Why.
    pub why: String,
}

/// A test that is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Killer {
    /// The package.
    pub package: String,
    /// `lib`, or the name of a file of `tests/`.
    pub target: String,
    /// As `--exact` takes it.
    pub path: String,
}

impl Killer {
    /// The function's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit("::").next().unwrap_or(&self.path)
    }
}

impl Mutant {
    /// Its name: the first row, with a number when several begin with it.
    #[must_use]
    pub fn id(&self, number: usize) -> String {
        let row = self.rows.first().map_or("", String::as_str);
        match number {
            0 => row.to_owned(),
            number => format!("{row}.{}", number + 1),
        }
    }
    /// The test that must fail; `None` when the text is none.
    #[must_use]
    pub fn killer(&self) -> Option<Killer> {
        let mut parts = self.test.splitn(3, '/').map(str::to_owned);
        Some(Killer {
            package: parts.next()?,
            target: parts.next()?,
            path: parts.next()?,
        })
    }
    /// Where `find` stands in the text of the file.
    ///
    /// # Errors
    /// Why that is not one place.
    pub fn place(&self, text: &str) -> Result<std::ops::Range<usize>, String> {
        let (from, within) = match &self.context {
            Some(context) => (once(text, context)?, context.as_str()),
            None => (0, text),
        };
        let at = from + once(within, &self.find)?;
        Ok(at..at + self.find.len())
    }
}

fn once(text: &str, part: &str) -> Result<usize, String> {
    let mut places = text.match_indices(part).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (None, _) => Err(format!("`{part}` is not there")),
        (Some(_), Some(_)) => Err(format!("`{part}` stands there more than once")),
    }
}

impl List {
    /// Reads the list.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn read(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
    /// The mutants by their names.
    #[must_use]
    pub fn named(&self) -> Vec<(String, &Mutant)> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let numbered = self.mutants.iter().map(|mutant| {
            let count = seen.entry(mutant.rows.first().map_or("", String::as_str)).or_default();
            *count += 1;
            (mutant.id(*count - 1), mutant)
        });
        numbered.collect()
    }
    /// What the column of a row says, given what came of each mutant.
    #[must_use]
    pub fn cell(&self, row: &str, result: &impl Fn(&str) -> String) -> String {
        if let Some(without) = self.without.iter().find(|without| without.row == row) {
            return format!("nothing: {}", without.why);
        }
        let named = self.named();
        let mine = named
            .iter()
            .filter(|(_, mutant)| mutant.rows.iter().any(|own| own == row));
        let words: Vec<String> = mine
            .map(|(id, mutant)| format!("{}: {}", mutant.off, result(id)))
            .collect();
        words.join("; ")
    }
}

/// What is wrong with the list, and with the table beside it. `text_of` gives the text of a file from the root.
pub fn violations(
    list: &List,
    table: &[Row<'_>],
    tests: &BTreeSet<String>,
    text_of: &impl Fn(&Path) -> Option<String>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut say = |what: String| found.push(Violation::new(LIST, 0, what));
    for (id, mutant) in list.named() {
        match text_of(Path::new(&mutant.file)) {
            None => say(format!("{id}: there is no {}", mutant.file)),
            Some(text) => {
                if let Err(why) = mutant.place(&text) {
                    say(format!("{id}: in {} {why}", mutant.file));
                }
            }
        }
        if mutant.find == mutant.replace {
            say(format!("{id}: nothing is replaced"));
        }
        match mutant.killer() {
            Some(killer) if tests.contains(killer.name()) => {}
            _ => say(format!("{id}: there is no test {}", mutant.test)),
        }
        for row in mutant.rows.iter().filter(|row| !mission::is_row(row)) {
            say(format!("{id}: {row} is no row of the mission"));
        }
    }
    for row in table {
        let mine: Vec<&Mutant> = list
            .mutants
            .iter()
            .filter(|mutant| mutant.rows.iter().any(|own| own == row.name))
            .collect();
        let without = list.without.iter().any(|without| without.row == row.name);
        let mut say = |what: String| found.push(Violation::new("tests/mission.md", row.line, what));
        if mine.is_empty() != without {
            say(format!(
                "{} needs mutants in {LIST}, or a word there why it has none, and not both",
                row.name
            ));
        }
        let shown = |mutant: &&Mutant| mutant.killer().is_some_and(|killer| Some(killer.name()) == row.test());
        if !mine.is_empty() && !mine.iter().any(shown) {
            say(format!("no mutant of {} names the test that shows it", row.name));
        }
        let expected = list.cell(row.name, &|_| "caught".to_owned());
        if row.off != expected {
            say(format!(
                "{}: the column is not what `make mutants` writes when all is well: {expected}",
                row.name
            ));
        }
    }
    found
}

/// The first and the last line of each mutant.
pub type Spans = BTreeMap<String, (usize, usize)>;

/// A replacement of the text of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The mutant.
    pub id: String,
    /// Where.
    pub range: std::ops::Range<usize>,
    /// What stands there when it is switched on.
    pub replace: String,
}

/// The text with all changes in it, each behind its switch; and the lines on which each begins and ends.
///
/// # Errors
/// Two that overlap and neither of which holds the other.
pub fn switched(text: &str, changes: &[Change]) -> Result<(String, Spans), String> {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by_key(|change| (change.range.start, std::cmp::Reverse(change.range.end)));
    let mut out = String::new();
    let mut lines = BTreeMap::new();
    put(text, 0..text.len(), &sorted, &mut out, &mut lines)?;
    Ok((out, lines))
}

/// Puts a part of the text with the changes inside of it.
fn put(
    text: &str,
    part: std::ops::Range<usize>,
    changes: &[&Change],
    out: &mut String,
    lines: &mut Spans,
) -> Result<(), String> {
    let line = |out: &str| out.matches('\n').count() + 1;
    let mut at = part.start;
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let range = first.range.clone();
        if range.end > part.end || range.start < at {
            return Err(format!("{} overlaps with another one", first.id));
        }
        let same = rest.iter().take_while(|change| change.range == range).count();
        let inside = rest[same..]
            .iter()
            .take_while(|change| change.range.start < range.end)
            .count();
        out.push_str(&text[at..range.start]);
        let begins = line(out);
        // After a block as the body of an arm stands no comma.
        let (opens, closes) = if text[range.clone()].starts_with('{') {
            ("{", " } }")
        } else {
            ("(", " })")
        };
        out.push_str(opens);
        for change in &rest[..same] {
            out.push_str(&format!(
                "if ::std::env::var(\"{SWITCH}\").as_deref() == Ok(\"{}\") {{ {} }} else ",
                change.id, change.replace
            ));
        }
        out.push_str("{ ");
        put(text, range.clone(), &rest[same..same + inside], out, lines)?;
        out.push_str(closes);
        let ends = line(out);
        for change in &rest[..same] {
            lines.insert(change.id.clone(), (begins, ends));
        }
        at = range.end;
        rest = &rest[same + inside..];
    }
    out.push_str(&text[at..part.end]);
    Ok(())
}

/// The expression that reads data, with a switch for each mutant: its id, the file as it is, the file as it is then.
#[must_use]
pub fn switched_data(find: &str, files: &[(String, String, String)]) -> String {
    let arms: String = files
        .iter()
        .map(|(id, plain, mutated)| {
            format!("Ok({id:?}) if {find} == include_str!({plain:?}) => include_str!({mutated:?}), ")
        })
        .collect();
    format!("(match ::std::env::var(\"{SWITCH}\").as_deref() {{ {arms}_ => {find} }})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "data: []\nmutants:\n  - { rows: [M001], off: it is not done, file: a.rs, find: go(), replace: '()', test: a/lib/tests::it_works }\n\
                        without: [{ row: M002, why: a statement }]\n";
    const TABLE: &str = "| M001 | `a.rs` | `it_works` | it is not done: caught | |\n\
                         | M002 | `a.rs` | `it_works` | nothing: a statement | |\n";

    fn wrong(list: &str, table: &str, file: &str) -> Vec<Violation> {
        let list = List::read(list).unwrap();
        let tests = ["it_works".to_owned(), "it_fails".to_owned()].into();
        let file = file.to_owned();
        violations(&list, &mission::rows(table).0, &tests, &|path| {
            (path == Path::new("a.rs")).then(|| file.clone())
        })
    }

    #[test]
    fn a_good_list_passes_and_planted_mistakes_are_caught() {
        assert_eq!(wrong(TEXT, TABLE, "fn main() { go() }"), []);
        for (from, to) in [
            ("a.rs, find", "b.rs, find"),
            ("find: go()", "find: gone()"),
            ("replace: '()'", "replace: go()"),
            ("it_works }", "it_worked }"),
            ("it_works }", "it_fails }"),
            ("[M001]", "[M001, M166]"),
            ("[M001]", "[M003]"),
            ("M002", "M003"),
            ("[M001]", "[M001, M002]"),
            ("is not done, file", "is left out, file"),
            ("a/lib/tests::", ""),
            ("find: go()", "context: 'main() {}', find: go()"),
        ] {
            let planted = TEXT.replacen(from, to, 1);
            assert_ne!(planted, TEXT, "{from}");
            assert!(!wrong(&planted, TABLE, "fn main() { go() }").is_empty(), "{to}");
        }
        assert!(!wrong(TEXT, TABLE, "go(); go()").is_empty(), "twice");
        let survived = TABLE.replace("caught", "survived");
        assert!(!wrong(TEXT, &survived, "go()").is_empty());
        let context = TEXT.replace("find: go()", "context: '; go()', find: go()");
        assert_eq!(wrong(&context, TABLE, "go(); go()"), []);
    }

    #[test]
    fn a_place_is_found_within_its_context_and_several_mutants_of_a_row_are_numbered() {
        let of =
            |more: &str| format!("  - {{ rows: [M001], off: x, file: a.rs, {more}, replace: '()', test: a/lib/t }}\n");
        let text = of("find: go()") + &of("context: then go(), find: go()") + &of("find: then");
        let list = List::read(&format!("data: []\nmutants:\n{text}")).unwrap();
        let named = list.named();
        let ids: Vec<&str> = named.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["M001", "M001.2", "M001.3"]);
        let file = "a go() then go()";
        let places: Vec<_> = named.iter().map(|(_, mutant)| mutant.place(file).ok()).collect();
        assert_eq!(places, [None, Some(12..16), Some(7..11)]);
        assert_eq!(list.cell("M001", &str::to_owned), "x: M001; x: M001.2; x: M001.3");
    }

    #[test]
    fn data_is_read_as_it_is_but_for_the_mutant_that_is_switched_on() {
        let file = |id: &str| (id.to_owned(), "a.yaml".to_owned(), format!("data/{id}"));
        assert_eq!(
            switched_data("x.text", &[file("M1"), file("M2")]),
            format!(
                "(match ::std::env::var(\"{SWITCH}\").as_deref() {{ \
                 Ok(\"M1\") if x.text == include_str!(\"a.yaml\") => include_str!(\"data/M1\"), \
                 Ok(\"M2\") if x.text == include_str!(\"a.yaml\") => include_str!(\"data/M2\"), _ => x.text }})"
            )
        );
    }

    fn change(text: &str, find: &str, id: &str, replace: &str) -> Change {
        let start = text.find(find).unwrap();
        Change {
            id: id.to_owned(),
            range: start..start + find.len(),
            replace: replace.to_owned(),
        }
    }

    #[test]
    fn mutants_of_one_place_and_within_each_other_share_a_file() {
        let text = "a\nif x && y { z }\n";
        let changes = [
            change(text, "y", "M3", "true"),
            change(text, "x && y", "M1", "false"),
            change(text, "z", "M4", "0"),
            change(text, "x && y", "M2", "true"),
        ];
        let (out, lines) = switched(text, &changes).unwrap();
        let is = |id: &str| format!("if ::std::env::var(\"{SWITCH}\").as_deref() == Ok(\"{id}\")");
        assert_eq!(
            out,
            format!(
                "a\nif ({} {{ false }} else {} {{ true }} else {{ x && ({} {{ true }} else {{ y }}) }}) {{ ({} {{ 0 }} else {{ z }}) }}\n",
                is("M1"),
                is("M2"),
                is("M3"),
                is("M4")
            )
        );
        assert_eq!(lines["M3"], (2, 2));
        let crossing = [
            change(text, "x && y", "M1", "false"),
            change(text, "y { z }", "M2", "{}"),
        ];
        assert!(switched(text, &crossing).is_err());
    }
}
