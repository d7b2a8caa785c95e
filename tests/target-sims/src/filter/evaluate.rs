//! Does a resource match? Comparison of texts follows the attribute's case rule.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{Filter, Operator, PartTest};
use crate::path::AttributePath;
use crate::schema::{Attribute, Kind};

/// Whether a stored resource (canonical names) matches; inside brackets the "resource" is one list element.
pub(crate) fn matches(filter: &Filter, resource: &Map<String, Value>) -> bool {
    match filter {
        Filter::And(left, right) => matches(left, resource) && matches(right, resource),
        Filter::Or(left, right) => matches(left, resource) || matches(right, resource),
        Filter::Not(inner) => !matches(inner, resource),
        Filter::Present(path) => values(path, resource).into_iter().any(|value| present(Some(value))),
        Filter::Compare { path, operator, value } => compare_any(
            path.sub.unwrap_or(path.attribute),
            *operator,
            &values(path, resource),
            value,
        ),
        Filter::Element { list, inner, part } => elements(list, resource).any(|element| {
            matches(inner, element)
                && match part {
                    None => true,
                    Some((sub, PartTest::Present)) => present(element.get(sub.name)),
                    Some((sub, PartTest::Compare(operator, value))) => {
                        let found: Vec<&Value> = element.get(sub.name).into_iter().collect();
                        compare_any(sub, *operator, &found, value)
                    }
                }
        }),
    }
}

fn present(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(parts)) => !parts.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => true,
    }
}

fn attribute<'a>(path: &AttributePath, resource: &'a Map<String, Value>) -> Option<&'a Value> {
    let holder = match path.extension {
        Some(urn) => resource.get(urn)?.as_object()?,
        None => resource,
    };
    holder.get(path.attribute.name)
}

fn elements<'a>(
    path: &AttributePath,
    resource: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    let found = attribute(path, resource);
    let items = match found {
        Some(Value::Array(items)) => items.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    items.iter().filter_map(Value::as_object)
}

/// Every value that the path leads to; a list gives one per element.
fn values<'a>(path: &AttributePath, resource: &'a Map<String, Value>) -> Vec<&'a Value> {
    match path.sub {
        Some(sub) => elements(path, resource)
            .filter_map(|element| element.get(sub.name))
            .collect(),
        None => attribute(path, resource).into_iter().collect(),
    }
}

fn compare_any(attribute: &Attribute, operator: Operator, found: &[&Value], wanted: &Value) -> bool {
    if wanted.is_null() {
        let absent = !found.iter().any(|value| present(Some(value)));
        return absent == (operator == Operator::Eq);
    }
    // "Not equal" holds for a person who has no value at all.
    if operator == Operator::Ne {
        return !compare_any(attribute, Operator::Eq, found, wanted);
    }
    found.iter().any(|value| compare(attribute, operator, value, wanted))
}

fn compare(attribute: &Attribute, operator: Operator, found: &Value, wanted: &Value) -> bool {
    let (Some(found), Some(wanted)) = (found.as_str(), wanted.as_str()) else {
        return operator == Operator::Eq && found == wanted;
    };
    if attribute.kind == Kind::DateTime
        && let Some(order) = compare_times(found, wanted)
    {
        return ordered(operator, order);
    }
    if attribute.case_exact {
        compare_texts(operator, found, wanted)
    } else {
        compare_texts(operator, &found.to_lowercase(), &wanted.to_lowercase())
    }
}

fn compare_texts(operator: Operator, found: &str, wanted: &str) -> bool {
    match operator {
        Operator::Co => found.contains(wanted),
        Operator::Sw => found.starts_with(wanted),
        Operator::Ew => found.ends_with(wanted),
        _ => ordered(operator, found.cmp(wanted)),
    }
}

fn compare_times(found: &str, wanted: &str) -> Option<Ordering> {
    let found: jiff::Timestamp = found.parse().ok()?;
    let wanted: jiff::Timestamp = wanted.parse().ok()?;
    Some(found.cmp(&wanted))
}

fn ordered(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Eq => order.is_eq(),
        Operator::Ne => order.is_ne(),
        Operator::Gt => order.is_gt(),
        Operator::Ge => order.is_ge(),
        Operator::Lt => order.is_lt(),
        Operator::Le => order.is_le(),
        Operator::Co | Operator::Sw | Operator::Ew => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::parse;
    use crate::path::Scope;
    use crate::schema::USER;

    fn ada() -> Map<String, Value> {
        let Value::Object(map) = json!({
            "userName": "Ada@Example.com",
            "externalId": "005A",
            "active": true,
            "title": "say \"hi\" \\ bye",
            "name": {"familyName": "Byron"},
            "emails": [
                {"value": "ada+work@example.com", "type": "work", "primary": true},
                {"value": "ada@home.example", "type": "home"},
            ],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Sales"},
            "meta": {"lastModified": "2026-03-01T10:00:00.000Z"},
        }) else {
            unreachable!("an object was written above");
        };
        map
    }

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let filter = parse(Scope::Resource(&USER), text).expect(text);
        assert_eq!(matches(&filter, &ada()), expected, "{text}");
    }

    #[test]
    fn user_name_ignores_case_and_external_id_does_not() {
        check(r#"userName eq "ada@EXAMPLE.com""#, true);
        check(r#"externalId eq "005A""#, true);
        check(r#"externalId eq "005a""#, false);
    }

    #[test]
    fn every_text_operator_works() {
        check(r#"name.familyName co "yro""#, true);
        check(r#"name.familyName sw "By""#, true);
        check(r#"name.familyName ew "n""#, true);
        check(r#"name.familyName gt "Azz""#, true);
        check(r#"name.familyName ge "byron""#, true);
        check(r#"name.familyName lt "byron""#, false);
        check(r#"name.familyName le "byron""#, true);
        check(r#"name.familyName ne "Lovelace""#, true);
    }

    #[test]
    fn quotes_and_backslashes_are_json_escapes() {
        check(r#"title eq "say \"hi\" \\ bye""#, true);
        check(r#"title co "or\" or userName pr""#, false);
    }

    #[test]
    fn presence_and_null_speak_of_absence() {
        check("title pr", true);
        check("nickName pr", false);
        check("emails pr", true);
        check("not (nickName pr)", true);
        check("nickName eq null", true);
        check("title ne null", true);
        check(r#"nickName ne "x""#, true);
    }

    #[test]
    fn a_value_filter_speaks_of_one_element() {
        check(r#"emails[type eq "work" and value co "+work"]"#, true);
        check(r#"emails[type eq "home" and value co "+work"]"#, false);
        check(r#"emails.type eq "home" and emails.value co "+work""#, true);
        check(r#"emails[type eq "work"].value eq "ada+work@example.com""#, true);
        check(r#"emails[type eq "home"].primary eq true"#, false);
        check(r#"emails eq "ada@home.example""#, true);
    }

    #[test]
    fn extension_attributes_and_times_are_compared() {
        let department = format!(r#"{}:department eq "sales""#, crate::schema::ENTERPRISE_URN);
        check(&department, true);
        check(r#"meta.lastModified gt "2026-03-01T10:59:00+01:00""#, true);
        check(r#"meta.lastModified gt "2026-03-01T10:00:00Z""#, false);
    }

    #[test]
    fn logic_follows_precedence_and_parentheses() {
        check(r#"active eq false and title pr or userName pr"#, true);
        check(r#"active eq false and (title pr or userName pr)"#, false);
        check(r#"NOT (active eq false) AND active EQ true"#, true);
    }
}
