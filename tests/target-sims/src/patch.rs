//! PATCH (RFC 7644 section 3.5.2): operations on a copy, so that one bad operation changes nothing.
//!
//! Strict where the RFC is silent, because a client that satisfies a strict server satisfies the others: a value filter that finds
//! no element is noTarget for `add` too, dotted names in a path-less value are refused, `remove` takes no value.

use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::filter::{Filter, Parser, matches};
use crate::path::{AttributePath, Scope};
use crate::resource::{canonical, canonical_extension, canonical_single, check_complete, extension_named};
use crate::schema::{Attribute, Extension, Mutability, ResourceType};

const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// Where an operation acts.
enum Target {
    Extension(&'static Extension),
    Attribute(AttributePath),
    Elements {
        list: AttributePath,
        filter: Filter,
        part: Option<&'static Attribute>,
    },
}

/// The resource after all operations, or the first error.
pub(crate) fn apply(
    kind: &'static ResourceType,
    resource: &Map<String, Value>,
    body: &Value,
    makes_elements: bool,
) -> Result<Map<String, Value>, ScimError> {
    let listed = body["schemas"].as_array().into_iter().flatten();
    if !listed.into_iter().any(|urn| urn == PATCH_SCHEMA) {
        return Err(ScimError::invalid_syntax(format!("schemas must list {PATCH_SCHEMA}")));
    }
    let operations = match body["Operations"].as_array() {
        Some(operations) if !operations.is_empty() => operations,
        _ => {
            return Err(ScimError::invalid_syntax("Operations must be a list with content"));
        }
    };
    let mut changed = resource.clone();
    for operation in operations {
        match apply_one(kind, &mut changed, operation) {
            Err(error) if makes_elements && error.scim_type == Some("noTarget") => {
                make_element(kind, &mut changed, operation)?;
            }
            done => done?,
        }
    }
    check_complete(kind, &changed)?;
    Ok(changed)
}

/// What servers tuned to Entra ID do with `emails[type eq "work"].value` where there is no work e-mail: an element with both.
fn make_element(
    kind: &'static ResourceType,
    resource: &mut Map<String, Value>,
    operation: &Value,
) -> Result<(), ScimError> {
    let target = parse_target(kind, operation["path"].as_str().unwrap_or_default())?;
    let Target::Elements {
        list,
        filter: Filter::Compare { path, value, .. },
        part: Some(part),
    } = &target
    else {
        return Err(ScimError::no_target("no element matches"));
    };
    let element = serde_json::json!({path.attribute.name: value, part.name: operation["value"]});
    let whole = Target::Attribute(*list);
    act(resource, Verb::Add, &whole, &element)
}

fn apply_one(
    kind: &'static ResourceType,
    resource: &mut Map<String, Value>,
    operation: &Value,
) -> Result<(), ScimError> {
    let verb = match operation["op"].as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("add") => Verb::Add,
        Some("replace") => Verb::Replace,
        Some("remove") => Verb::Remove,
        _ => {
            return Err(ScimError::invalid_syntax("op must be add, replace or remove"));
        }
    };
    let value = operation.get("value");
    match (verb, operation.get("path")) {
        (Verb::Remove, None) => Err(ScimError::no_target("remove needs a path")),
        (Verb::Remove, Some(_)) if value.is_some() => Err(ScimError::invalid_value(
            "remove takes no value; use a value filter in the path",
        )),
        (_, None) => path_less(kind, resource, verb, value),
        (_, Some(Value::String(path))) => {
            let target = parse_target(kind, path)?;
            let value = match verb {
                Verb::Remove => &Value::Null,
                Verb::Add | Verb::Replace => {
                    value.ok_or_else(|| ScimError::invalid_value("the operation needs a value"))?
                }
            };
            act(resource, verb, &target, value)
        }
        (_, Some(_)) => Err(ScimError::invalid_path("path must be a text")),
    }
}

/// The value is an object of attributes; each acts as if its name were the path.
fn path_less(
    kind: &'static ResourceType,
    resource: &mut Map<String, Value>,
    verb: Verb,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let Some(Value::Object(values)) = value else {
        return Err(ScimError::invalid_value("without a path the value must be an object"));
    };
    for (name, value) in values {
        if name.eq_ignore_ascii_case("schemas") {
            continue;
        }
        let target = parse_target(kind, name)?;
        if matches!(target, Target::Elements { .. })
            || matches!(target, Target::Attribute(AttributePath { sub: Some(_), .. }))
        {
            return Err(ScimError::invalid_path(format!("{name:?} is a path, not an attribute")));
        }
        act(resource, verb, &target, value)?;
    }
    Ok(())
}

