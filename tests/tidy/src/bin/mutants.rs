//! `make mutants`: switches off what each row of the mission asks for, one after the other, and sees the named test fail.
//!
//! Works in a copy of the repository below the target folder. All mutants of `tests/mutants.yaml` are put in at once, each
//! behind a question about an environment variable; so there is one build, and each named test is run as it is (it must
//! pass) and once per mutant (it must fail). Results go to a file there and into the table of `tests/mission.md`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
};

use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidy::{
    files, mission,
    mutants::{Change, Killer, LIST, List, Mutant, SWITCH, switched, switched_data},
};

/// The table that is written.
const TABLE: &str = "tests/mission.md";
/// A test that has not ended then has failed. Larger than the patience of the tests themselves.
const LIMIT_SECONDS: u32 = 420;

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

type Results = BTreeMap<String, Outcome>;
/// Package and target -> the program with the tests.
type Programs = BTreeMap<(String, String), PathBuf>;

struct Place {
    root: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }
    fn results(&self) -> PathBuf {
        self.folder.join("results.json")
    }
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
    let root = own
        .ancestors()
        .nth(2)
        .ok_or("tidy lies two folders below the root")?
        .to_owned();
    #[expect(clippy::disallowed_methods, reason = "where cargo builds is cargo's to say")]
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let place = Place {
        folder: target.join("mutants"),
        root,
    };
    let text = fs::read_to_string(place.root.join(LIST)).map_err(words(LIST))?;
    let list = List::read(&text).map_err(|why| format!("{LIST}: {why}"))?;
    let named = list.named();
    let mut results: Results = fs::read(place.results())
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let chosen: Vec<&(String, &Mutant)> = named
        .iter()
        .filter(|(_, mutant)| arguments.rows.is_empty() || mutant.rows.iter().any(|row| arguments.rows.contains(row)))
        .filter(|(id, mutant)| {
            let known = results.get(id).filter(|known| known.mutant == shape(mutant));
            !arguments.resume || known.is_none_or(|known| known.result != "caught")
        })
        .collect();
    let killers: BTreeSet<Killer> = chosen.iter().filter_map(|(_, mutant)| mutant.killer()).collect();
    let (programs, mut broken) = build(&place, &list, &killers)?;
    let together: Vec<&(String, &Mutant)> = chosen.iter().copied().filter(|(_, mutant)| !mutant.alone).collect();
    let (passes, mut fails) = try_all(&place, &together, &killers, &programs, arguments.jobs)?;
    for (id, mutant) in chosen.iter().filter(|(_, mutant)| mutant.alone) {
        try_alone(&place, &list, id, mutant, &mut broken, &mut fails)?;
    }
    for (id, mutant) in &chosen {
        let killer = mutant.killer();
        let result = match killer {
            _ if broken.contains(id) => "does not compile",
            Some(killer) if !passes.contains(&killer) => "the test does not pass as it is",
            Some(_) if fails.contains(id) => "caught",
            _ => "survived",
        };
        let outcome = Outcome {
            result: result.to_owned(),
            mutant: shape(mutant),
        };
        results.insert(id.clone(), outcome);
    }
    results.retain(|id, known| {
        named
            .iter()
            .any(|(own, mutant)| own == id && known.mutant == shape(mutant))
    });
    let json = serde_json::to_vec_pretty(&results).map_err(|error| error.to_string())?;
    fs::write(place.results(), json).map_err(words("results"))?;
    fill(&place.root, &list, &results)?;
    Ok(summary(&named, &results))
}

/// What a result is about: it counts only as long as the mutant is the same.
fn shape(mutant: &Mutant) -> String {
    format!(
        "{} {} -> {} / {}",
        mutant.file, mutant.find, mutant.replace, mutant.test
    )
}

fn result_of<'a>(results: &'a Results, id: &str) -> &'a str {
    results.get(id).map_or("not run", |outcome| &outcome.result)
}

fn summary(named: &[(String, &Mutant)], results: &Results) -> bool {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, mutant) in named {
        let result = result_of(results, id);
        *counts.entry(result).or_default() += 1;
        if result != "caught" {
            say(&format!("{id}: {result}: {} ({})", mutant.off, mutant.test));
        }
    }
    for (result, count) in &counts {
        say(&format!("{count} {result}"));
    }
    counts.keys().all(|result| *result == "caught")
}

