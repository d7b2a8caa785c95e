//! Reading a resource: values by path, and the account it describes.
//!
//! Lenient where RFC 7643 is or servers are: attribute names in any case, null, `[]` and absence all unassigned
//! (section 2.5), "True" for true, extensions nested under their URN or flat as `URN:attr`, bare strings where an
//! object with `value` belongs. An empty string is a value: servers store it (observed on scim2-server 0.8.3).

use serde_json::{Map, Value};

use super::path::Path;
use crate::logic::account::{RemoteAccount, RemoteId};

/// A member of an object by name in any case.
pub(crate) fn get<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let map = object.as_object()?;
    map.get(name).or_else(|| {
        map.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// The key under which an object holds a name in any case.
pub(crate) fn key_of(map: &Map<String, Value>, name: &str) -> Option<String> {
    if map.contains_key(name) {
        return Some(name.to_owned());
    }
    map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()
}

/// null, `[]` and `{}` mean the same as absence.
pub(crate) fn is_unassigned(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A boolean, or text that means one.
pub(crate) fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Whether two values mean the same for comparing what is wanted with what is there.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    (is_unassigned(left) && is_unassigned(right)) || left == right
}

/// The value at a path: `None` when the resource does not show the attribute, null when it shows it empty.
/// Of several elements the primary one counts, else the first.
pub(crate) fn read(resource: &Value, path: &Path) -> Option<Value> {
    let held = container(resource, path)?;
    if !path.is_multi() {
        return match &path.sub {
            None => Some(tidy(path, held)),
            Some(sub) if held.is_object() => get(held, sub).map(|value| tidy(path, value)),
            Some(sub) if sub == "value" || held.is_null() => Some(tidy(path, held)),
            Some(_) => None,
        };
    }
    if path.filter.is_none() && path.sub.is_none() {
        return Some(tidy(path, held));
    }
    let chosen = elements_of(held, path, false)
        .into_iter()
        .max_by_key(|item| is_primary(item));
    Some(
        chosen
            .and_then(|item| field(item, path))
            .map_or(Value::Null, |value| tidy(path, value)),
    )
}

/// Every value at a path, for judging a hit of a look-up. Elements that do not show the field of the condition count
/// too: a server that keeps one e-mail without `type` still has that e-mail.
pub(crate) fn read_all<'a>(resource: &'a Value, path: &Path) -> Vec<&'a Value> {
    let Some(held) = container(resource, path) else {
        return Vec::new();
    };
    if path.is_multi() {
        return elements_of(held, path, true)
            .into_iter()
            .filter_map(|item| field(item, path))
            .collect();
    }
    match (&path.sub, held) {
        (Some(sub), Value::Object(_)) => get(held, sub).into_iter().collect(),
        (None, _) => vec![held],
        (Some(_), _) => Vec::new(),
    }
}

/// Whether one of the values at a path is this text, by the case rule of the attribute.
pub(crate) fn holds(resource: &Value, path: &Path, wanted: &str) -> bool {
    read_all(resource, path).iter().any(|value| match value {
        Value::String(text) if path.is_case_exact() => text == wanted,
        Value::String(text) => text.to_lowercase() == wanted.to_lowercase(),
        Value::Number(number) => number.to_string() == wanted,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    })
}

/// The positions of the elements that a path means.
pub(crate) fn matching(items: &[Value], path: &Path) -> Vec<usize> {
    let holds = |item: &Value| path.filter.as_ref().is_none_or(|filter| filter.matches(item));
    items
        .iter()
        .enumerate()
        .filter(|(_, item)| holds(item))
        .map(|(index, _)| index)
        .collect()
}

/// Whether an element is marked primary.
pub(crate) fn is_primary(item: &Value) -> bool {
    get(item, "primary").and_then(as_bool).unwrap_or(false)
}

/// The version of a resource: `meta.version`, else the ETag header (RFC 7644 section 3.14: they are the same).
pub(crate) fn version(resource: &Value, etag_header: Option<&str>) -> Option<String> {
    let version = get(resource, "meta").and_then(|meta| get(meta, "version"));
    version.and_then(Value::as_str).or(etag_header).map(str::to_owned)
}

/// The account that a resource describes; `None` when it has no id.
pub(crate) fn account(resource: Value, etag_header: Option<&str>, versions: bool) -> Option<RemoteAccount> {
    let id = match get(&resource, "id")? {
        Value::String(id) if !id.is_empty() => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    let text = |name: &str| get(&resource, name).and_then(Value::as_str).map(str::to_owned);
    let etag = version(&resource, etag_header).filter(|_| versions);
    Some(RemoteAccount {
        id: RemoteId(id),
        external_id: text("externalId").filter(|value| !value.is_empty()),
        user_name: text("userName"),
        active: get(&resource, "active").and_then(as_bool),
        etag,
        resource,
    })
}

fn container<'a>(resource: &'a Value, path: &Path) -> Option<&'a Value> {
    match &path.schema {
        None => get(resource, &path.attribute),
        Some(urn) => get(resource, urn)
            .and_then(|extension| get(extension, &path.attribute))
            .or_else(|| get(resource, &path.attribute_name())),
    }
}

