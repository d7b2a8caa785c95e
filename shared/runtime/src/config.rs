//! Configuration: defaults, then the file, then the environment. Every problem is reported, not the first.
//!
//! The defaults are a YAML file compiled into the service; it names every key and is the manual. The environment
//! overrides single values: `USHER__KAFKA__BOOTSTRAP_SERVERS` sets `kafka.bootstrapServers`.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::yaml::{Document, Problem, decode, nearest};

mod entries;
mod schema;

pub use self::{
    entries::{Entry, List},
    schema::schema,
};

/// Prefix of the environment variables that override a key.
pub const ENV_PREFIX: &str = "USHER__";

/// Everything that is wrong with a configuration, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// The environment variables that concern the configuration.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads configuration from the environment"
    )]
    std::env::vars()
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .collect()
}

/// Loads a configuration.
///
/// # Errors
/// All problems: unreadable file, syntax, unknown keys in file and environment, values that do not fit.
pub fn load<T: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    environment: &[(String, String)],
) -> Result<T, ConfigError> {
    Layers::load(defaults, file, environment, None)?.decode()
}

/// As [`load`], with the file's name and content given.
///
/// # Errors
/// As [`load`].
pub fn load_text<T: DeserializeOwned>(
    defaults: &str,
    file: Option<(&str, &str)>,
    environment: &[(String, String)],
) -> Result<T, ConfigError> {
    Layers::merge(defaults, file, environment, None)?.decode()
}

/// Defaults, file and environment merged into one value, before it becomes a struct.
#[derive(Debug)]
pub struct Layers {
    defaults: Value,
    merged: Value,
    document: Option<Document>,
    problems: Vec<String>,
}

impl Layers {
    /// Reads and merges. `list`: a list of the file whose entries have the keys of the top level.
    ///
    /// # Errors
    /// When the file cannot be read or is no YAML. Other problems are kept until the value is decoded, so that all are
    /// reported at once.
    pub fn load(
        defaults: &str,
        file: Option<&Path>,
        environment: &[(String, String)],
        list: Option<&List<'_>>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                ConfigError(vec![format!(
                    "cannot read the configuration file {}: {error}; name it with --config",
                    path.display()
                )])
            })?),
        };
        let name = file.map_or_else(String::new, |path| path.display().to_string());
        let file = text.as_deref().map(|text| (name.as_str(), text));
        Self::merge(defaults, file, environment, list)
    }

    /// As [`Layers::load`], with the file's name and content given.
    ///
    /// # Errors
    /// As [`Layers::load`].
    pub fn merge(
        defaults: &str,
        file: Option<(&str, &str)>,
        environment: &[(String, String)],
        list: Option<&List<'_>>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut sample = match Document::parse("built-in defaults", defaults) {
            Ok(document) => document.value(),
            Err(problem) => return Err(ConfigError(vec![problem.message])),
        };
        let (defaults, mut merged) = (sample.clone(), sample.clone());
        if let Some(list) = list {
            list.extend_sample(&mut sample);
        }
        let mut document = None;
        if let Some((name, text)) = file {
            match Document::parse(name, text) {
                Ok(parsed) => {
                    let unknown = parsed.unknown_keys(&sample).into_iter().map(|problem| match list {
                        Some(list) => list.explain(problem),
                        None => problem,
                    });
                    problems.extend(unknown.map(|problem| parsed.show(&problem)));
                    overlay(&mut merged, parsed.value());
                    document = Some(parsed);
                }
                Err(problem) => {
                    let at = problem
                        .place
                        .map_or_else(String::new, |place| format!(":{}:{}", place.line, place.column));
                    return Err(ConfigError(vec![format!("{name}{at}: {}", problem.message)]));
                }
            }
        }
        for (variable, value) in environment {
            if let Err(problem) = set_from_environment(&mut merged, variable, value) {
                problems.push(problem);
            }
        }
        Ok(Self {
            defaults,
            merged,
            document,
            problems,
        })
    }

    /// Decodes the whole.
    ///
    /// # Errors
    /// Every problem.
    pub fn decode<T: DeserializeOwned>(mut self) -> Result<T, ConfigError> {
        let mut merged = std::mem::take(&mut self.merged);
        loop {
            match decode(merged.clone()) {
                Ok(config) if self.problems.is_empty() => return Ok(config),
                Ok(_) => return Err(ConfigError(self.problems)),
                Err((path, message)) => {
                    // An unknown key has been shown above with its place; serde would repeat it.
                    let unknown = message
                        .strip_prefix("unknown field `")
                        .and_then(|rest| rest.split('`').next());
                    let told = |name: &str| {
                        let words = format!("{name}: unknown key");
                        self.problems.iter().any(|problem| problem.contains(&words))
                    };
                    if !unknown.is_some_and(told) {
                        let problem = match self.place_of(&path, &message) {
                            shown if shown.starts_with(&path) => format!("configuration key {shown}"),
                            shown => shown,
                        };
                        self.problems.push(problem);
                    }
                    // Only the first value that does not fit is told: with the default in its place the next one is.
                    if !replace(&mut merged, &self.defaults, &path) {
                        return Err(ConfigError(self.problems));
                    }
                }
            }
        }
    }

    /// A problem with the line of the file on which `path` stands; without it, when it stands nowhere.
    fn place_of(&self, path: &str, message: &str) -> String {
        let place = self.document.as_ref().and_then(|document| document.place(path));
        match (&self.document, place) {
            (Some(document), Some(place)) if !path.is_empty() => document.show(&Problem {
                place: Some(place),
                path: path.to_owned(),
                message: message.to_owned(),
            }),
            _ if path.is_empty() => message.to_owned(),
            _ => format!("{path}: {message}"),
        }
    }
}