/// Writes the column of the table.
fn fill(root: &Path, list: &List, results: &Results) -> Result<(), String> {
    let text = fs::read_to_string(root.join(TABLE)).map_err(words(TABLE))?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for row in mission::rows(&text).0 {
        let off = list.cell(row.name, &|id| result_of(results, id).to_owned());
        lines[row.line - 1] = mission::Row { off: &off, ..row }.text();
    }
    let filled = lines.join("\n") + "\n";
    if filled != text {
        fs::write(root.join(TABLE), filled).map_err(words(TABLE))?;
    }
    Ok(())
}

/// Builds the copy until it compiles. Gives the programs, and the mutants that had to be left out.
fn build(place: &Place, list: &List, killers: &BTreeSet<Killer>) -> Result<(Programs, BTreeSet<String>), String> {
    let mut broken = BTreeSet::new();
    loop {
        let lines = copy(place, list, &broken, None)?;
        let (programs, errors) = compile(place, killers)?;
        if errors.is_empty() {
            return Ok((programs, broken));
        }
        let blamed: BTreeSet<String> = lines
            .iter()
            .filter(|((file, _), (from, to))| {
                errors
                    .iter()
                    .any(|error| error.file == *file && (*from..=*to).contains(&error.line))
            })
            .map(|((_, id), _)| id.clone())
            .collect();
        for error in &errors {
            say(&error.words);
        }
        if blamed.is_empty() {
            return Err("the copy does not compile, and no mutant is the reason".to_owned());
        }
        say(&format!("left out: {blamed:?}"));
        broken.extend(blamed);
    }
}

type Lines = BTreeMap<(String, String), (usize, usize)>;

/// The repository as it is here, with the mutants in it. Files that have not changed stay untouched, for cargo's sake.
/// Of those that are built by themselves, `alone` is put in.
fn copy(place: &Place, list: &List, broken: &BTreeSet<String>, alone: Option<&str>) -> Result<Lines, String> {
    let tree = place.tree();
    let paths = files::all(&place.root).map_err(words("the repository"))?;
    let mut changed = BTreeMap::new();
    let mut lines = Lines::new();
    let named = list.named().into_iter();
    let mut named: Vec<(String, &Mutant)> = named.filter(|(id, _)| !broken.contains(id)).collect();
    let own = named.iter().find(|(id, _)| alone == Some(id)).cloned();
    named.retain(|(_, mutant)| !mutant.alone);
    let read = |file: &str| fs::read_to_string(place.root.join(file)).map_err(words(file));
    let sources: BTreeSet<&str> = named.iter().map(|(_, mutant)| mutant.file.as_str()).collect();
    for file in sources.iter().filter(|file| file.ends_with(".rs")) {
        let text = read(file)?;
        let mut changes = Vec::new();
        for (id, mutant) in named.iter().filter(|(_, mutant)| mutant.file == **file) {
            changes.push(Change {
                id: id.clone(),
                range: mutant.place(&text).map_err(|why| format!("{id}: in {file} {why}"))?,
                replace: mutant.replace.clone(),
            });
        }
        let (text, at) = switched(&text, &changes).map_err(|why| format!("{file}: {why}"))?;
        lines.extend(at.into_iter().map(|(id, at)| (((*file).to_owned(), id), at)));
        changed.insert(PathBuf::from(file), text);
    }
    for data in &list.data {
        let mut switches = Vec::new();
        for (id, mutant) in named.iter().filter(|(_, mutant)| mutant.file.starts_with(&data.folder)) {
            let text = read(&mutant.file)?;
            let range = mutant
                .place(&text)
                .map_err(|why| format!("{id}: in {} {why}", mutant.file))?;
            let mutated = format!("{}{}{}", &text[..range.start], mutant.replace, &text[range.end..]);
            let beside = place.folder.join("data").join(id);
            write(&beside, mutated.as_bytes())?;
            let plain = tree.join(&mutant.file).display().to_string();
            switches.push((id.clone(), plain, beside.display().to_string()));
        }
        let text = match changed.remove(Path::new(&data.file)) {
            Some(text) => text,
            None => read(&data.file)?,
        };
        if text.matches(&data.find).count() != 1 {
            return Err(format!("{}: `{}` does not stand there once", data.file, data.find));
        }
        let text = text.replace(&data.find, &switched_data(&data.find, &switches));
        changed.insert(PathBuf::from(&data.file), text);
    }
    if let Some((id, mutant)) = own {
        let text = match changed.remove(Path::new(&mutant.file)) {
            Some(text) => text,
            None => read(&mutant.file)?,
        };
        let range = mutant
            .place(&text)
            .map_err(|why| format!("{id}: in {} {why}", mutant.file))?;
        let text = format!("{}{}{}", &text[..range.start], mutant.replace, &text[range.end..]);
        changed.insert(PathBuf::from(&mutant.file), text);
    }
    for path in &paths {
        let bytes = match changed.remove(path) {
            Some(text) => text.into_bytes(),
            None => fs::read(place.root.join(path)).map_err(words(&path.to_string_lossy()))?,
        };
        write(&tree.join(path), &bytes)?;
    }
    if let Some(missing) = changed.keys().next() {
        return Err(format!("there is no {}", missing.display()));
    }
    for path in files::all(&tree).map_err(words("the copy"))? {
        if !paths.contains(&path) {
            fs::remove_file(tree.join(path)).map_err(words("the copy"))?;
        }
    }
    // What tests have downloaded: Kafka, Python environments.
    let (cache, link) = (place.root.join(".cache"), tree.join(".cache"));
    if cache.exists() && !link.exists() {
        std::os::unix::fs::symlink(cache, link).map_err(words(".cache"))?;
    }
    Ok(lines)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(words(&folder.to_string_lossy()))?;
    }
    fs::write(path, bytes).map_err(words(&path.to_string_lossy()))
}

