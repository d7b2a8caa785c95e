//! Writing into a resource: nested JSON from flat values, for a create, a PUT and whole-array replacements.
//!
//! `set` works on an empty object and on the target's own representation alike, so creating and read-modify-write
//! cannot differ. Nothing unassigned is ever sent (RFC 7643 section 2.5).

use serde_json::{Map, Value, json};

use super::{
    config::ScimConfig,
    path::Path,
    resource,
    schema::{self, CORE_USER, Shape},
};

/// The body of a create (RFC 7644 section 3.3).
pub(crate) fn create(values: &[(Path, Value)], config: &ScimConfig) -> Value {
    let mut body = Value::Object(Map::new());
    for (path, value) in values.iter().filter(|(_, value)| !resource::is_unassigned(value)) {
        set(&mut body, path, value, config);
    }
    finish(&mut body, config);
    body
}

/// The body of a PUT (RFC 7644 section 3.5.1): the full representation with our values over it, without what the
/// target keeps itself. What is left out may be cleared, so nothing else is left out.
pub(crate) fn replacement(current: &Value, values: &[(Path, Value)], config: &ScimConfig) -> Value {
    let mut body = current.clone();
    for (path, value) in values {
        set(&mut body, path, value, config);
    }
    if let Some(map) = body.as_object_mut() {
        for name in ["id", "meta", "groups", "password"] {
            if let Some(key) = resource::key_of(map, name) {
                map.remove(&key);
            }
        }
        for (_, extension) in map.iter_mut().filter(|(key, _)| key.starts_with("urn:")) {
            // The manager's name and reference are the target's own (RFC 7643 section 4.3).
            if let Some(manager) = extension.get_mut("manager").and_then(Value::as_object_mut) {
                manager.remove("displayName");
                manager.remove("$ref");
            }
        }
    }
    finish(&mut body, config);
    body
}

/// Sets or, with null, clears one value in a resource.
pub(crate) fn set(body: &mut Value, path: &Path, value: &Value, config: &ScimConfig) {
    let clear = resource::is_unassigned(value);
    let Some(mut holder) = body.as_object_mut() else {
        return;
    };
    if let Some(urn) = &path.schema {
        let key = resource::key_of(holder, urn).unwrap_or_else(|| urn.clone());
        if clear && !holder.contains_key(&key) {
            return;
        }
        let extension = holder.entry(key).or_insert_with(|| json!({}));
        if !extension.is_object() {
            *extension = json!({});
        }
        let Some(inner) = extension.as_object_mut() else {
            return;
        };
        holder = inner;
    }
    let key = resource::key_of(holder, &path.attribute).unwrap_or_else(|| path.attribute.clone());
    if path.is_multi() {
        let mut items = match holder.remove(&key) {
            Some(Value::Array(items)) => items,
            Some(Value::Null) | None => Vec::new(),
            Some(single) => vec![single],
        };
        set_element(&mut items, path, value, clear);
        if !items.is_empty() {
            holder.insert(key, Value::Array(items));
        }
        return;
    }
    match &path.sub {
        None if clear => {
            holder.remove(&key);
        }
        None => {
            holder.insert(key, encode(path, value, config));
        }
        Some(_) if is_bare_manager(path, config) => {
            if clear {
                holder.remove(&key)
            } else {
                holder.insert(key, value.clone())
            };
        }
        Some(sub) => {
            let complex = holder.entry(key.clone()).or_insert_with(|| json!({}));
            if !complex.is_object() {
                *complex = json!({});
            }
            let Some(members) = complex.as_object_mut() else {
                return;
            };
            let sub = resource::key_of(members, sub).unwrap_or_else(|| sub.clone());
            if clear {
                members.remove(&sub)
            } else {
                members.insert(sub, value.clone())
            };
            if members.is_empty() || (clear && path.attribute == "manager") {
                holder.remove(&key);
            }
        }
    }
}

/// A value as this target wants it.
pub(crate) fn encode(path: &Path, value: &Value, config: &ScimConfig) -> Value {
    match value {
        Value::Bool(flag) if config.active_as_string && path.attribute == "active" => {
            json!(if *flag { "True" } else { "False" })
        }
        other => other.clone(),
    }
}

