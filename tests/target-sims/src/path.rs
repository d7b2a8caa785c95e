//! Attribute paths: `attr`, `attr.sub`, and both behind a schema URN (RFC 7644 section 3.10).
//!
//! A URN itself holds dots and colons (`2.0`), so a path is split at the schemas that are known, never at the last colon.

use crate::schema::{Attribute, ResourceType, find};

/// A name resolved against the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttributePath {
    /// The extension's URN, if the attribute is one of its.
    pub(crate) extension: Option<&'static str>,
    pub(crate) attribute: &'static Attribute,
    pub(crate) sub: Option<&'static Attribute>,
}

/// Where names are looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    Resource(&'static ResourceType),
    /// Inside the brackets of a value filter: the parts of one list element.
    Element(&'static Attribute),
}

impl Scope {
    /// `None` when no such attribute exists.
    pub(crate) fn resolve(self, text: &str) -> Option<AttributePath> {
        match self {
            Scope::Element(list) => Some(AttributePath {
                extension: None,
                attribute: list.sub(text)?,
                sub: None,
            }),
            Scope::Resource(kind) => {
                if let Some(rest) = after_urn(text, kind.urn) {
                    return dotted(rest, None, |name| kind.attribute(name));
                }
                for extension in kind.extensions {
                    if let Some(rest) = after_urn(text, extension.urn) {
                        let lookup = |name: &str| find(extension.attributes, name);
                        return dotted(rest, Some(extension.urn), lookup);
                    }
                }
                dotted(text, None, |name| kind.attribute(name))
            }
        }
    }
}

fn dotted(
    text: &str,
    extension: Option<&'static str>,
    lookup: impl Fn(&str) -> Option<&'static Attribute>,
) -> Option<AttributePath> {
    let (name, sub) = match text.split_once('.') {
        Some((name, sub)) => (name, Some(sub)),
        None => (text, None),
    };
    let attribute = lookup(name)?;
    let sub = match sub {
        Some(sub) => Some(attribute.sub(sub)?),
        None => None,
    };
    Some(AttributePath {
        extension,
        attribute,
        sub,
    })
}

/// What follows `<urn>:`, the URN being compared without case.
fn after_urn<'a>(text: &'a str, urn: &str) -> Option<&'a str> {
    let head = text.get(..urn.len())?;
    if !head.eq_ignore_ascii_case(urn) {
        return None;
    }
    text[urn.len()..].strip_prefix(':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ENTERPRISE_URN, USER};

    fn resolve(text: &str) -> Option<(Option<&'static str>, &'static str, Option<&'static str>)> {
        let path = Scope::Resource(&USER).resolve(text)?;
        Some((path.extension, path.attribute.name, path.sub.map(|sub| sub.name)))
    }

    #[test]
    fn names_are_found_without_regard_to_case() {
        assert_eq!(resolve("USERNAME"), Some((None, "userName", None)));
        assert_eq!(resolve("name.familyname"), Some((None, "name", Some("familyName"))));
        assert_eq!(resolve("meta.lastModified"), Some((None, "meta", Some("lastModified"))));
    }

    #[test]
    fn a_urn_with_dots_is_split_at_its_end() {
        let manager = format!("{ENTERPRISE_URN}:manager.value");
        assert_eq!(
            resolve(&manager),
            Some((Some(ENTERPRISE_URN), "manager", Some("value")))
        );
        let core = format!("{}:active", USER.urn);
        assert_eq!(resolve(&core), Some((None, "active", None)));
    }

    #[test]
    fn unknown_names_are_refused() {
        assert_eq!(resolve("shoeSize"), None);
        assert_eq!(resolve("name.shoeSize"), None);
        assert_eq!(resolve("department"), None);
        assert_eq!(resolve(ENTERPRISE_URN), None);
    }
}