/// A complaint of the compiler.
struct Complaint {
    file: String,
    line: usize,
    words: String,
}

fn cargo(place: &Place, arguments: &[String]) -> Result<Vec<Value>, String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--message-format", "json"])
        .current_dir(place.tree())
        .env("CARGO_TARGET_DIR", place.folder.join("build"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(words("cargo"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let complains = messages.iter().any(|message| message["message"]["level"] == "error");
    if output.status.success() || complains {
        Ok(messages)
    } else {
        Err("cargo failed; see above".to_owned())
    }
}

fn compile(place: &Place, killers: &BTreeSet<Killer>) -> Result<(Programs, Vec<Complaint>), String> {
    // With all packages, so that dependencies are built as everywhere else.
    let mut arguments: Vec<String> = ["test", "--no-run", "--workspace", "--lib"].map(str::to_owned).to_vec();
    let suites: BTreeSet<&str> = killers.iter().map(|killer| killer.target.as_str()).collect();
    for suite in suites.iter().filter(|suite| **suite != "lib") {
        arguments.extend(["--test".to_owned(), (*suite).to_owned()]);
    }
    let mut messages = cargo(place, &arguments)?;
    // Tests of several programs start the services' own.
    if killers.iter().any(|killer| killer.package == "scenarios") {
        messages.extend(cargo(place, &["build", "--workspace", "--bins"].map(str::to_owned))?);
    }
    let mut complaints = Vec::new();
    let mut programs = Programs::new();
    for message in &messages {
        let inner = &message["message"];
        if message["reason"] == "compiler-message" && inner["level"] == "error" {
            for span in inner["spans"].as_array().into_iter().flatten() {
                complaints.push(Complaint {
                    file: span["file_name"].as_str().unwrap_or_default().to_owned(),
                    line: span["line_start"]
                        .as_u64()
                        .and_then(|line| line.try_into().ok())
                        .unwrap_or(0),
                    words: inner["rendered"].as_str().unwrap_or_default().to_owned(),
                });
            }
        }
        if let (Some(program), Some(manifest)) = (message["executable"].as_str(), message["manifest_path"].as_str())
            && message["profile"]["test"] == true
        {
            let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
            let name = message["target"]["name"].as_str().unwrap_or_default();
            let target = if kind == "lib" { "lib" } else { name };
            let package = fs::read_to_string(manifest).ok().and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("name = "))?;
                Some(line.trim_matches('"').to_owned())
            });
            programs.insert((package.unwrap_or_default(), target.to_owned()), program.into());
        }
    }
    Ok((programs, complaints))
}

