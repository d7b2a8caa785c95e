//! `presets`: what a target's file may start from, and what each preset limits.

use std::process::ExitCode;

use serde_json::{Value, json};
use usher_runtime::yaml::Document;

use super::{complain, print, remote::table};
use crate::policy::{self, Preset};

pub(super) fn presets(as_json: bool) -> ExitCode {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for Preset { name, text, .. } in policy::presets() {
        let value = match Document::parse(name, text) {
            Ok(document) => document.value(),
            Err(problem) => return complain(&format!("preset {name}: {}", problem.message)),
        };
        let about: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix('#'))
            .map(str::trim)
            .collect();
        let about = about.join(" ");
        all.push(json!({ "preset": name, "about": about, "file": value }));
        rows.push(vec![
            name.to_owned(),
            flow(&value["pace"]),
            flow(&value["features"]),
            flow(&value["gate"]),
            value["attributes"]
                .as_object()
                .map_or(0, serde_json::Map::len)
                .to_string(),
            about,
        ]);
    }
    if as_json {
        return print(&serde_json::to_string_pretty(&all).unwrap_or_default());
    }
    print(&table(
        &["PRESET", "PACE", "FEATURES", "GATE", "ATTRIBUTES", "ABOUT"],
        &rows,
    ))
}

/// A section in one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Object(map) => {
            let fields: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}: {}", flow(value)))
                .collect();
            fields.join(", ")
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(flow).collect();
            format!("[{}]", values.join(", "))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_one_line() {
        let value = json!({ "require": ["a", "b"], "n": 3 });
        assert_eq!(flow(&value), "n: 3, require: [a, b]");
        assert_eq!(flow(&Value::Null), "-");
    }
}
