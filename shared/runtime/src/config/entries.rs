//! A list whose entries are merged over the top-level keys: each entry becomes a whole configuration of its own.
//!
//! Works on values, before they become a struct, so a new section needs no code here. Problems name the entry
//! (`orgs[1].salesforce.url`) and show its line.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ConfigError, Layers, overlay};
use crate::yaml::{Problem, decode};

/// Which list, and what may not stand in it.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// Its key at the top level.
    pub key: &'a str,
    /// Top-level keys that hold for the whole process.
    pub shared: &'a [&'a str],
}

/// One configuration of possibly several.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// Its name; `None` when the list is empty and the top level is the one configuration.
    pub name: Option<String>,
    /// The merged configuration.
    pub config: T,
}

/// Longest name of an entry: it becomes a label of metrics.
const NAME_MAX: usize = 63;

impl List<'_> {
    /// The sample against which keys are checked: an entry may have what the top level has, and a name.
    pub(super) fn extend_sample(&self, sample: &mut Value) {
        let Value::Object(top) = sample else { return };
        let mut entry: Map<String, Value> = top
            .iter()
            .filter(|(key, _)| *key != self.key && !self.shared.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        entry.insert("name".to_owned(), Value::Null);
        top.insert(self.key.to_owned(), Value::Array(vec![Value::Object(entry)]));
    }

    /// Says of a shared key in an entry where it belongs.
    pub(super) fn explain(&self, mut problem: Problem) -> Problem {
        let below = problem
            .path
            .strip_prefix(self.key)
            .and_then(|rest| rest.strip_prefix('['))
            .and_then(|rest| rest.split_once("]."))
            .map(|(_, below)| below);
        if below.is_some_and(|below| self.shared.contains(&below)) {
            problem.message = "it holds for the whole process; set it at the top level".to_owned();
        }
        problem
    }
}

