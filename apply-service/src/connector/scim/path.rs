//! Attribute paths (RFC 7644 sections 3.5.2 and 3.10): `attr`, `attr.sub`, `attr[filter].sub`, `URN:attr.sub`.
//!
//! Mappings, links and PATCH operations share this address language. A path is split at the schema URNs that are
//! known, never at the last colon or the first dot: a URN holds both (`…:2.0:User`). Core attributes lose their URN,
//! because servers refuse the long form (observed on scimmy 1.3.5: 400 invalidPath).

use std::fmt;

use serde_json::Value;

use super::{
    filter::Filter,
    schema::{self, CORE_USER, ENTERPRISE_USER, Shape},
};
use crate::logic::policy::ValueKind;

/// What the target knows beyond the standard tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vocabulary {
    /// Extension URNs of this target.
    pub(crate) extensions: Vec<String>,
    /// Attributes that the target has at the top level besides the core ones.
    pub(crate) extra: Vec<String>,
}

/// A parsed path in canonical spelling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    /// The extension it belongs to; `None` for core attributes.
    pub(crate) schema: Option<String>,
    /// The attribute.
    pub(crate) attribute: String,
    /// Which elements of a multi-valued attribute.
    pub(crate) filter: Option<Filter>,
    /// One field of a complex value.
    pub(crate) sub: Option<String>,
}

impl Path {
    /// Parses a path that is to be written or compared.
    pub(crate) fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Self, String> {
        let path = Self::parse_any(text.trim(), vocabulary)?;
        if let Some(filter) = &path.filter
            && filter.as_template().is_none()
        {
            return Err(format!(
                "`{text}`: the condition in brackets must be `eq` comparisons joined by `and`, so that a missing \
                 element can be made from it"
            ));
        }
        let full = path.attribute_name();
        if let Some(why) = schema::attribute(path.schema.as_deref(), &path.attribute).and_then(|found| found.locked) {
            return Err(format!("`{full}` cannot be written: {why}"));
        }
        Ok(path)
    }

    /// What the standard schemas say that the place holds: texts, but for the mark of a primary value and for `active`.
    pub(crate) fn kind(&self) -> ValueKind {
        match (schema::attribute(self.schema.as_deref(), &self.attribute), &self.sub) {
            (None, _) => ValueKind::Any,
            (Some(_), Some(sub)) if sub == "primary" => ValueKind::Boolean,
            (Some(attribute), None) if attribute.name == "active" => ValueKind::Boolean,
            (Some(_), _) => ValueKind::Text,
        }
    }

