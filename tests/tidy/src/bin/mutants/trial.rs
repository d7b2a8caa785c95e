//! Running tests of the copy: as it is, and with one mutant switched on.

use std::{
    collections::VecDeque,
    process::Command,
    sync::{Mutex, PoisonError},
};

use tidy::mutants::{Killer, SWITCH};

use super::{
    compile::Programs,
    copy::{Place, write},
    say, words,
};

/// A test that has not ended then does not end. Larger than the patience of the tests themselves.
const LIMIT_SECONDS: u32 = 420;

/// One run of one test: as it is, or with a mutant.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) killer: Killer,
    pub(crate) mutant: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passes,
    /// By an assertion, or a panic of what is tested.
    Fails,
    /// Not within the time, or not as tests end.
    Breaks,
}

/// Runs each, `jobs` at a time, and hands over how it ended.
pub(crate) fn all(
    place: &Place,
    runs: Vec<Run>,
    programs: &Programs,
    jobs: usize,
    note: impl FnMut(&Run, Verdict) -> Result<(), String> + Send,
) -> Result<(), String> {
    let queue = Mutex::new(VecDeque::from(runs));
    let note = Mutex::new(note);
    let problem = Mutex::new(None);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        while let Some(run) = next() {
            let done = one(place, &run, programs).and_then(|verdict| {
                let with = run.mutant.as_deref().unwrap_or("as it is");
                say(&format!(
                    "{:8} {with:9} {}",
                    format!("{verdict:?}").to_lowercase(),
                    run.killer.path
                ));
                (note.lock().unwrap_or_else(PoisonError::into_inner))(&run, verdict)
            });
            if let Err(why) = done {
                *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
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
        None => Ok(()),
    }
}

/// Runs one test. What it says is kept in a file.
pub(crate) fn one(place: &Place, run: &Run, programs: &Programs) -> Result<Verdict, String> {
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
    let said = String::from_utf8_lossy(&text);
    if !said.contains("running 1 test") {
        return Err(format!("{} has no test {}:\n{said}", key.1, run.killer.path));
    }
    Ok(match output.status.success() {
        true => Verdict::Passes,
        false if said.contains("panicked at") && said.contains("test result: FAILED") => Verdict::Fails,
        false => Verdict::Breaks,
    })
}
