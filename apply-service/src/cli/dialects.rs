//! `dialects`: what is known of vendors' SCIM servers.

use std::process::ExitCode;

use serde_json::{Value, json};
use usher_runtime::yaml::Document;

use super::{complain, presets::flow, print, remote::table};
use crate::policy::dialects::DIALECTS;

pub(super) fn dialects(as_json: bool) -> ExitCode {
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for dialect in DIALECTS {
        let value = match Document::parse(dialect.name, dialect.text) {
            Ok(document) => document.value(),
            Err(problem) => return complain(&format!("dialect {}: {}", dialect.name, problem.message)),
        };
        let keys = value.pointer("/connection/scim").cloned().unwrap_or(Value::Null);
        rows.push(vec![
            dialect.name.to_owned(),
            flow(&keys),
            flow(&value["pace"]),
            dialect.about(),
        ]);
        all.push(json!({ "dialect": dialect.name, "about": dialect.about(), "scim": keys, "pace": value["pace"] }));
    }
    if as_json {
        return print(&serde_json::to_string_pretty(&all).unwrap_or_default());
    }
    print(&table(&["DIALECT", "SCIM", "PACE", "ABOUT"], &rows))
}