/// Whether this is the manager of a target that wants it as bare text.
pub(crate) fn is_bare_manager(path: &Path, config: &ScimConfig) -> bool {
    config.manager_as_string && path.attribute == "manager" && path.schema.is_some()
}

/// Marks the work e-mail as primary when no e-mail is: servers that demand a primary one refuse the account
/// otherwise (seen: AWS), and at most one may be (RFC 7643 section 2.4).
pub(crate) fn mark_primary(items: &mut [Value]) {
    if items.iter().any(resource::is_primary) {
        return;
    }
    let is_work = |item: &Value| {
        resource::get(item, "type")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("work"))
    };
    let chosen = items.iter().position(is_work).or((items.len() == 1).then_some(0));
    if let Some(map) = chosen.and_then(|index| items[index].as_object_mut()) {
        if let Some(key) = resource::key_of(map, "primary") {
            map.remove(&key);
        }
        map.insert("primary".to_owned(), Value::Bool(true));
    }
}

fn set_element(items: &mut Vec<Value>, path: &Path, value: &Value, clear: bool) {
    if path.filter.is_none() && path.sub.is_none() {
        *items = if clear { Vec::new() } else { as_elements(path, value) };
        return;
    }
    let positions = resource::matching(items, path);
    let field = path.sub.as_deref().unwrap_or("value");
    if clear {
        // An element without its value says nothing, so it goes as a whole.
        if field == "value" {
            for position in positions.into_iter().rev() {
                items.remove(position);
            }
        } else {
            for position in positions {
                if let Some(map) = items[position].as_object_mut()
                    && let Some(key) = resource::key_of(map, field)
                {
                    map.remove(&key);
                }
            }
        }
        return;
    }
    // The element that `resource::read` shows is the one that is written.
    let position = positions
        .into_iter()
        .max_by_key(|position| (resource::is_primary(&items[*position]), std::cmp::Reverse(*position)));
    let position = position.unwrap_or_else(|| {
        items.push(Value::Object(path.template().into_iter().collect()));
        items.len() - 1
    });
    let item = &mut items[position];
    if !item.is_object() {
        *item = json!({ "value": item.clone() });
    }
    if let Some(map) = item.as_object_mut() {
        match value {
            Value::Object(members) if path.sub.is_none() => map.extend(members.clone()),
            _ => {
                let key = resource::key_of(map, field).unwrap_or_else(|| field.to_owned());
                map.insert(key, value.clone());
            }
        }
    }
}

/// `roles: "x"` and `roles: ["x", "y"]` become elements with `value`; objects are taken as they are.
fn as_elements(path: &Path, value: &Value) -> Vec<Value> {
    let known = schema::attribute(path.schema.as_deref(), &path.attribute);
    let wrap = known.is_some_and(|found| matches!(found.shape, Shape::Multi(_)));
    let items = match value {
        Value::Array(items) => items.clone(),
        single => vec![single.clone()],
    };
    items
        .into_iter()
        .map(|item| {
            if wrap && !item.is_object() {
                json!({ "value": item })
            } else {
                item
            }
        })
        .collect()
}

