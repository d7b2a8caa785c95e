//! Which keys there are, and what was probably meant.

use serde_json::{Map, Value};
use usher_runtime::yaml::{Document, Problem, nearest};

use super::schema;

/// What is said of a blank.
const BLANK: &str = "is a blank of the starting file; fill it in";

/// Reports every key that is unknown, and every blank of a starting file. True when there are blanks: nothing else that
/// could be said of the file helps then.
pub(super) fn check(document: &Document, problems: &mut Vec<String>) -> bool {
    let before = problems.len();
    walk(
        document,
        Some(schema::written()),
        &document.value(),
        &mut Vec::new(),
        problems,
    );
    problems[before..].iter().any(|problem| problem.contains(BLANK))
}

/// `schema`: of this value; `None` where its own type says what fits.
fn walk(
    document: &Document,
    schema: Option<&'static Value>,
    value: &Value,
    path: &mut Vec<String>,
    problems: &mut Vec<String>,
) {
    let report = |path: &[String], message: String, problems: &mut Vec<String>| {
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        problems.push(document.show(&Problem {
            place: document.place_at(&steps),
            path: path.join("."),
            message,
        }));
    };
    let schema = schema.and_then(schema::resolve);
    let known = schema.and_then(|schema| schema.get("properties")?.as_object());
    let others = schema.and_then(|schema| schema.get("additionalProperties").filter(|more| more.is_object()));
    match value {
        // As the starting files of `init` have them.
        Value::String(text) if is_blank(text) => {
            report(path, BLANK.to_owned(), problems);
        }
        // Nothing below the key is nothing said. Rows of attributes are checked by their own type.
        Value::Null => {}
        _ if known.is_some() && !value.is_object() && wants_a_map(schema, path) => {
            let names = names(known);
            report(
                path,
                format!("must be a map such as {{ key: value }}; known keys here: {names}"),
                problems,
            );
        }
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.get("items"));
            for (number, item) in items.iter().enumerate() {
                path.push(number.to_string());
                walk(document, schema, item, path, problems);
                path.pop();
            }
        }
        Value::Object(entries) => {
            for (key, below) in entries {
                path.push(key.clone());
                let schema = known.and_then(|known| known.get(key)).or(others);
                match known {
                    Some(known) if schema.is_none() => report(path, unknown(known, key), problems),
                    _ => walk(document, schema, below, path, problems),
                }
                path.pop();
            }
        }
        _ => {}
    }
}

/// Words in one pair of brackets: HTML has more pairs, or no words.
fn is_blank(text: &str) -> bool {
    text.starts_with('<') && text.ends_with('>') && text.matches('<').count() == 1 && text.contains(' ')
}

/// Credentials may be a word, and rows of attributes are checked by their own type.
fn wants_a_map(schema: Option<&Value>, path: &[String]) -> bool {
    let map = schema.is_some_and(|schema| schema.get("anyOf").is_none());
    map && path.first().is_none_or(|section| section != "attributes")
}

fn names(known: Option<&Map<String, Value>>) -> String {
    let names: Vec<&str> = known
        .into_iter()
        .flat_map(|known| known.keys().map(String::as_str))
        .collect();
    names.join(", ")
}

fn unknown(known: &Map<String, Value>, key: &str) -> String {
    match nearest(key, known.keys().map(String::as_str)) {
        Some(name) => format!("unknown key; did you mean `{name}`?"),
        None => format!("unknown key; known keys here: {}", names(Some(known))),
    }
}