/// A mutant that is no expression: the copy is built with it alone.
fn try_alone(
    place: &Place,
    list: &List,
    id: &str,
    mutant: &Mutant,
    broken: &mut BTreeSet<String>,
    fails: &mut BTreeSet<String>,
) -> Result<(), String> {
    let Some(killer) = mutant.killer() else { return Ok(()) };
    copy(place, list, broken, Some(id))?;
    let (programs, errors) = compile(place, &[killer.clone()].into())?;
    if errors.is_empty() {
        let run = Run {
            killer,
            mutant: Some(id.to_owned()),
        };
        if !passes(place, &run, &programs)? {
            fails.insert(id.to_owned());
        }
    } else {
        broken.insert(id.to_owned());
    }
    copy(place, list, broken, None)?;
    Ok(())
}

/// One run of one test: as it is, or with a mutant.
struct Run {
    killer: Killer,
    mutant: Option<String>,
}

/// Which tests pass as they are, and which mutants make theirs fail.
fn try_all(
    place: &Place,
    chosen: &[&(String, &Mutant)],
    killers: &BTreeSet<Killer>,
    programs: &Programs,
    jobs: usize,
) -> Result<(BTreeSet<Killer>, BTreeSet<String>), String> {
    let plain = killers.iter().map(|killer| (killer.clone(), None));
    let mutated = chosen
        .iter()
        .filter_map(|(id, mutant)| Some((mutant.killer()?, Some(id.clone()))));
    let mut queue: VecDeque<Run> = plain
        .chain(mutated)
        .map(|(killer, mutant)| Run { killer, mutant })
        .collect();
    queue.retain(|run| programs.contains_key(&(run.killer.package.clone(), run.killer.target.clone())));
    let left = queue.len();
    say(&format!("{left} runs of {} tests", killers.len()));
    let queue = Mutex::new(queue);
    let found = Mutex::new((BTreeSet::new(), BTreeSet::new()));
    let problem = Mutex::new(None);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        while let Some(run) = next() {
            match passes(place, &run, programs) {
                Ok(passed) => {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    let word = if passed { "passes" } else { "fails" };
                    let with = run.mutant.as_deref().unwrap_or("as it is");
                    say(&format!("{word:6} {with:9} {}", run.killer.path));
                    match run.mutant {
                        None if passed => {
                            found.0.insert(run.killer);
                        }
                        Some(id) if !passed => {
                            found.1.insert(id);
                        }
                        _ => {}
                    }
                }
                Err(why) => *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(why),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    match problem.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(why) => Err(why),
        None => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Runs one test. What it says is kept in a file.
fn passes(place: &Place, run: &Run, programs: &Programs) -> Result<bool, String> {
    let key = (run.killer.package.clone(), run.killer.target.clone());
    let program = programs.get(&key).ok_or_else(|| format!("no program for {key:?}"))?;
    let package = match key.0.as_str() {
        service @ ("apply-service" | "ingest-service") => service.to_owned(),
        "usher-contract" => "shared/contract".to_owned(),
        "usher-filter" => "shared/filter".to_owned(),
        "usher-runtime" => "shared/runtime".to_owned(),
        other => format!("tests/{other}"),
    };
    let output = Command::new("timeout")
        .args(["-k", "10", &LIMIT_SECONDS.to_string()])
        .arg(program)
        .args(["--exact", &run.killer.path])
        .current_dir(place.tree().join(package))
        .env(SWITCH, run.mutant.as_deref().unwrap_or_default())
        .output()
        .map_err(words("timeout"))?;
    let mut text = output.stdout.clone();
    text.extend(&output.stderr);
    let name = format!("{}.{}.log", run.mutant.as_deref().unwrap_or("plain"), run.killer.name());
    write(&place.folder.join("logs").join(name), &text)?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !said.contains("running 1 test") {
        return Err(format!("{} has no test {}:\n{said}", key.1, run.killer.path));
    }
    Ok(output.status.success())
}
