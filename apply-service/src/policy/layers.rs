//! A target's file over the defaults over its dialect over its preset, with the places of what was written.

use serde::de::DeserializeOwned;
use serde_json::Value;
use usher_filter::FilterError;
use usher_runtime::{
    config::overlay,
    yaml::{Document, Problem, decode},
};

use super::{PRESETS, Spot, dialects::DIALECTS};

/// The layers of one target.
pub(super) struct Layers<'a> {
    file: &'a Document,
    defaults: Option<&'a Document>,
    /// Preset, dialect, defaults, file: later ones win.
    values: Vec<Value>,
    merged: Value,
}

impl<'a> Layers<'a> {
    pub(super) fn new(file: &'a Document, defaults: Option<&'a Document>) -> Self {
        let mut values: Vec<Value> = defaults.into_iter().chain([file]).map(Document::value).collect();
        let preset = values
            .iter()
            .rev()
            .find_map(|value| value.get("preset")?.as_str().map(str::to_owned));
        let preset = preset.and_then(|name| PRESETS.iter().find(|preset| preset.name == name));
        if let Some(preset) = preset
            && let Ok(document) = Document::parse(preset.name, preset.text)
        {
            values.insert(0, document.value());
        }
        let below = usize::from(preset.is_some());
        let dialect = values
            .iter()
            .rev()
            .find_map(|value| value.pointer("/connection/scim/dialect")?.as_str().map(str::to_owned));
        let dialect = dialect.and_then(|name| DIALECTS.iter().find(|dialect| dialect.name == name));
        if let Some(dialect) = dialect
            && let Ok(document) = Document::parse(dialect.name, dialect.text)
        {
            values.insert(below, document.value());
        }
        let mut merged = Value::Object(serde_json::Map::new());
        for value in &values {
            overlay(&mut merged, value.clone());
        }
        Self {
            file,
            defaults,
            values,
            merged,
        }
    }

    /// The merged value at a path; `None` when it is absent or null.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        let value = path.iter().try_fold(&self.merged, |value, key| value.get(key))?;
        (!value.is_null()).then_some(value)
    }

    /// All of it, as it counts.
    pub(super) fn merged(&self) -> &Value {
        &self.merged
    }

    /// The values of a path by layer, lowest first.
    pub(super) fn by_layer<'b>(&'b self, path: &'b [&str]) -> impl Iterator<Item = &'b Value> {
        self.values
            .iter()
            .filter_map(move |layer| path.iter().try_fold(layer, |value, key| value.get(key)))
    }

    /// Decodes the value at a path; `None` when it is absent. A value that does not fit is reported.
    pub(super) fn decode<T: DeserializeOwned>(&self, path: &[&str], problems: &mut Vec<String>) -> Option<T> {
        let value = self.get(path)?.clone();
        match decode(value) {
            Ok(value) => Some(value),
            Err((below, message)) => {
                let message = if path.first() == Some(&"connection") {
                    without_value(&message)
                } else {
                    message
                };
                let steps: Vec<&str> = below
                    .split(['.', '['])
                    .map(|step| step.trim_end_matches(']'))
                    .filter(|s| !s.is_empty())
                    .collect();
                let mut full = path.to_vec();
                full.extend(steps);
                problems.push(self.problem(&full, message));
                None
            }
        }
    }

    /// Decodes a value that has to be there.
    pub(super) fn require<T: DeserializeOwned>(
        &self,
        path: &[&str],
        hint: &str,
        problems: &mut Vec<String>,
    ) -> Option<T> {
        if self.get(path).is_none() {
            problems.push(self.problem(path, format!("is required: {hint}")));
            return None;
        }
        self.decode(path, problems)
    }

    /// Where something is written: `file:line`; `preset` when no file says it.
    pub(super) fn place(&self, path: &[&str]) -> String {
        [Some(self.file), self.defaults]
            .into_iter()
            .flatten()
            .find_map(|document| Some(format!("{}:{}", document.name(), document.place_at(path)?.line)))
            .unwrap_or_else(|| "preset".to_owned())
    }

    /// How problems at a path are shown.
    pub(super) fn spot(&self, path: &[&str]) -> Spot {
        // No file has it: what is not text is told from what is.
        const WORDS: &str = "\u{0}";
        let shown = self.problem(path, WORDS);
        let (before, after) = shown.split_once(WORDS).unwrap_or((&shown, ""));
        Spot {
            before: before.to_owned(),
            after: after.to_owned(),
        }
    }

    /// A mistake inside of a text, shown at its place within the YAML, or with the text below.
    pub(super) fn problem_inside(&self, path: &[&str], text: &str, error: &FilterError) -> String {
        let documents = [Some(self.file), self.defaults].into_iter().flatten();
        let mut written = documents.filter(|document| document.place_at(path).is_some());
        let place = written.next().and_then(|document| {
            let place = document.place_inside(path, text, error.span.start)?;
            Some((document, place))
        });
        match place {
            Some((document, place)) => document.show(&Problem {
                place: Some(place),
                path: path.join("."),
                message: error.to_string(),
            }),
            None => format!("{}\n{}", self.problem(path, error.to_string()), error.marked(text)),
        }
    }

    /// A problem, shown where it stands: in the file, else in the defaults, else at the nearest key above it.
    pub(super) fn problem(&self, path: &[&str], message: impl Into<String>) -> String {
        let (document, place) = [Some(self.file), self.defaults]
            .into_iter()
            .flatten()
            .find_map(|document| Some((document, document.place_at(path)?)))
            .map_or_else(
                || {
                    (
                        self.file,
                        (0..path.len())
                            .rev()
                            .find_map(|length| self.file.place_at(&path[..length])),
                    )
                },
                |(document, place)| (document, Some(place)),
            );
        document.show(&Problem {
            place,
            path: path.join("."),
            message: message.into(),
        })
    }
}

/// What did not fit, without the value: it may be a secret that was written into the wrong place. Names of fields are
/// kept, because a misspelt one could not be found otherwise.
fn without_value(message: &str) -> String {
    if message.starts_with("unknown field") || message.starts_with("missing field") {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("does not fit, expected {expected}"),
        None => "does not fit here".to_owned(),
    }
}
