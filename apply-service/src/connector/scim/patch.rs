//! The operations of a PATCH (RFC 7644 section 3.5.2), in the encodings that deployed servers take.
//!
//! Operations are lower case (but for `capitalOperations`), names canonical, booleans boolean: the form that worked on every server that was tried.
//! Nothing is ever added to a multi-valued attribute: an added element is duplicated by some servers (observed on
//! scimmy 1.3.5), and a second work e-mail makes the next filtered replace hit both.

use serde_json::{Map, Value, json};

use super::{build, config::ScimConfig, path::Path, resource, schema::PATCH_OP};

/// How operations are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// One replace operation holding an object instead of a path per operation.
    pub(crate) pathless: bool,
    /// Multi-valued attributes are replaced as a whole instead of by value filter.
    pub(crate) whole_arrays: bool,
    /// Extension attributes go nested under their URN instead of by `URN:attr` path.
    pub(crate) nested_extension: bool,
}

impl Style {
    /// Whether the account must be read before these values can be encoded.
    pub(crate) fn needs_current(self, values: &[(Path, Value)]) -> bool {
        values
            .iter()
            .any(|(path, _)| self.replaces_whole(path) && (path.filter.is_some() || path.sub.is_some()))
    }

    /// `replace emails.value` without a condition would hit every e-mail.
    fn replaces_whole(self, path: &Path) -> bool {
        path.is_multi() && (self.pathless || self.whole_arrays || path.filter.is_none())
    }
}

/// The values that the account does not hold yet. Null, empty and absent are equal.
pub(crate) fn changes(values: &[(Path, Value)], current: &Value) -> Vec<(Path, Value)> {
    values
        .iter()
        .filter(|(path, value)| !resource::same(&resource::read(current, path).unwrap_or(Value::Null), value))
        .cloned()
        .collect()
}

/// The body of the PATCH; `None` when there is nothing to send. With `current` only real changes are encoded.
pub(crate) fn body(
    values: &[(Path, Value)],
    current: Option<&Value>,
    style: Style,
    config: &ScimConfig,
) -> Option<Value> {
    let values = current.map_or_else(|| values.to_vec(), |current| changes(values, current));
    let mut operations = Vec::new();
    let mut object = Value::Object(Map::new());
    let mut nested = Value::Object(Map::new());
    let mut whole: Vec<&Path> = Vec::new();
    for (path, value) in &values {
        if style.replaces_whole(path) {
            if !whole.iter().any(|done| done.attribute_name() == path.attribute_name()) {
                whole.push(path);
            }
        } else if resource::is_unassigned(value) {
            operations.push(json!({"op": "remove", "path": removal_path(path)}));
        } else if style.pathless {
            build::set(&mut object, path, value, config);
        } else if style.nested_extension && path.schema.is_some() {
            build::set(&mut nested, path, value, config);
        } else {
            operations.push(replace(path, value, config));
        }
    }
    for path in whole {
        let items = whole_array(path, &values, current, config);
        let attribute = Path {
            filter: None,
            sub: None,
            ..path.clone()
        };
        if items.is_empty() {
            operations.push(json!({"op": "remove", "path": attribute.to_string()}));
        } else if style.pathless {
            build::set(&mut object, &attribute, &Value::Array(items), config);
        } else {
            operations.push(json!({"op": "replace", "path": attribute.to_string(), "value": items}));
        }
    }
    for value in [nested, object] {
        if !resource::is_unassigned(&value) {
            operations.insert(0, json!({"op": "replace", "value": value}));
        }
    }
    if config.capital_operations {
        operations.iter_mut().for_each(capitalize);
    }
    (!operations.is_empty()).then(|| json!({"schemas": [PATCH_OP], "Operations": operations}))
}

/// `Replace` for `replace`: names of operations are the same in any case (RFC 7644 section 3.5.2), and some servers know one.
pub(crate) fn capitalize(operation: &mut Value) {
    let word = match operation["op"].as_str() {
        Some("add") => "Add",
        Some("remove") => "Remove",
        Some("replace") => "Replace",
        _ => return,
    };
    operation["op"] = json!(word);
}

fn replace(path: &Path, value: &Value, config: &ScimConfig) -> Value {
    if path.attribute == "manager" && path.sub.as_deref() == Some("value") {
        let manager = path.with_sub(None).to_string();
        let value = if build::is_bare_manager(path, config) {
            value.clone()
        } else {
            json!({ "value": value })
        };
        return json!({"op": "replace", "path": manager, "value": value});
    }
    json!({"op": "replace", "path": path.to_string(), "value": build::encode(path, value, config)})
}

/// An element without its value says nothing, so the element is removed; a manager likewise.
fn removal_path(path: &Path) -> String {
    let whole = path.sub.as_deref() == Some("value") && (path.filter.is_some() || path.attribute == "manager");
    if whole {
        path.with_sub(None).to_string()
    } else {
        path.to_string()
    }
}

