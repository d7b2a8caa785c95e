//! The manual of a policy file: every key with its kind, its explanation and its default, as YAML with comments. Made from the
//! schema, which is the one list of the keys.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use usher_runtime::yaml::{Document, Place};

use super::schema::{policy_file, text};

/// The column of the comments. Longer keys push theirs to the right.
const COMMENTS: usize = 34;
/// Types of the connectors hold each other; deeper than this nobody writes.
const DEPTH_MAX: usize = 12;

const HEAD: &str = "# Every key of a policy file. One file per target stands in the policy folder; _defaults.yaml of the same folder is
# below all of them, the preset below that. `apply-service presets` lists what files start from, `init` writes one to begin
# with, `check` shows every mistake at once. What keys mean together: docs/policy.md, docs/connections.md, docs/filters.md.
";

/// The manual.
#[must_use]
pub fn manual() -> String {
    let schema = policy_file();
    let order = Document::parse("policy.schema.yaml", text()).ok();
    let mut writer = Writer {
        root: &schema,
        order: order.as_ref(),
        out: HEAD.to_owned(),
    };
    writer.keys(&schema, &mut Vec::new(), 0, "");
    writer.out
}

struct Writer<'a> {
    root: &'a Value,
    /// The schema as it is written: its order is the manual's.
    order: Option<&'a Document>,
    out: String,
}

impl<'a> Writer<'a> {
    /// The keys of a map. `first`: what stands before the first of them, of an entry of a list.
    fn keys(&mut self, node: &'a Value, path: &mut Vec<String>, depth: usize, first: &str) {
        let mut keys: Vec<(&String, &Value)> = properties(node).into_iter().flatten().collect();
        keys.sort_by_key(|(key, _)| self.place(path, key));
        let mut before = first;
        for (key, schema) in keys {
            self.key(key, schema, path, depth, std::mem::take(&mut before));
        }
        if let Some(more) = node.get("additionalProperties").filter(|more| more.is_object()) {
            self.key("<name>", more, path, depth, before);
        }
    }

    fn key(&mut self, key: &str, schema: &'a Value, path: &mut Vec<String>, depth: usize, first: &str) {
        let (target, words) = self.resolve(schema);
        let indent = "  ".repeat(depth);
        let shown = in_quotes(key);
        let head = match indent.strip_suffix("  ") {
            Some(outer) if !first.is_empty() => format!("{outer}{first}{shown}:"),
            _ => format!("{indent}{shown}:"),
        };
        let kind = kind(target, self.root);
        let said = [kind.as_str(), words.as_str()];
        let said: Vec<&str> = said.into_iter().filter(|said| !said.is_empty()).collect();
        // Writing to a String cannot fail.
        let _ = if said.is_empty() {
            writeln!(self.out, "{head}")
        } else {
            writeln!(self.out, "{head:COMMENTS$} # {}", said.join(". "))
        };
        if depth >= DEPTH_MAX {
            return;
        }
        path.push(key.to_owned());
        let items = target.get("items").map(|items| self.resolve(items).0);
        let entries = items.filter(|items| properties(items).is_some());
        match (entries, options(target)) {
            (Some(entries), _) => {
                path.push("[]".to_owned());
                self.keys(entries, path, depth + 1, "- ");
                path.pop();
            }
            (None, Some(options)) if properties(target).is_none() => {
                // Of several forms the one with keys of its own.
                let mut forms = options.iter().map(|option| self.resolve(option).0);
                let map = forms.find(|form| properties(form).is_some());
                if let Some(map) = map {
                    self.keys(map, path, depth + 1, "");
                }
            }
            (None, _) => self.keys(target, path, depth + 1, ""),
        }
        path.pop();
    }

    /// What a reference leads to, and what is said of it here or there.
    fn resolve(&self, schema: &'a Value) -> (&'a Value, String) {
        let said = |node: &Value| node.get("description").and_then(Value::as_str).map(in_one_line);
        let mut node = schema;
        let mut words = said(node);
        while let Some(to) = node.get("$ref").and_then(Value::as_str)
            && let Some(found) = to.strip_prefix('#').and_then(|to| self.root.pointer(to))
        {
            node = found;
            words = words.or_else(|| said(node));
        }
        (node, words.unwrap_or_default())
    }

    /// Where a key stands in the schema; those of the connectors' types come as they are.
    fn place(&self, path: &[String], key: &str) -> Option<Place> {
        let mut steps = Vec::new();
        for step in path {
            match step.as_str() {
                "<name>" => steps.push("additionalProperties"),
                "[]" => steps.push("items"),
                name => steps.extend(["properties", name]),
            }
        }
        steps.extend(["properties", key]);
        self.order?.place_at(&steps)
    }
}