fn finish(body: &mut Value, config: &ScimConfig) {
    prune(body);
    let Some(map) = body.as_object_mut() else {
        return;
    };
    if config.primary_email
        && let Some(key) = resource::key_of(map, "emails")
        && let Some(emails) = map.get_mut(&key).and_then(Value::as_array_mut)
    {
        mark_primary(emails);
    }
    let mut schemas = vec![CORE_USER.to_owned()];
    schemas.extend(
        map.keys()
            .filter(|key| key.to_ascii_lowercase().starts_with("urn:"))
            .cloned(),
    );
    if let Some(old) = resource::key_of(map, "schemas") {
        map.remove(&old);
    }
    map.insert("schemas".to_owned(), json!(schemas));
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !resource::is_unassigned(member));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(prune);
            items.retain(|item| !resource::is_unassigned(item));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn values(pairs: &[(&str, Value)]) -> Vec<(Path, Value)> {
        pairs
            .iter()
            .map(|(path, value)| (Path::parse(path, &Default::default()).unwrap(), value.clone()))
            .collect()
    }

    #[test]
    fn flat_values_become_one_nested_account() {
        let body = create(
            &values(&[
                ("userName", json!("ada")),
                ("active", json!(true)),
                ("name.givenName", json!("Ada")),
                ("name.familyName", json!("Byron")),
                ("title", Value::Null),
                ("nickName", json!([])),
                (r#"emails[type eq "work"].value"#, json!("ada@acme")),
                (r#"emails[type eq "home"].value"#, json!("ada@home")),
                (r#"phoneNumbers[type eq "mobile"].value"#, Value::Null),
                ("roles", json!(["admin"])),
                (&format!("{ENTERPRISE}:department"), json!("R")),
                (&format!("{ENTERPRISE}:manager"), json!("9")),
            ]),
            &ScimConfig::default(),
        );
        assert_eq!(
            body,
            json!({"schemas": [CORE_USER, ENTERPRISE], "userName": "ada", "active": true,
                "name": {"givenName": "Ada", "familyName": "Byron"}, "roles": [{"value": "admin"}],
                "emails": [{"type": "work", "value": "ada@acme", "primary": true}, {"type": "home", "value": "ada@home"}],
                ENTERPRISE: {"department": "R", "manager": {"value": "9"}}})
        );
    }

    #[test]
    fn a_dialect_changes_how_values_look() {
        let config = ScimConfig {
            active_as_string: true,
            manager_as_string: true,
            primary_email: false,
            ..ScimConfig::default()
        };
        let body = create(
            &values(&[
                ("active", json!(false)),
                ("emails.value", json!("a@b")),
                (&format!("{ENTERPRISE}:manager"), json!("9")),
            ]),
            &config,
        );
        assert_eq!(body["active"], "False");
        assert_eq!(body["emails"], json!([{"value": "a@b"}]));
        assert_eq!(body[ENTERPRISE]["manager"], "9");
    }

    #[test]
    fn a_replacement_keeps_everything_that_is_not_ours() {
        let current = json!({"id": "7", "meta": {"version": "1"}, "groups": [{"value": "g"}], "schemas": [CORE_USER],
            "UserName": "ada", "active": true, "nickName": "A", "title": "AE", "Password": "shown by a careless server",
            "emails": [{"type": "home", "value": "h", "primary": true}, {"type": "work", "value": "old", "display": "d"}],
            ENTERPRISE: {"department": "R", "manager": {"value": "9", "displayName": "Boss", "$ref": "../9"}}});
        let body = replacement(
            &current,
            &values(&[
                ("userName", json!("ada2")),
                ("title", Value::Null),
                (r#"emails[type eq "work"].value"#, json!("new")),
                (&format!("{ENTERPRISE}:department"), Value::Null),
            ]),
            &ScimConfig::default(),
        );
        assert_eq!(
            body,
            json!({"schemas": [CORE_USER, ENTERPRISE], "UserName": "ada2", "active": true, "nickName": "A",
                "emails": [{"type": "home", "value": "h", "primary": true}, {"type": "work", "value": "new", "display": "d"}],
                ENTERPRISE: {"manager": {"value": "9"}}})
        );
    }

    #[test]
    fn clearing_removes_the_element_that_held_the_value() {
        let mut body = json!({"emails": [{"type": "work", "value": "w"}], "name": {"givenName": "A"}});
        for (path, value) in values(&[
            (r#"emails[type eq "work"].value"#, Value::Null),
            ("name.givenName", Value::Null),
            (&format!("{ENTERPRISE}:department"), Value::Null),
        ]) {
            set(&mut body, &path, &value, &ScimConfig::default());
        }
        assert_eq!(body, json!({}));
    }

    #[test]
    fn what_was_set_is_what_is_read() {
        for (path, value) in values(&[
            (r#"emails[type eq "work"].value"#, json!("w")),
            (r#"addresses[type eq "work"].locality"#, json!("London")),
            ("emails.value", json!("w")),
            ("name.givenName", json!("Ada")),
            (&format!("{ENTERPRISE}:manager"), json!("9")),
        ]) {
            for mut body in [
                json!({}),
                json!({"emails": [{"type": "work", "value": "x"}, {"type": "work", "value": "y", "primary": true}]}),
            ] {
                set(&mut body, &path, &value, &ScimConfig::default());
                assert_eq!(resource::read(&body, &path), Some(value.clone()), "{path}");
            }
        }
    }
}