    fn parse_any(text: &str, vocabulary: &Vocabulary) -> Result<Self, String> {
        let (schema, rest) = split_schema(text, vocabulary)?;
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        check_name(text, name)?;
        let (filter, rest) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (filter, rest) = Filter::parse_prefix(inside).map_err(|why| format!("`{text}`: {why}"))?;
                let rest = rest
                    .trim_start()
                    .strip_prefix(']')
                    .ok_or_else(|| format!("`{text}`: `]` is missing"))?;
                (Some(filter), rest)
            }
            None => (None, rest),
        };
        let sub = match rest.strip_prefix('.') {
            Some(sub) => {
                check_name(text, sub)?;
                Some(sub.to_owned())
            }
            None if rest.is_empty() => None,
            None => return Err(format!("`{text}`: unexpected `{rest}`")),
        };
        Self {
            schema,
            attribute: name.to_owned(),
            filter,
            sub,
        }
        .canonical(text, vocabulary)
    }

    /// Canonical spelling from the tables; complains about names that no table and no setting has.
    fn canonical(mut self, text: &str, vocabulary: &Vocabulary) -> Result<Self, String> {
        let Some(table) = schema::table(self.schema.as_deref()) else {
            return Ok(self);
        };
        let Some(known) = schema::attribute(self.schema.as_deref(), &self.attribute) else {
            if self.schema.is_none()
                && let Some(extra) = vocabulary
                    .extra
                    .iter()
                    .find(|name| name.eq_ignore_ascii_case(&self.attribute))
            {
                self.attribute.clone_from(extra);
                return Ok(self);
            }
            let nearest = table
                .iter()
                .map(|found| {
                    (
                        strsim::jaro_winkler(&found.name.to_lowercase(), &self.attribute.to_lowercase()),
                        found,
                    )
                })
                .filter(|(likeness, _)| *likeness > 0.8)
                .max_by(|left, right| left.0.total_cmp(&right.0));
            let hint = nearest
                .map(|(_, found)| format!("; did you mean `{}`?", found.name))
                .unwrap_or_default();
            return Err(format!("`{text}`: there is no attribute `{}`{hint}", self.attribute));
        };
        known.name.clone_into(&mut self.attribute);
        let subs: &[&str] = match known.shape {
            Shape::Simple if self.sub.is_some() || self.filter.is_some() => {
                return Err(format!("`{text}`: `{}` is a plain value without parts", known.name));
            }
            Shape::Simple => return Ok(self),
            Shape::Complex(_) if self.filter.is_some() => {
                return Err(format!(
                    "`{text}`: `{}` has one value, so nothing can be chosen in brackets",
                    known.name
                ));
            }
            Shape::Complex(subs) | Shape::Multi(subs) => subs,
        };
        if let Some(sub) = &mut self.sub {
            let Some(canonical) = subs.iter().find(|name| name.eq_ignore_ascii_case(sub)) else {
                return Err(format!(
                    "`{text}`: `{}` has no part `{sub}` (it has {})",
                    known.name,
                    subs.join(", ")
                ));
            };
            (*canonical).clone_into(sub);
        }
        // A manager is written as an object with the id of the manager's account: strict servers refuse the bare
        // string (observed on scim2-server 0.8.3 and scimmy 1.3.5), so the short form means its `value`.
        if self.sub.is_none() && known.name == "manager" {
            self.sub = Some("value".to_owned());
        }
        Ok(self)
    }

    /// Our key at the target.
    pub(crate) fn external_id() -> Self {
        Self {
            schema: None,
            attribute: "externalId".to_owned(),
            filter: None,
            sub: None,
        }
    }

    /// `attr` or `URN:attr`, without filter and part.
    pub(crate) fn attribute_name(&self) -> String {
        match &self.schema {
            Some(urn) => format!("{urn}:{}", self.attribute),
            None => self.attribute.clone(),
        }
    }

    /// Whether the attribute holds several values.
    pub(crate) fn is_multi(&self) -> bool {
        self.filter.is_some()
            || schema::attribute(self.schema.as_deref(), &self.attribute)
                .is_some_and(|found| matches!(found.shape, Shape::Multi(_)))
    }

    /// Whether the value is a boolean by the standard.
    pub(crate) fn is_boolean(&self) -> bool {
        (self.schema.is_none() && self.attribute == "active" && self.sub.is_none())
            || self.sub.as_deref() == Some("primary")
    }

    /// Whether values are told apart by case (RFC 7643 section 3.1 and 8.7.1: ids and externalId).
    pub(crate) fn is_case_exact(&self) -> bool {
        self.schema.is_none() && matches!(self.attribute.as_str(), "externalId" | "id")
    }

    /// The same attribute and filter, another field.
    pub(crate) fn with_sub(&self, sub: Option<&str>) -> Self {
        Self {
            sub: sub.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The fields that an element of this path has by its filter.
    pub(crate) fn template(&self) -> Vec<(String, Value)> {
        self.filter.as_ref().and_then(Filter::as_template).unwrap_or_default()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attribute_name())?;
        if let Some(filter) = &self.filter {
            write!(f, "[{filter}]")?;
        }
        if let Some(sub) = &self.sub {
            write!(f, ".{sub}")?;
        }
        Ok(())
    }
}

