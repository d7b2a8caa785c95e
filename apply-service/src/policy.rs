//! The policy folder: one YAML file per target, `_defaults.yaml` below all of them, presets below that.
//!
//! Every problem of every file is reported at once with file, line, caret and hint; a folder with one bad file changes
//! nothing. Keys of the policy language that this version does not act on are refused, never ignored.

mod assignments;
mod attributes;
mod compile;
mod connection;
pub mod dialects;
mod groups;
mod keys;
mod layers;
mod lifecycle;
mod limits;
mod manual;
mod notify;
mod read_back;
#[cfg(test)]
mod rest_tests;
mod roster;
#[cfg(test)]
mod roster_tests;
mod schema;
mod scope;
mod secrets;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use usher_contract::TargetName;
use usher_runtime::yaml::Document;

use self::layers::Layers;
pub use self::{
    connection::{Connection, Dialect},
    manual::manual,
    schema::policy_file as schema,
};
use crate::logic::policy::{Mode, TargetPolicy};

/// The preset of a folder.
macro_rules! preset {
    ($name:literal) => {
        Preset {
            name: $name,
            text: include_str!(concat!("../presets/", $name, "/preset.yaml")),
            start: include_str!(concat!("../presets/", $name, "/start.yaml")),
        }
    };
}

/// The file whose keys stand below every target's own.
const DEFAULTS: &str = "_defaults.yaml";
/// The presets that are compiled in, each a folder with its README.
const PRESETS: [Preset; 10] = [
    preset!("scim"),
    preset!("rest"),
    preset!("skyprep"),
    preset!("miniorange"),
    preset!("spinify-api"),
    preset!("spinify-csv"),
    preset!("skyprep-csv"),
    preset!("salesforce"),
    preset!("gong"),
    preset!("miniorange-scim"),
];

/// What a target's file may start from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preset {
    /// As files name it.
    pub(crate) name: &'static str,
    /// What stands below the file.
    pub(crate) text: &'static str,
    /// A file to begin with: blanks stand in `<...>`.
    pub(crate) start: &'static str,
}

/// The presets that there are.
pub(crate) fn presets() -> impl Iterator<Item = Preset> {
    PRESETS.into_iter()
}

/// Everything about one target.
#[derive(Debug, Clone)]
pub struct Target {
    /// The rules.
    pub policy: Arc<TargetPolicy>,
    /// How the application is reached.
    pub connection: Connection,
    /// Targets of which it is known that they write to the same application.
    pub shared_with: BTreeSet<TargetName>,
    /// Where it is written.
    pub file: PathBuf,
    /// Where what is said of it together with others stands.
    pub spots: Spots,
}

/// Places of a target's file that problems are about which only several files say together.
#[derive(Debug, Clone)]
pub struct Spots {
    /// `connection`.
    pub connection: Spot,
    /// `formerly`.
    pub formerly: Spot,
    /// `notify.onCreate`.
    pub notify: Spot,
}

/// How a problem at one place is shown: what stands before its words, and after them.
#[derive(Debug, Clone)]
pub struct Spot {
    before: String,
    after: String,
}

impl Spot {
    /// A problem at this place.
    #[must_use]
    pub fn say(&self, message: &str) -> String {
        format!("{}{message}{}", self.before, self.after)
    }
}

/// A folder that was read without a problem.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By name.
    pub targets: BTreeMap<TargetName, Target>,
    /// Legal but risky, in words.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with a folder, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", .0.join("\n"))]
pub struct PolicyError(pub Vec<String>);

/// Reads a folder.
///
/// # Errors
/// Every problem of every file.
pub fn load(folder: &Path) -> Result<Policy, PolicyError> {
    from_texts(&texts(folder)?)
}