/// Puts the default at a path (`a.b`) in the place of what stands there; false when there is none, or it stands there.
fn replace(merged: &mut Value, defaults: &Value, path: &str) -> bool {
    let steps = || path.split('.').filter(|step| !step.is_empty());
    let default = steps().try_fold(defaults, |value, step| value.get(step));
    let slot = steps().try_fold(merged, |value, step| value.get_mut(step));
    match (slot, default) {
        (Some(slot), Some(default)) if slot != default => {
            *slot = default.clone();
            true
        }
        _ => false,
    }
}

/// Maps are merged key by key; everything else is replaced. An explicit `null` of a map keeps the defaults.
pub fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(slot) => overlay(slot, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (Value::Object(_), Value::Null) => {}
        (slot, value) => *slot = value,
    }
}

fn set_from_environment(config: &mut Value, variable: &str, text: &str) -> Result<(), String> {
    let path: Vec<String> = variable
        .trim_start_matches(ENV_PREFIX)
        .split("__")
        .map(camel_case)
        .collect();
    let mut slot = config;
    for key in &path {
        let Value::Object(map) = slot else {
            return Err(format!(
                "environment variable {variable}: `{}` has no keys below it",
                path.join(".")
            ));
        };
        let hint = nearest(key, map.keys().map(String::as_str))
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        slot = map.get_mut(key).ok_or_else(|| {
            format!(
                "environment variable {variable}: unknown key `{}`{hint}",
                path.join(".")
            )
        })?;
    }
    // A value that reads as a number, boolean or list is one, unless the default says that a text belongs there.
    *slot = match slot {
        Value::String(_) => Value::String(text.to_owned()),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    Ok(())
}

/// `BOOTSTRAP_SERVERS` -> `bootstrapServers`.
fn camel_case(upper: &str) -> String {
    let mut words = upper.split('_').filter(|word| !word.is_empty()).map(str::to_lowercase);
    let first = words.next().unwrap_or_default();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        name.extend(letters);
        name
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const DEFAULTS: &str =
        "kafka: { bootstrapServers: 'localhost:9092', prefix: '' }\nhttp: { bind: '127.0.0.1:0', grace: 5 }\n";

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Kafka {
        bootstrap_servers: String,
        prefix: String,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Http {
        bind: String,
        grace: u32,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        kafka: Kafka,
        http: Http,
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn environment_beats_file_beats_defaults() {
        let file = Some(("f", "kafka: { prefix: prod, bootstrapServers: broker:9092 }"));
        let environment = [
            variable("USHER__KAFKA__BOOTSTRAP_SERVERS", "other:1"),
            variable("USHER__HTTP__GRACE", "7"),
        ];
        let config: Config = load_text(DEFAULTS, file, &environment).unwrap();
        assert_eq!(
            config.kafka,
            Kafka {
                bootstrap_servers: "other:1".into(),
                prefix: "prod".into()
            }
        );
        assert_eq!(
            config.http,
            Http {
                bind: "127.0.0.1:0".into(),
                grace: 7
            }
        );
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let file = Some(("f", "kafka:\n  prefixx: prod\nhttp:\n  grace: soon\n"));
        let environment = [variable("USHER__HTTP__BINDD", "x")];
        let problems = load_text::<Config>(DEFAULTS, file, &environment).unwrap_err().0;
        assert_eq!(problems.len(), 3, "{problems:#?}");
        assert!(
            problems[0].starts_with("f:2:3: kafka.prefixx: unknown key; did you mean `prefix`?"),
            "{}",
            problems[0]
        );
        assert_eq!(
            problems[1],
            "environment variable USHER__HTTP__BINDD: unknown key `http.bindd`; did you mean `bind`?"
        );
        assert!(
            problems[2].starts_with("f:4:3: http.grace: invalid type"),
            "{}",
            problems[2]
        );
    }

    #[test]
    fn every_value_that_does_not_fit_is_told_at_once() {
        let file = Some((
            "f",
            "kafka: { prefix: [x], prefixx: y }\nhttp:\n  bind: {}\n  grace: soon\n",
        ));
        let problems = load_text::<Config>(DEFAULTS, file, &[]).unwrap_err().0;
        for words in [
            "f:1:23: kafka.prefixx: unknown key",
            "f:1:10: kafka.prefix: invalid type",
            "f:3:3: http.bind: invalid type",
            "f:4:3: http.grace: invalid type",
        ] {
            let found = problems.iter().filter(|problem| problem.starts_with(words)).count();
            assert_eq!(found, 1, "{words}: {problems:#?}");
        }
        assert_eq!(problems.len(), 4, "{problems:#?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Config>(DEFAULTS, Some(Path::new("/nonexistent.yaml")), &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot read the configuration file /nonexistent.yaml")
        );
    }
}
