//! `make mutants`: switches off what each row of the mission asks for, one after the other, and sees the named test fail.
//!
//! Works in a copy of the repository below the target folder. All mutants of `tests/mutants.yaml` are put in at once, each
//! behind a question about an environment variable; so there is one build, and each named test is run as it is (it must
//! pass) and once per mutant (it must fail). Results go to a file there and into the table of `tests/mission.md`.

mod compile;
mod copy;
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidy::{
    mission,
    mutants::{Killer, LIST, List, Mutant},
};

use self::{
    compile::{Programs, build, compile},
    copy::{Place, copy},
    trial::{Run, Verdict},
};

/// The table that is written.
const TABLE: &str = "tests/mission.md";
/// What is hoped for.
const CAUGHT: &str = "caught";
const BROKEN: &str = "does not compile";

/// Switches off what each row of the mission asks for, and sees the named test fail.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these rows, such as M012,M013.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Only what has not been caught yet, or has changed since.
    #[arg(long)]
    resume: bool,
    /// Tests that run at a time; most of them wait.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What came of a mutant.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Outcome {
    /// `caught`, `survived`, `does not compile`, or why it could not be tried.
    result: String,
    /// The mutant as it was.
    mutant: String,
}

/// What came of each, kept as soon as it is known.
struct Results {
    file: PathBuf,
    known: BTreeMap<String, Outcome>,
}

impl Results {
    fn read(place: &Place, named: &[(String, &Mutant)]) -> Self {
        let file = place.results();
        let bytes = fs::read(&file).ok();
        let mut known: BTreeMap<String, Outcome> = bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let is = |id: &String, known: &Outcome| {
            named
                .iter()
                .any(|(own, mutant)| own == id && known.mutant == shape(mutant))
        };
        known.retain(|id, known| is(id, known));
        Self { file, known }
    }
    fn of(&self, id: &str) -> &str {
        self.known.get(id).map_or("not run", |outcome| &outcome.result)
    }
    fn note(&mut self, id: &str, mutant: &Mutant, result: &str) -> Result<(), String> {
        let outcome = Outcome {
            result: result.to_owned(),
            mutant: shape(mutant),
        };
        self.known.insert(id.to_owned(), outcome);
        let json = serde_json::to_vec_pretty(&self.known).map_err(|error| error.to_string())?;
        fs::write(&self.file, json).map_err(words("results"))
    }
}

/// What a result is about: it counts only as long as the mutant is the same.
fn shape(mutant: &Mutant) -> String {
    format!(
        "{} {} -> {} / {}",
        mutant.file, mutant.find, mutant.replace, mutant.test
    )
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            say(&problem);
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Nobody listens any more: then nothing is lost.
    let _ = writeln!(io::stdout(), "{line}");
}

fn words(what: &str) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.ancestors().nth(2).ok_or("tidy lies two folders below the root")?;
    #[expect(clippy::disallowed_methods, reason = "where cargo builds is cargo's to say")]
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let place = Place {
        folder: target.join("mutants"),
        root: root.to_owned(),
    };
    let text = fs::read_to_string(place.root.join(LIST)).map_err(words(LIST))?;
    let list = List::read(&text).map_err(|why| format!("{LIST}: {why}"))?;
    let named = list.named();
    let mut results = Results::read(&place, &named);
    let asked =
        |mutant: &Mutant| arguments.rows.is_empty() || mutant.rows.iter().any(|row| arguments.rows.contains(row));
    let chosen: Vec<(String, &Mutant)> = named
        .iter()
        .filter(|(id, mutant)| asked(mutant) && !(arguments.resume && results.of(id) == CAUGHT))
        .cloned()
        .collect();
    let killers: BTreeSet<Killer> = chosen.iter().filter_map(|(_, mutant)| mutant.killer()).collect();
    if !chosen.is_empty() {
        let (programs, broken) = build(&place, &list, &killers)?;
        try_all(
            &place,
            &chosen,
            killers,
            (&programs, &broken),
            arguments.jobs,
            &mut results,
        )?;
        for (id, mutant) in chosen.iter().filter(|(_, mutant)| mutant.alone) {
            let result = alone(&place, &list, id, mutant, &broken)?;
            results.note(id, mutant, result)?;
        }
    }
    fill(&place.root, &list, &results)?;
    Ok(summary(&named, &results))
}

/// Each test as it is, then each mutant.
fn try_all(
    place: &Place,
    chosen: &[(String, &Mutant)],
    killers: BTreeSet<Killer>,
    (programs, broken): (&Programs, &BTreeSet<String>),
    jobs: usize,
    results: &mut Results,
) -> Result<(), String> {
    say(&format!("{} mutants, {} tests", chosen.len(), killers.len()));
    let plain = killers.into_iter().map(|killer| Run { killer, mutant: None });
    let mut pass: BTreeSet<Killer> = BTreeSet::new();
    trial::all(place, plain.collect(), programs, jobs, |run, verdict| {
        if verdict == Verdict::Passes {
            pass.insert(run.killer.clone());
        }
        Ok(())
    })?;
    let mut runs = Vec::new();
    for (id, mutant) in chosen.iter().filter(|(_, mutant)| !mutant.alone) {
        match mutant.killer() {
            _ if broken.contains(id) => results.note(id, mutant, BROKEN)?,
            Some(killer) if pass.contains(&killer) => runs.push(Run {
                killer,
                mutant: Some(id.clone()),
            }),
            _ => results.note(id, mutant, "the test does not pass as it is")?,
        }
    }
    trial::all(place, runs, programs, jobs, |run, verdict| {
        let found = chosen.iter().find(|(id, _)| run.mutant.as_ref() == Some(id));
        found.map_or(Ok(()), |(id, mutant)| results.note(id, mutant, result_of(verdict)))
    })
}

fn result_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passes => "survived",
        Verdict::Fails => CAUGHT,
        Verdict::Breaks => "does not end by an assertion",
    }
}

/// A mutant that is no expression: the copy is built with it alone.
fn alone(
    place: &Place,
    list: &List,
    id: &str,
    mutant: &Mutant,
    broken: &BTreeSet<String>,
) -> Result<&'static str, String> {
    let killer = mutant.killer().ok_or_else(|| format!("{id} names no test"))?;
    copy(place, list, broken, Some(id))?;
    let (programs, errors) = compile(place, &[killer.clone()].into())?;
    let result = if errors.is_empty() {
        let mutant = Some(id.to_owned());
        result_of(trial::one(place, &Run { killer, mutant }, &programs)?)
    } else {
        BROKEN
    };
    copy(place, list, broken, None)?;
    Ok(result)
}

fn summary(named: &[(String, &Mutant)], results: &Results) -> bool {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, mutant) in named {
        let result = results.of(id);
        *counts.entry(result).or_default() += 1;
        if result != CAUGHT {
            say(&format!("{id}: {result}: {} ({})", mutant.off, mutant.test));
        }
    }
    for (result, count) in &counts {
        say(&format!("{count} {result}"));
    }
    counts.keys().all(|result| *result == CAUGHT)
}

/// Writes the column of the table.
fn fill(root: &Path, list: &List, results: &Results) -> Result<(), String> {
    let text = fs::read_to_string(root.join(TABLE)).map_err(words(TABLE))?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for row in mission::rows(&text).0 {
        let off = list.cell(row.name, &|id| results.of(id).to_owned());
        lines[row.line - 1] = mission::Row { off: &off, ..row }.text();
    }
    let filled = lines.join("\n") + "\n";
    if filled != text {
        fs::write(root.join(TABLE), filled).map_err(words(TABLE))?;
    }
    Ok(())
}