fn parse_target(kind: &'static ResourceType, text: &str) -> Result<Target, ScimError> {
    let invalid = |problem: &str| ScimError::invalid_path(format!("{problem}: {text:?}"));
    if let Some(extension) = extension_named(kind, text) {
        return Ok(Target::Extension(extension));
    }
    let mut parser = Parser::new(text);
    let path = Scope::Resource(kind)
        .resolve(parser.name())
        .ok_or_else(|| invalid("no such attribute"))?;
    let as_path = |error: ScimError| invalid(&error.detail);
    let target = if parser.take('[') {
        if !path.attribute.multi {
            return Err(invalid("only lists can be filtered"));
        }
        let filter = *parser.brackets(path, 0).map_err(as_path)?;
        let part = match parser.take('.') {
            true => Some(
                path.attribute
                    .sub(parser.name())
                    .ok_or_else(|| invalid("no such part of the element"))?,
            ),
            false => None,
        };
        Target::Elements {
            list: path,
            filter,
            part,
        }
    } else {
        Target::Attribute(path)
    };
    parser.end().map_err(as_path)?;
    Ok(target)
}

fn act(resource: &mut Map<String, Value>, verb: Verb, target: &Target, value: &Value) -> Result<(), ScimError> {
    match target {
        Target::Extension(extension) => {
            let merged = match verb {
                Verb::Remove => None,
                Verb::Add | Verb::Replace => {
                    let before = resource.get(extension.urn);
                    canonical_extension(extension, &merge(before, value))?
                }
            };
            set(resource, extension.urn, merged);
            Ok(())
        }
        Target::Attribute(path) => {
            refuse_read_only(path.attribute)?;
            in_holder(resource, path, |holder| match path.sub {
                Some(part) => act_on_part(holder, verb, path.attribute, part, value),
                None => act_on_attribute(holder, verb, path.attribute, value),
            })
        }
        Target::Elements { list, filter, part } => {
            refuse_read_only(list.attribute)?;
            in_holder(resource, list, |holder| {
                act_on_elements(holder, verb, list.attribute, filter, *part, value)
            })
        }
    }
}

fn refuse_read_only(attribute: &Attribute) -> Result<(), ScimError> {
    match attribute.mutability {
        Mutability::ReadOnly => Err(ScimError::mutability(format!("{} is read-only", attribute.name))),
        Mutability::ReadWrite | Mutability::Immutable | Mutability::WriteOnly => Ok(()),
    }
}

/// Runs `change` on the resource or on its extension's object, which appears and disappears with its content.
fn in_holder(
    resource: &mut Map<String, Value>,
    path: &AttributePath,
    change: impl FnOnce(&mut Map<String, Value>) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    let Some(urn) = path.extension else {
        return change(resource);
    };
    let mut holder = match resource.get(urn) {
        Some(Value::Object(holder)) => holder.clone(),
        _ => Map::new(),
    };
    change(&mut holder)?;
    set(resource, urn, (!holder.is_empty()).then_some(Value::Object(holder)));
    Ok(())
}

fn set(holder: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            holder.insert(name.to_owned(), value);
        }
        None => {
            holder.remove(name);
        }
    }
}

/// Sub-attributes that `value` does not name stay (RFC 7644 section 3.5.2.3).
fn merge(before: Option<&Value>, value: &Value) -> Value {
    match (before, value) {
        (Some(Value::Object(before)), Value::Object(given)) => {
            let mut merged = before.clone();
            for (name, value) in given {
                // The stored names are canonical, the given ones may differ in case.
                merged.retain(|stored, _| !stored.eq_ignore_ascii_case(name));
                merged.insert(name.clone(), value.clone());
            }
            Value::Object(merged)
        }
        _ => value.clone(),
    }
}

fn act_on_attribute(
    holder: &mut Map<String, Value>,
    verb: Verb,
    attribute: &'static Attribute,
    value: &Value,
) -> Result<(), ScimError> {
    if attribute.required && value.is_null() {
        return Err(ScimError::mutability(format!("{} is required", attribute.name)));
    }
    let before = holder.get(attribute.name);
    let after = match verb {
        Verb::Remove => None,
        Verb::Add if attribute.multi => Some(appended(attribute, before, value)?),
        Verb::Add | Verb::Replace if attribute.multi => canonical(attribute, value)?,
        Verb::Add | Verb::Replace => canonical(attribute, &merge(before, value))?,
    };
    set(holder, attribute.name, after);
    Ok(())
}