/// The files of a folder with their texts, ordered by name.
///
/// # Errors
/// When the folder or a file cannot be read.
pub(crate) fn texts(folder: &Path) -> Result<Vec<(PathBuf, String)>, PolicyError> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        PolicyError(vec![format!(
            "cannot read the policy folder {}: {error}; name it with --policy or policy.folder",
            path.display()
        )])
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        // Kubernetes mounts a folder of its own (`..data`) beside the files.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if yaml && !hidden && path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            files.push((path, text));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads files whose texts are given.
///
/// # Errors
/// Every problem of every file.
pub fn from_texts(files: &[(PathBuf, String)]) -> Result<Policy, PolicyError> {
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for (path, text) in files {
        match Document::parse(&path.display().to_string(), text) {
            // Whoever pastes a token into the wrong place must not find it in a log.
            Ok(document) => documents.push((path, document.hiding("connection"))),
            Err(problem) => problems.push(shown_without_document(path, &problem)),
        }
    }
    let is_defaults = |path: &Path| path.file_name().is_some_and(|name| name == DEFAULTS);
    let defaults = documents
        .iter()
        .find(|(path, _)| is_defaults(path))
        .map(|(_, document)| document);
    if let Some(defaults) = defaults {
        keys::check(defaults, &mut problems);
    }
    let mut policy = Policy::default();
    let mut named: BTreeMap<TargetName, &Path> = BTreeMap::new();
    for (path, document) in documents.iter().filter(|(path, _)| !is_defaults(path)) {
        let mut found = Vec::new();
        if keys::check(document, &mut found) {
            problems.extend(found);
            continue;
        }
        let layers = Layers::new(document, defaults);
        let target = compile::target(&layers, path, &mut found, &mut policy.warnings);
        // What one value breaks in several places is said once.
        let mut said = BTreeSet::new();
        found.retain(|problem| said.insert(problem.clone()));
        match (target, found.is_empty()) {
            (Some(target), true) => {
                let name = target.policy.name.clone();
                if let Some(first) = named.insert(name.clone(), path.as_path()) {
                    let message = format!("target {name} is described by {} already", first.display());
                    problems.push(layers.problem(&["target"], message));
                }
                policy.targets.insert(name, target);
            }
            _ => problems.extend(found),
        }
    }
    problems.extend(renames(&policy));
    problems.extend(shared_applications(&policy));
    if problems.is_empty() {
        Ok(policy)
    } else {
        Err(PolicyError(problems))
    }
}

/// Two targets that write to one application would undo each other's work unless their people are apart, which only
/// whoever wrote the files can know.
fn shared_applications(policy: &Policy) -> Vec<String> {
    let writes = |target: &&Target| target.policy.mode != Mode::Off;
    let targets: Vec<&Target> = policy.targets.values().filter(writes).collect();
    let mut problems = Vec::new();
    for (number, one) in targets.iter().enumerate() {
        for other in &targets[number + 1..] {
            let (name, other_name) = (&one.policy.name, &other.policy.name);
            let declared = one.shared_with.contains(other_name) || other.shared_with.contains(name);
            if one.policy.tenant == other.policy.tenant && !declared {
                let message = format!(
                    "{other_name} ({}) writes to the same application; two targets of one application fight over its accounts. \
                     Take one out, tell them apart by connection.tenant, or, when nobody belongs to both, say \
                     connection.sharedWith: [{other_name}]",
                    other.file.display()
                );
                problems.push(one.spots.connection.say(&message));
            }
        }
    }
    problems
}

/// What is wrong with names that targets had before.
fn renames(policy: &Policy) -> Vec<String> {
    let mut problems = Vec::new();
    let mut former: BTreeMap<&TargetName, &Path> = BTreeMap::new();
    for (name, target) in &policy.targets {
        let Some(formerly) = &target.policy.formerly else {
            continue;
        };
        if let Some(other) = policy.targets.get(formerly) {
            let message = format!(
                "{formerly} is the name of a target of this folder ({}); a name that is still in use cannot be taken over",
                other.file.display()
            );
            problems.push(target.spots.formerly.say(&message));
        }
        if let Some(other) = former.insert(formerly, &target.file) {
            let message = format!(
                "{} says so too; only one of them can be {formerly} under a new name ({name})",
                other.display()
            );
            problems.push(target.spots.formerly.say(&message));
        }
    }
    problems
}

/// Without the line itself: what cannot be parsed may be a secret as well as anything else.
fn shown_without_document(path: &Path, problem: &usher_runtime::yaml::Problem) -> String {
    let at = problem
        .place
        .map_or_else(String::new, |place| format!(":{}:{}", place.line, place.column));
    format!("{}{at}: {}", path.display(), problem.message)
}
