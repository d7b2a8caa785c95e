//! The schema for editors against the loader: every key is read, every listed word is taken, and nothing else is.

use serde_json::{Value, json};

use super::*;
use crate::policy::schema::{resolve, written};

/// A file that has every section in which a key makes sense only with its neighbours.
const BASE: &str = r#"
target: helpdesk
preset: scim
mode: enforce
sources: ["00D000000000001EAA"]
connection: { baseUrl: "https://helpdesk.example/scim/v2", auth: none }
scope: { filter: all }
attributes: { title: { from: title } }
settings: { profile: { attribute: nickName } }
assignments: [{ name: everybody, filter: all }]
lifecycle: { termination: { field: terminationDate } }
groups: { from: [role], map: { A: b }, removeStale: true }
access: [{ group: Sales }]
"#;

fn base() -> Value {
    usher_runtime::yaml::Document::parse("base", BASE).unwrap().value()
}

/// What the loader says of the base with this value at this place.
fn said(path: &[String], value: &Value) -> Vec<String> {
    let mut file = base();
    let mut at = &mut file;
    for step in path {
        at = match step.parse::<usize>() {
            Ok(number) => &mut at[number],
            Err(_) => &mut at[step.as_str()],
        };
    }
    *at = value.clone();
    match read(&[("policy/helpdesk.yaml", &file.to_string())]) {
        Ok(_) => Vec::new(),
        Err(PolicyError(problems)) => problems,
    }
}

/// Every key that has a value of its own, with what the schema says of it.
fn leaves(node: &'static Value, path: &[String], found: &mut Vec<(Vec<String>, &'static Value)>) {
    let Some(node) = resolve(node) else { return };
    let below = |step: &str| path.iter().cloned().chain([step.to_owned()]).collect::<Vec<_>>();
    if let Some(properties) = node
        .get("properties")
        .filter(|_| node.get("anyOf").is_none())
        .and_then(Value::as_object)
    {
        for (key, schema) in properties {
            leaves(schema, &below(key), found);
        }
        return;
    }
    if let Some(any) = node.get("additionalProperties").filter(|any| any.is_object()) {
        let name = if path[0] == "settings" { "profile" } else { "title" };
        leaves(any, &below(name), found);
        return;
    }
    if let Some(items) = node.get("items")
        && resolve(items).is_some_and(|items| items.get("properties").is_some())
    {
        leaves(items, &below("0"), found);
        return;
    }
    found.push((path.to_vec(), node));
}

#[test]
fn every_key_of_the_schema_is_read_and_what_does_not_fit_is_refused() {
    assert_eq!(said(&["target".to_owned()], &json!("helpdesk")), Vec::<String>::new());
    let mut all = Vec::new();
    leaves(written(), &[], &mut all);
    assert!(all.len() > 80, "{}", all.len());
    let mut wrongly = Vec::new();
    for (path, schema) in all {
        // Free values have no wrong ones.
        let typed = ["type", "enum", "anyOf"].iter().any(|key| schema.get(key).is_some());
        if !typed || schema.get("type") == Some(&json!("object")) {
            continue;
        }
        for wrong in [json!({ "bogus": 1 }), json!([[{ "bogus": 1 }]])] {
            let said = said(&path, &wrong);
            if !said.iter().any(|said| said.contains(&path[0])) {
                wrongly.push(format!("{path:?} takes {wrong}: {said:?}"));
            }
        }
        if schema.get("type") != Some(&json!("string")) && schema.get("anyOf").is_none() {
            let said = said(&path, &json!("bogus"));
            if said.is_empty() {
                wrongly.push(format!("{path:?} takes a word"));
            }
        }
        for word in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
            let word = word.as_str().unwrap_or_default();
            let refused = said(&path, &json!(word));
            if !word.is_empty() && refused.iter().any(|said| said.contains(&format!("`{word}`"))) {
                wrongly.push(format!("{path:?} refuses {word}: {refused:?}"));
            }
        }
    }
    assert_eq!(wrongly, Vec::<String>::new());
}

#[test]
fn presets_and_the_example_fit_the_schema_and_mistakes_do_not() {
    let validator = jsonschema::validator_for(&policy_schema()).unwrap();
    let complaints = |name: &str, text: &str| -> Vec<String> {
        let value = usher_runtime::yaml::Document::parse(name, text).unwrap().value();
        validator
            .iter_errors(&value)
            .map(|error| format!("{name} {}: {error}", error.instance_path()))
            .collect()
    };
    for preset in presets() {
        assert_eq!(complaints(preset.name, preset.text), Vec::<String>::new());
        assert_eq!(complaints(preset.name, &filled(preset.start)), Vec::<String>::new());
    }
    assert_eq!(
        complaints("example", include_str!("../../../policy.example.yaml")),
        Vec::<String>::new()
    );
    assert_eq!(complaints("good", GOOD), Vec::<String>::new());
    for wrong in [
        "scoop: { filter: all }",
        "mode: on",
        "sources: []",
        "sources: [helpdesk]",
        "connection: { scim: { patchs: put } }",
        "connection: { rest: { serial: 3 } }",
        "connection: { auth: { bearerTokenFile: a, basic: {} } }",
        "attributes: { title: { form: title } }",
        "guard: { removals: { percent: 101 } }",
        "retry: { halt: { of: 65 } }",
    ] {
        assert_ne!(complaints("wrong", wrong), Vec::<String>::new(), "{wrong}");
    }
}

/// A starting file with its blanks filled in.
fn filled(start: &str) -> String {
    let blank = regex::Regex::new("<([a-zA-Z]+)[^<>]*>").unwrap();
    let filled = blank.replace_all(start, |blank: &regex::Captures<'_>| match &blank[1] {
        "organization" => "00D000000000001EAA",
        "SOQL" => "all",
        "https" => "https://api.example.com/services/scim/v2",
        "file" => "/secrets/file",
        "folder" => "/lists",
        "domain" => "acme.example",
        "consumer" => "3MVG9",
        "user" => "usher@acme.example.hub",
        other => panic!("a blank for {other}"),
    });
    filled.into_owned()
}

#[test]
fn a_starting_file_is_good_once_its_blanks_are_filled_and_names_them_before() {
    for preset in presets() {
        let said = read(&[("policy/start.yaml", &filled(preset.start))]);
        assert!(said.is_ok(), "{}: {said:?}", preset.name);
        let PolicyError(said) = read(&[("policy/start.yaml", preset.start)]).unwrap_err();
        let blanks = preset.start.matches("\"<").count();
        let named = said
            .iter()
            .filter(|said| said.contains("is a blank of the starting file; fill it in"))
            .count();
        assert_eq!((blanks, blanks > 1), (named, true), "{}: {said:#?}", preset.name);
        assert_eq!(said.len(), named, "nothing else helps before: {said:#?}");
    }
}

fn policy_schema() -> Value {
    crate::policy::schema()
}