/// A key that YAML takes for something else than a text stands in quotes.
fn in_quotes(key: &str) -> String {
    match key {
        "null" | "true" | "false" | "on" | "off" | "yes" | "no" | "y" | "n" => format!("\"{key}\""),
        plain => plain.to_owned(),
    }
}

fn properties(node: &Value) -> Option<&Map<String, Value>> {
    let properties = node.get("properties").and_then(Value::as_object);
    properties.filter(|properties| !properties.is_empty())
}

fn options(node: &Value) -> Option<&Vec<Value>> {
    ["anyOf", "oneOf"].iter().find_map(|key| node.get(*key)?.as_array())
}

/// What may stand there, in a word or a few.
fn kind(node: &Value, root: &Value) -> String {
    let one = |word: &Value| match word {
        Value::String(word) => word.clone(),
        other => other.to_string(),
    };
    if let Some(words) = node.get("enum").and_then(Value::as_array) {
        return words.iter().map(one).collect::<Vec<_>>().join(" | ");
    }
    if let Some(word) = node.get("const") {
        return one(word);
    }
    if let Some(to) = node.get("$ref").and_then(Value::as_str) {
        let found = to.strip_prefix('#').and_then(|to| root.pointer(to));
        return found.map_or_else(String::new, |found| kind(found, root));
    }
    if let Some(options) = options(node) {
        let mut kinds: Vec<String> = options.iter().map(|option| kind(option, root)).collect();
        kinds.retain(|kind| !kind.is_empty() && kind != "null");
        kinds.dedup();
        return kinds.join(" | ");
    }
    let word = |word: &str| match word {
        "string" => "text".to_owned(),
        "boolean" => "true | false".to_owned(),
        "integer" | "number" => "number".to_owned(),
        "array" => match node.get("items").map(|items| kind(items, root)) {
            Some(items) if !items.is_empty() && items != "map" => format!("list of {items}"),
            _ => "list".to_owned(),
        },
        "object" => "map".to_owned(),
        other => other.to_owned(),
    };
    match node.get("type") {
        Some(Value::String(name)) => word(name),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.map(word).collect::<Vec<_>>().join(" | ")
        }
        _ => String::new(),
    }
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_is_yaml_and_has_every_key_of_the_schema_in_its_order() {
        let text = manual();
        let document = Document::parse("manual", &text).unwrap_or_else(|problem| panic!("{problem:?}"));
        let mut missing = Vec::new();
        let mut seen = 0;
        fn walk(
            node: &Value,
            path: &mut Vec<String>,
            document: &Document,
            missing: &mut Vec<String>,
            seen: &mut usize,
        ) {
            let node = super::super::schema::resolve_in_written(node);
            for (key, below) in properties(node).into_iter().flatten() {
                path.push(key.clone());
                *seen += 1;
                let steps: Vec<&str> = path.iter().map(String::as_str).collect();
                if document.place_at(&steps).is_none() {
                    missing.push(path.join("."));
                }
                walk(below, path, document, missing, seen);
                path.pop();
            }
            if let Some(items) = node.get("items") {
                path.push("0".to_owned());
                walk(items, path, document, missing, seen);
                path.pop();
            }
            if let Some(more) = node.get("additionalProperties").filter(|more| more.is_object()) {
                path.push("<name>".to_owned());
                walk(more, path, document, missing, seen);
                path.pop();
            }
        }
        walk(
            super::super::schema::written(),
            &mut Vec::new(),
            &document,
            &mut missing,
            &mut seen,
        );
        assert_eq!(missing, Vec::<String>::new(), "{text}");
        assert!(seen > 150, "{seen}");
        // A few of each kind, as somebody reads them.
        for line in [
            "mode:                              # off | observe | link | enforce | false. off: nothing.",
            "  baseUrl:                         # text. Where its interface begins",
            "  inactive:                        # deactivate | keep. Default deactivate",
            "- name:                            # text. Unique within the target.",
            "    from:                          # text | list of text. Fields of the user",
            "    patch: ",
            "    clientCredentials: ",
        ] {
            assert!(text.lines().any(|own| own.starts_with(line)), "{line}\n{text}");
        }
        let at = |key: &str| text.lines().position(|line| line.starts_with(key));
        assert!(
            at("target:") < at("scope:") && at("scope:") < at("lifecycle:"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    }
}