fn whole_array(path: &Path, values: &[(Path, Value)], current: Option<&Value>, config: &ScimConfig) -> Vec<Value> {
    let mut copy = current.cloned().unwrap_or_else(|| json!({}));
    let same = |other: &Path| other.attribute_name() == path.attribute_name();
    for (path, value) in values.iter().filter(|(other, _)| same(other)) {
        build::set(&mut copy, path, value, config);
    }
    let attribute = Path {
        filter: None,
        sub: None,
        ..path.clone()
    };
    let mut items = match resource::read(&copy, &attribute) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    if config.primary_email && path.attribute == "emails" {
        build::mark_primary(&mut items);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
    const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
    const WORK: &str = r#"emails[type eq "work"].value"#;

    fn values(pairs: &[(&str, Value)]) -> Vec<(Path, Value)> {
        pairs
            .iter()
            .map(|(path, value)| (Path::parse(path, &Default::default()).unwrap(), value.clone()))
            .collect()
    }

    fn operations(pairs: &[(&str, Value)], current: Option<&Value>, style: Style) -> Value {
        body(&values(pairs), current, style, &ScimConfig::default()).map_or(Value::Null, |body| {
            assert_eq!(body["schemas"], json!([PATCH_OP]));
            body["Operations"].clone()
        })
    }

    #[test]
    fn each_path_is_one_operation() {
        let pairs = [
            ("active", json!(false)),
            ("name.givenName", json!("Ada")),
            ("title", Value::Null),
            (WORK, json!("a@b")),
            (r#"phoneNumbers[type eq "mobile"].value"#, Value::Null),
            (DEPARTMENT, json!("R")),
            (MANAGER, json!("9")),
            ("roles", json!("admin")),
        ];
        let sent = operations(&pairs, None, Style::default());
        let enterprise = DEPARTMENT.trim_end_matches(":department");
        assert_eq!(
            sent,
            json!([
                {"op": "replace", "path": "active", "value": false},
                {"op": "replace", "path": "name.givenName", "value": "Ada"},
                {"op": "remove", "path": "title"},
                {"op": "replace", "path": WORK, "value": "a@b"},
                {"op": "remove", "path": r#"phoneNumbers[type eq "mobile"]"#},
                {"op": "replace", "path": DEPARTMENT, "value": "R"},
                {"op": "replace", "path": format!("{enterprise}:manager"), "value": {"value": "9"}},
                {"op": "replace", "path": "roles", "value": [{"value": "admin"}]},
            ])
        );
        assert!(!Style::default().needs_current(&values(&pairs)));
    }

    #[test]
    fn a_pathless_replace_holds_an_object_and_removals_keep_their_paths() {
        let style = Style {
            pathless: true,
            ..Style::default()
        };
        let pairs = [
            ("active", json!(false)),
            ("name.givenName", json!("Ada")),
            ("title", Value::Null),
            (WORK, json!("new")),
            (DEPARTMENT, json!("R")),
        ];
        assert!(style.needs_current(&values(&pairs)));
        let current = json!({"title": "AE", "emails": [{"type": "home", "value": "h", "primary": true}]});
        let enterprise = DEPARTMENT.trim_end_matches(":department");
        assert_eq!(
            operations(&pairs, Some(&current), style),
            json!([
                {"op": "replace", "value": {"active": false, "name": {"givenName": "Ada"},
                    "emails": [{"type": "home", "value": "h", "primary": true}, {"type": "work", "value": "new"}],
                    enterprise: {"department": "R"}}},
                {"op": "remove", "path": "title"},
            ])
        );
    }

    #[test]
    fn a_refused_value_filter_becomes_a_whole_array() {
        let style = Style {
            whole_arrays: true,
            nested_extension: true,
            ..Style::default()
        };
        let current = json!({"active": true, "emails": [{"type": "home", "value": "h"}]});
        let enterprise = DEPARTMENT.trim_end_matches(":department");
        assert_eq!(
            operations(
                &[("active", json!(true)), (WORK, json!("w")), (DEPARTMENT, json!("R"))],
                Some(&current),
                style
            ),
            json!([
                {"op": "replace", "value": {enterprise: {"department": "R"}}},
                {"op": "replace", "path": "emails",
                 "value": [{"type": "home", "value": "h"}, {"type": "work", "value": "w", "primary": true}]},
            ])
        );
        let only_work = json!({"emails": [{"type": "work", "value": "w"}]});
        assert_eq!(
            operations(&[(WORK, Value::Null)], Some(&only_work), style),
            json!([{"op": "remove", "path": "emails"}])
        );
    }

    #[test]
    fn an_unconditional_part_of_a_list_never_hits_every_element() {
        let pairs = [("emails.value", json!("new"))];
        assert!(Style::default().needs_current(&values(&pairs)));
        let current = json!({"emails": [{"value": "old", "primary": true}, {"value": "other"}]});
        assert_eq!(
            operations(&pairs, Some(&current), Style::default()),
            json!([{"op": "replace", "path": "emails", "value": [{"value": "new", "primary": true}, {"value": "other"}]}])
        );
    }

    #[test]
    fn what_the_account_holds_already_is_not_sent() {
        let current = json!({"active": "True", "title": null, "emails": [{"type": "work", "value": "w"}]});
        let pairs = [
            ("active", json!(true)),
            ("title", Value::Null),
            ("nickName", Value::Null),
            (WORK, json!("w")),
        ];
        assert_eq!(operations(&pairs, Some(&current), Style::default()), Value::Null);
    }
}