/// Splits at the longest known URN. The core URN is dropped.
fn split_schema<'a>(text: &'a str, vocabulary: &Vocabulary) -> Result<(Option<String>, &'a str), String> {
    let known = [CORE_USER, ENTERPRISE_USER]
        .into_iter()
        .chain(vocabulary.extensions.iter().map(String::as_str));
    let found = known
        .filter_map(|urn| {
            let head = text.get(..urn.len())?;
            let rest = text[urn.len()..].strip_prefix(':')?;
            head.eq_ignore_ascii_case(urn).then_some((urn, rest))
        })
        .max_by_key(|(urn, _)| urn.len());
    match found {
        Some((CORE_USER, rest)) => Ok((None, rest)),
        Some((urn, rest)) => Ok((Some(urn.to_owned()), rest)),
        None if text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("urn:")) => Err(format!(
            "`{text}`: unknown schema; list the URN of the target's extension under `extensionSchemas`"
        )),
        None => Ok((None, text)),
    }
}

/// `ATTRNAME` of RFC 7644 figure 1; `$ref` is a name as well.
fn check_name(text: &str, name: &str) -> Result<(), String> {
    let plain = name.strip_prefix('$').unwrap_or(name);
    let valid = plain.starts_with(|c: char| c.is_ascii_alphabetic())
        && plain
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if valid {
        Ok(())
    } else {
        Err(format!("`{text}`: `{name}` is not an attribute name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONG: &str = "urn:ietf:params:scim:schemas:extension:Gong:2.0:User";

    fn vocabulary() -> Vocabulary {
        Vocabulary {
            extensions: vec![GONG.to_owned()],
            extra: vec!["seatName".to_owned()],
        }
    }

    #[test]
    fn paths_get_their_canonical_spelling() {
        for (text, canonical) in [
            ("active", "active"),
            (" USERNAME ", "userName"),
            ("name.familyname", "name.familyName"),
            (r#"emails[type eq "work"].value"#, r#"emails[type eq "work"].value"#),
            (r#"Emails[type EQ "work"]"#, r#"emails[type eq "work"]"#),
            (r#"emails[primary eq "True"].value"#, "emails[primary eq true].value"),
            (
                r#"emails[display eq "a\"] b"].value"#,
                r#"emails[display eq "a\"] b"].value"#,
            ),
            ("urn:ietf:params:scim:schemas:core:2.0:User:title", "title"),
            (
                "URN:ietf:params:scim:schemas:extension:enterprise:2.0:user:Department",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            ),
            (
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            ),
            (
                "urn:ietf:params:scim:schemas:extension:Gong:2.0:User:seat.kind",
                "urn:ietf:params:scim:schemas:extension:Gong:2.0:User:seat.kind",
            ),
            ("seatname", "seatName"),
            (
                r#"entitlements[type eq "profile"].value"#,
                r#"entitlements[type eq "profile"].value"#,
            ),
        ] {
            let path = Path::parse(text, &vocabulary()).unwrap();
            assert_eq!(path.to_string(), canonical, "{text}");
            assert_eq!(
                Path::parse(canonical, &vocabulary()).unwrap(),
                path,
                "canonical spelling is stable"
            );
        }
    }

    #[test]
    fn wrong_paths_are_refused_in_words() {
        for (text, complaint) in [
            ("", "is not an attribute name"),
            ("usrName", "did you mean `userName`?"),
            ("name.lastName", "it has formatted, familyName"),
            ("title.value", "plain value"),
            (r#"name[type eq "x"]"#, "has one value"),
            (r#"emails[type eq "work""#, "`]` is missing"),
            (r#"emails[type eq "work"]value"#, "unexpected `value`"),
            (r#"emails[type eq "work" or type eq "home"].value"#, "joined by `and`"),
            (r#"emails[not (type eq "work")].value"#, "joined by `and`"),
            ("urn:example:thing:2.0:User:seat", "extensionSchemas"),
            ("id", "the target gives it"),
            ("groups.value", "through groups"),
            ("password", "no password is ever carried"),
            ("emails.value.x", "is not an attribute name"),
        ] {
            let error = Path::parse(text, &vocabulary()).unwrap_err();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