/// Adds one element or several; equal ones stay single, and a new primary takes the mark from the old one.
fn appended(attribute: &'static Attribute, before: Option<&Value>, value: &Value) -> Result<Value, ScimError> {
    let given = match value {
        Value::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut elements: Vec<Value> = before.and_then(Value::as_array).cloned().unwrap_or_default();
    for item in given {
        let Some(element) = canonical_single(attribute, item)? else {
            continue;
        };
        if elements.contains(&element) {
            continue;
        }
        if element["primary"] == Value::Bool(true) {
            clear_primary(&mut elements);
        }
        elements.push(element);
    }
    Ok(Value::Array(elements))
}

fn clear_primary(elements: &mut [Value]) {
    for element in elements {
        if element["primary"] == Value::Bool(true) {
            element["primary"] = Value::Bool(false);
        }
    }
}

/// `name.familyName`, or `emails.value`, which acts on every element.
fn act_on_part(
    holder: &mut Map<String, Value>,
    verb: Verb,
    attribute: &'static Attribute,
    part: &'static Attribute,
    value: &Value,
) -> Result<(), ScimError> {
    check_part(verb, part)?;
    let value = canonical(part, value)?;
    if attribute.multi {
        let elements = holder.get_mut(attribute.name).and_then(Value::as_array_mut);
        match elements {
            Some(elements) => {
                for element in elements {
                    set_part(element, part, value.clone());
                }
            }
            None if verb == Verb::Remove => {}
            None => return Err(ScimError::no_target(format!("{} is empty", attribute.name))),
        }
        return Ok(());
    }
    let mut object = holder
        .get(attribute.name)
        .cloned()
        .unwrap_or_else(|| Value::Object(Map::new()));
    set_part(&mut object, part, value);
    let empty = object.as_object().is_none_or(Map::is_empty);
    set(holder, attribute.name, (!empty).then_some(object));
    Ok(())
}

fn check_part(verb: Verb, part: &Attribute) -> Result<(), ScimError> {
    refuse_read_only(part)?;
    if part.mutability == Mutability::Immutable && verb != Verb::Add {
        return Err(ScimError::mutability(format!("{} cannot be changed", part.name)));
    }
    Ok(())
}

fn set_part(element: &mut Value, part: &Attribute, value: Option<Value>) {
    if let Some(object) = element.as_object_mut() {
        set(object, part.name, value);
    }
}

fn act_on_elements(
    holder: &mut Map<String, Value>,
    verb: Verb,
    attribute: &'static Attribute,
    filter: &Filter,
    part: Option<&'static Attribute>,
    value: &Value,
) -> Result<(), ScimError> {
    let mut elements: Vec<Value> = holder
        .get(attribute.name)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let hit = |element: &Value| element.as_object().is_some_and(|object| matches(filter, object));
    if !elements.iter().any(hit) {
        return match verb {
            Verb::Remove => Ok(()),
            Verb::Add | Verb::Replace => Err(ScimError::no_target(format!(
                "no element of {} matches",
                attribute.name
            ))),
        };
    }
    match (verb, part) {
        (Verb::Remove, None) => elements.retain(|element| !hit(element)),
        (_, Some(part)) => {
            check_part(verb, part)?;
            let value = canonical(part, value)?;
            let marks_primary = part.name == "primary" && value == Some(Value::Bool(true));
            let hits: Vec<bool> = elements.iter().map(hit).collect();
            if marks_primary {
                clear_primary(&mut elements);
            }
            for (element, _) in elements.iter_mut().zip(hits).filter(|(_, hit)| *hit) {
                set_part(element, part, value.clone());
            }
        }
        (Verb::Add | Verb::Replace, None) => {
            let hits: Vec<bool> = elements.iter().map(hit).collect();
            for (element, _) in elements.iter_mut().zip(hits).filter(|(_, hit)| *hit) {
                let next = match verb {
                    Verb::Add => merge(Some(element), value),
                    Verb::Replace | Verb::Remove => value.clone(),
                };
                *element = canonical_single(attribute, &next)?
                    .ok_or_else(|| ScimError::invalid_value("an element cannot be empty"))?;
            }
        }
    }
    let left = (!elements.is_empty()).then_some(Value::Array(elements));
    set(holder, attribute.name, left);
    Ok(())
}

#[cfg(test)]
mod tests;
