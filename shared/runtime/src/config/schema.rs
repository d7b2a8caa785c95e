//! The JSON Schema of a configuration file, from its commented defaults: for editors.

use serde_json::{Map, Value, json};

use crate::yaml::Document;

/// Every key of the defaults with its type, its default and its comment. Keys whose default is null may be anything.
///
/// # Panics
/// When the defaults, which are compiled in, are no YAML.
#[must_use]
pub fn schema(defaults: &str, title: &str) -> Value {
    let document = Document::parse("built-in defaults", defaults).expect("**Invariant**: every start reads them");
    let mut schema = node(&document, defaults, &document.value(), &mut Vec::new());
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

fn node(document: &Document, text: &str, value: &Value, path: &mut Vec<String>) -> Value {
    let mut schema = match value {
        // Names of somebody's own choice: what stands below is a matter of the loader.
        Value::Object(map) if map.is_empty() => json!({ "type": "object" }),
        Value::Object(map) => {
            let mut properties = Map::new();
            for (key, below) in map {
                path.push(key.clone());
                properties.insert(key.clone(), node(document, text, below, path));
                path.pop();
            }
            json!({ "type": "object", "additionalProperties": false, "properties": properties })
        }
        Value::Array(_) => json!({ "type": "array", "default": value }),
        Value::Bool(_) => json!({ "type": "boolean", "default": value }),
        Value::Number(number) if number.is_u64() || number.is_i64() => json!({ "type": "integer", "default": value }),
        Value::Number(_) => json!({ "type": "number", "default": value }),
        Value::String(_) => json!({ "type": "string", "default": value }),
        Value::Null => json!({}),
    };
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    let line = document
        .place_at(&steps)
        .and_then(|place| usize::try_from(place.line).ok());
    if let Some(words) = line.filter(|_| !path.is_empty()).and_then(|line| comment(text, line)) {
        schema["description"] = json!(words);
    }
    schema
}

/// The comment of a line (counted from 1): at its end, else the comment lines right above it.
fn comment(text: &str, line: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let own = lines.get(line.checked_sub(1)?)?;
    if let Some((_, words)) = own.split_once(" # ") {
        return Some(words.trim().to_owned());
    }
    let above: Vec<&str> = lines[..line - 1]
        .iter()
        .rev()
        .map_while(|line| line.trim_start().strip_prefix('#'))
        .map(str::trim)
        .collect();
    let words: Vec<&str> = above.into_iter().rev().filter(|words| !words.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_type_default_and_comment() {
        let defaults = "# The broker.\nkafka:\n  servers: 'a:1'   # where\n  # Copies of each record.\n  # At least 1.\n  \
                        replicas: 3\n  tls: null\n";
        let schema = schema(defaults, "Title");
        let kafka = &schema["properties"]["kafka"];
        assert_eq!(kafka["description"], "The broker.");
        assert_eq!(kafka["additionalProperties"], false);
        let expected = json!({
            "servers": { "type": "string", "default": "a:1", "description": "where" },
            "replicas": { "type": "integer", "default": 3, "description": "Copies of each record. At least 1." },
            "tls": {},
        });
        assert_eq!(kafka["properties"], expected);
    }
}