impl Layers {
    /// Every entry merged over the top level, decoded and checked; without entries the top level alone. `check` gives
    /// problems as `section.key: what is wrong and the way out`.
    ///
    /// # Errors
    /// Every problem, each with its place.
    pub fn decode_entries<T: DeserializeOwned>(
        mut self,
        list: &List<'_>,
        check: impl Fn(&T) -> Vec<String>,
    ) -> Result<Vec<Entry<T>>, ConfigError> {
        let entries = match &mut self.merged {
            Value::Object(top) => top.remove(list.key),
            _ => None,
        };
        let entries = match entries {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                let problem = self.place_of(list.key, "it is a list of entries, each with a name");
                return Err(self.with(vec![problem]));
            }
        };
        let mut problems = Vec::new();
        let mut decoded = Vec::new();
        if entries.is_empty() {
            match decode::<T>(self.merged.clone()) {
                Ok(config) => {
                    problems.extend(check(&config).iter().map(|problem| self.show(None, problem)));
                    decoded.push(Entry { name: None, config });
                }
                Err((path, message)) => problems.extend(self.undecoded(None, &path, &message)),
            }
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("{}[{index}]", list.key);
            let Value::Object(mut keys) = entry else {
                problems.push(self.place_of(&path, "an entry is a map with a name"));
                continue;
            };
            let name = match keys.remove("name") {
                Some(Value::String(name)) if is_name(&name) => name,
                _ => {
                    let rule = format!("name: give it one, of 1 to {NAME_MAX} letters, digits, '-' and '_'");
                    problems.push(self.show(Some(&path), &rule));
                    continue;
                }
            };
            if let Some(other) = names.insert(name.clone(), index) {
                let twice = format!("name: {}[{other}] has this name, too", list.key);
                problems.push(self.show(Some(&path), &twice));
            }
            let mut merged = self.merged.clone();
            overlay(&mut merged, Value::Object(keys));
            match decode::<T>(merged) {
                Ok(config) => {
                    problems.extend(check(&config).iter().map(|problem| self.show(Some(&path), problem)));
                    decoded.push(Entry {
                        name: Some(name),
                        config,
                    });
                }
                Err((at, message)) => problems.extend(self.undecoded(Some(&path), &at, &message)),
            }
        }
        // What is inherited is wrong in every entry, and said once.
        let mut said = Vec::new();
        for problem in problems {
            if !said.contains(&problem) {
                said.push(problem);
            }
        }
        if said.is_empty() && self.problems.is_empty() {
            Ok(decoded)
        } else {
            Err(self.with(said))
        }
    }

    fn with(self, problems: Vec<String>) -> ConfigError {
        let mut all = self.problems;
        all.extend(problems);
        ConfigError(all)
    }

    fn undecoded(&self, entry: Option<&str>, path: &str, message: &str) -> Option<String> {
        // An unknown key has been shown with its place; serde would repeat it.
        (self.problems.is_empty() || !message.starts_with("unknown field"))
            .then(|| self.show(entry, &format!("{path}: {message}")))
    }

    /// `section.key: message` with the line on which it stands: in the entry, or at the top level when it is inherited.
    fn show(&self, entry: Option<&str>, problem: &str) -> String {
        let (path, message) = problem.split_once(": ").unwrap_or(("", problem));
        let Some(entry) = entry else {
            return self.place_of(path, message);
        };
        let own = format!("{entry}.{path}");
        let placed = |path: &str| {
            self.document
                .as_ref()
                .is_some_and(|document| document.place(path).is_some())
        };
        if !placed(&own) && placed(path) {
            return self.place_of(path, message);
        }
        match self.document.as_ref().filter(|_| !placed(&own)) {
            // It is missing: the entry is where it belongs.
            Some(document) => document.show(&Problem {
                place: document.place(entry),
                path: own,
                message: message.to_owned(),
            }),
            None => self.place_of(&own, message),
        }
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const DEFAULTS: &str = "source: { url: '', timeout: 5 }\nkafka: { prefix: '' }\norgs: []\n";
    const LIST: List<'static> = List {
        key: "orgs",
        shared: &["kafka"],
    };

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        source: Source,
        kafka: Kafka,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Source {
        url: String,
        timeout: u32,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Kafka {
        prefix: String,
    }

    fn load(text: &str) -> Result<Vec<Entry<Config>>, ConfigError> {
        let check = |config: &Config| {
            let missing = config.source.url.is_empty();
            missing.then(|| "source.url: give it".to_owned()).into_iter().collect()
        };
        Layers::merge(DEFAULTS, Some(("f", text)), &[], Some(&LIST))?.decode_entries(&LIST, check)
    }

    #[test]
    fn entries_are_merged_over_the_top_level_key_by_key() {
        let all = load(
            "source: { timeout: 7 }\nkafka: { prefix: p }\norgs:\n  - name: one\n    source: { url: u }\n  - { name: two, source: { url: v, timeout: 9 } }\n",
        )
        .unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|entry| {
                let source = &entry.config.source;
                (entry.name.as_deref(), source.url.as_str(), source.timeout)
            })
            .collect();
        assert_eq!(seen, [(Some("one"), "u", 7), (Some("two"), "v", 9)]);
        assert!(all.iter().all(|entry| entry.config.kafka.prefix == "p"));
    }

    #[test]
    fn without_entries_the_top_level_is_the_one_configuration() {
        let all = load("source: { url: u }\n").unwrap();
        assert_eq!((all.len(), all[0].name.as_deref()), (1, None));
    }

    #[test]
    fn every_problem_is_shown_where_it_stands() {
        let problems = load(
            "source: { url: u }\norgs:\n  - name: one\n    source: { urll: x }\n  - name: one\n    source: { url: '' }\n  - kafka: {}\n  - name: four\n    source: { timeout: soon }\n",
        )
        .unwrap_err()
        .0;
        let starts = [
            "f:4:15: orgs[0].source.urll: unknown key; did you mean `url`?\n  |     source: { urll: x }\n  |               ^",
            "f:7:5: orgs[2].kafka: it holds for the whole process; set it at the top level",
            "f:5:5: orgs[1].name: orgs[0] has this name, too",
            "f:6:15: orgs[1].source.url: give it",
            "f:7:5: orgs[2].name: give it one",
            "f:9:15: orgs[3].source.timeout: invalid type",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}\nis not\n{start}");
        }
    }

    #[test]
    fn what_is_inherited_or_missing_is_said_once_and_where_it_belongs() {
        let inherited = load("source: { url: u, timeout: soon }\norgs: [{ name: one }, { name: two }]\n").unwrap_err();
        assert_eq!(inherited.0.len(), 1, "{inherited}");
        assert!(
            inherited.0[0].starts_with("f:1:19: source.timeout: invalid type"),
            "{inherited}"
        );
        let missing = load("orgs:\n  - name: one\n").unwrap_err();
        assert!(
            missing.0[0].starts_with("f:2:5: orgs[0].source.url: give it"),
            "{missing}"
        );
    }
}
