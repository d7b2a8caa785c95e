//! The stored form of a resource: canonical names, checked types, nothing that says "unassigned".
//!
//! Clients may write names in any case, nulls and empty lists; what is stored is one canonical form, so that equality, PATCH and
//! filters need no second thought. Left out: `id` and `meta`, which the store assigns.

use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::schema::{Attribute, Extension, Kind, Mutability, ResourceType, find};

/// The body of a POST or PUT as it is stored. Read-only attributes are ignored (RFC 7644 section 3.3).
pub(crate) fn from_body(kind: &'static ResourceType, body: &Value) -> Result<Map<String, Value>, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax("the body is not an object"));
    };
    check_schemas(kind, body)?;
    let mut resource = Map::new();
    for (name, value) in body {
        if name.eq_ignore_ascii_case("schemas") {
            continue;
        }
        if let Some(extension) = extension_named(kind, name) {
            if let Some(value) = canonical_extension(extension, value)? {
                resource.insert(extension.urn.to_owned(), value);
            }
            continue;
        }
        let Some(attribute) = kind.attribute(name) else {
            return Err(ScimError::invalid_syntax(format!("no attribute {name:?}")));
        };
        if attribute.mutability == Mutability::ReadOnly {
            continue;
        }
        if let Some(value) = canonical(attribute, value)? {
            resource.insert(attribute.name.to_owned(), value);
        }
    }
    check_complete(kind, &resource)?;
    Ok(resource)
}

fn check_schemas(kind: &'static ResourceType, body: &Map<String, Value>) -> Result<(), ScimError> {
    let listed: Vec<&str> = body
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("schemas"))
        .and_then(|(_, value)| value.as_array())
        .map(|urns| urns.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let lists = |urn: &str| listed.iter().any(|listed| listed.eq_ignore_ascii_case(urn));
    if !lists(kind.urn) {
        return Err(ScimError::invalid_syntax(format!("schemas must list {}", kind.urn)));
    }
    for name in body.keys() {
        if let Some(extension) = extension_named(kind, name)
            && !lists(extension.urn)
        {
            return Err(ScimError::invalid_syntax(format!(
                "schemas must list {}",
                extension.urn
            )));
        }
    }
    Ok(())
}

/// Required attributes are there, and at most one element per list is primary.
pub(crate) fn check_complete(kind: &ResourceType, resource: &Map<String, Value>) -> Result<(), ScimError> {
    for attribute in kind.attributes {
        let value = resource.get(attribute.name);
        let blank = value.is_none_or(|value| value.as_str() == Some(""));
        if attribute.required && blank {
            return Err(ScimError::invalid_value(format!("{} is required", attribute.name)));
        }
        let primaries = value
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|element| element["primary"] == Value::Bool(true))
            .count();
        if primaries > 1 {
            return Err(ScimError::invalid_value(format!(
                "more than one element of {} is primary",
                attribute.name
            )));
        }
    }
    Ok(())
}

pub(crate) fn extension_named(kind: &'static ResourceType, name: &str) -> Option<&'static Extension> {
    kind.extensions
        .iter()
        .find(|extension| extension.urn.eq_ignore_ascii_case(name))
}

/// The stored form of an extension's object; `None` means unassigned.
pub(crate) fn canonical_extension(extension: &'static Extension, value: &Value) -> Result<Option<Value>, ScimError> {
    // Clients that describe resources by classes list the schemas of each of them, this one included (scim2-tester 0.5.2).
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("schemas");
    }
    canonical_object(extension.urn, extension.attributes, &value)
}

/// The stored form of one attribute's value; `None` means unassigned: null, an empty list and absence are the same.
pub(crate) fn canonical(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    if value.is_null() {
        return Ok(None);
    }
    if !attribute.multi {
        return canonical_single(attribute, value);
    }
    let Value::Array(items) = value else {
        return Err(ScimError::invalid_value(format!("{} is a list", attribute.name)));
    };
    let mut elements = Vec::with_capacity(items.len());
    for item in items {
        if let Some(element) = canonical_single(attribute, item)? {
            elements.push(element);
        }
    }
    Ok((!elements.is_empty()).then_some(Value::Array(elements)))
}

/// As [`canonical`] for one element of a list, or for a single value.
pub(crate) fn canonical_single(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    let wrong = |what: &str| Err(ScimError::invalid_value(format!("{} must be {what}", attribute.name)));
    match attribute.kind {
        _ if value.is_null() => Ok(None),
        Kind::Text | Kind::DateTime if !value.is_string() => wrong("a text"),
        Kind::Boolean if !value.is_boolean() => wrong("true or false"),
        Kind::Text | Kind::DateTime | Kind::Boolean => Ok(Some(value.clone())),
        Kind::Complex(parts) => canonical_object(attribute.name, parts, value),
    }
}

fn canonical_object(name: &str, parts: &'static [Attribute], value: &Value) -> Result<Option<Value>, ScimError> {
    if value.is_null() {
        return Ok(None);
    }
    let Value::Object(given) = value else {
        return Err(ScimError::invalid_value(format!("{name} must be an object")));
    };
    let mut object = Map::new();
    for (part, value) in given {
        let Some(attribute) = find(parts, part) else {
            return Err(ScimError::invalid_syntax(format!("no attribute {part:?} in {name}")));
        };
        if attribute.mutability == Mutability::ReadOnly {
            continue;
        }
        if let Some(value) = canonical(attribute, value)? {
            object.insert(attribute.name.to_owned(), value);
        }
    }
    Ok((!object.is_empty()).then_some(Value::Object(object)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{ENTERPRISE_URN, USER};

    fn user(mut body: Value) -> Result<Value, ScimError> {
        body["schemas"] = json!([USER.urn, ENTERPRISE_URN]);
        from_body(&USER, &body).map(Value::Object)
    }

    #[test]
    fn names_become_canonical_and_unassigned_values_vanish() {
        let stored = user(json!({
            "USERNAME": "ada", "title": null, "emails": [], "name": {"FamilyName": "Byron", "givenName": null},
            "displayName": "", "id": "mine", "groups": [{"value": "x"}],
        }));
        let expected = json!({"userName": "ada", "name": {"familyName": "Byron"}, "displayName": ""});
        assert_eq!(stored, Ok(expected));
    }

    #[test]
    fn wrong_types_and_unknown_names_are_refused() {
        for (body, scim_type) in [
            (json!({}), "invalidValue"),
            (json!({"userName": ""}), "invalidValue"),
            (json!({"userName": 7}), "invalidValue"),
            (json!({"userName": "a", "active": "True"}), "invalidValue"),
            (json!({"userName": "a", "emails": {"value": "x"}}), "invalidValue"),
            (json!({"userName": "a", "shoeSize": 44}), "invalidSyntax"),
            (json!({"userName": "a", "name": {"nick": "x"}}), "invalidSyntax"),
            (
                json!({"userName": "a", ENTERPRISE_URN: {"manager": "m1"}}),
                "invalidValue",
            ),
            (
                json!({"userName": "a", "emails": [{"value": "x", "primary": true}, {"value": "y", "primary": true}]}),
                "invalidValue",
            ),
        ] {
            let error = user(body.clone()).expect_err(&body.to_string());
            assert_eq!(error.scim_type, Some(scim_type), "{body}");
        }
    }

    #[test]
    fn every_used_schema_must_be_listed() {
        let nothing = from_body(&USER, &json!({"userName": "a"}));
        assert!(nothing.is_err());
        let body = json!({"schemas": [USER.urn], "userName": "a", ENTERPRISE_URN: {"department": "x"}});
        assert!(from_body(&USER, &body).is_err());
    }
}