fn elements_of<'a>(held: &'a Value, path: &Path, lenient: bool) -> Vec<&'a Value> {
    let items: Vec<&Value> = match held {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        single => vec![single],
    };
    let template = path.template();
    items
        .into_iter()
        .filter(|item| {
            let meant = path.filter.as_ref().is_none_or(|filter| filter.matches(item));
            let silent = || !template.is_empty() && template.iter().all(|(name, _)| get(item, name).is_none());
            meant || (lenient && silent())
        })
        .collect()
}

fn field<'a>(item: &'a Value, path: &Path) -> Option<&'a Value> {
    match (&path.sub, item) {
        (None, Value::Object(_)) => get(item, "value").or(Some(item)),
        (Some(sub), Value::Object(_)) => get(item, sub),
        (None, bare) => Some(bare),
        (Some(sub), bare) if sub == "value" => Some(bare),
        (Some(_), _) => None,
    }
}

fn tidy(path: &Path, value: &Value) -> Value {
    if is_unassigned(value) {
        return Value::Null;
    }
    match as_bool(value) {
        Some(flag) if path.is_boolean() => Value::Bool(flag),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text, &Default::default()).unwrap()
    }

    fn ada() -> Value {
        json!({"schemas": [], "ID": "7", "externalId": "005", "USERNAME": "Ada", "active": "False", "title": "",
            "name": {"givenname": "Ada"}, "nickName": null, "roles": [],
            "emails": [{"type": "home", "value": "a@home"}, {"type": "WORK", "value": "a@acme", "primary": "True"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "R", "manager": "9"},
            "meta": {"version": "W/\"3\""}})
    }

    #[test]
    fn values_are_read_by_path() {
        const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        for (text, value) in [
            ("userName", Some(json!("Ada"))),
            ("active", Some(json!(false))),
            ("title", Some(json!(""))),
            ("nickName", Some(Value::Null)),
            ("displayName", None),
            ("name.givenName", Some(json!("Ada"))),
            ("name.familyName", None),
            (r#"emails[type eq "work"].value"#, Some(json!("a@acme"))),
            (r#"emails[type eq "work"].primary"#, Some(json!(true))),
            (r#"emails[type eq "other"].value"#, Some(Value::Null)),
            ("emails.value", Some(json!("a@acme"))),
            ("roles.value", Some(Value::Null)),
            ("phoneNumbers.value", None),
            (&format!("{ENTERPRISE}:department"), Some(json!("R"))),
            (&format!("{ENTERPRISE}:manager"), Some(json!("9"))),
            (&format!("{ENTERPRISE}:costCenter"), None),
        ] {
            assert_eq!(read(&ada(), &path(text)), value, "{text}");
        }
    }

    #[test]
    fn flat_extension_keys_are_read_as_well() {
        let text = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
        assert_eq!(read(&json!({text: "R"}), &path(text)), Some(json!("R")));
    }

    #[test]
    fn a_hit_is_judged_by_the_case_rule_of_its_attribute() {
        for (text, wanted, hit) in [
            ("userName", "ADA", true),
            ("externalId", "005", true),
            ("externalId", "005A", false),
            ("emails.value", "A@Home", true),
            (r#"emails[type eq "work"].value"#, "a@home", false),
            (r#"emails[type eq "work"].value"#, "a@acme", true),
        ] {
            assert_eq!(holds(&ada(), &path(text), wanted), hit, "{text} {wanted}");
        }
        let untyped = json!({"emails": [{"value": "a@acme"}]});
        assert!(holds(&untyped, &path(r#"emails[type eq "work"].value"#), "a@acme"));
        assert!(
            !holds(&json!({"externalId": "005a"}), &path("externalId"), "005A"),
            "externalId is caseExact"
        );
    }

    #[test]
    fn an_account_needs_an_id_and_shows_versions_only_where_they_count() {
        let account = account(ada(), None, true).unwrap();
        assert_eq!(account.id.0, "7");
        assert_eq!(account.active, Some(false));
        assert_eq!(account.external_id.as_deref(), Some("005"));
        assert_eq!(account.etag.as_deref(), Some("W/\"3\""));
        assert_eq!(super::account(ada(), Some("x"), false).unwrap().etag, None);
        assert_eq!(
            super::account(json!({"id": 12345678901_u64}), Some("x"), true)
                .unwrap()
                .etag
                .as_deref(),
            Some("x")
        );
        assert_eq!(super::account(json!({"id": ""}), None, true), None);
    }
}
