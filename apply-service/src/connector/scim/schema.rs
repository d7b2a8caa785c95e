//! The attributes of the core and enterprise user (RFC 7643 sections 3, 4.1, 4.3 and 8.7) as tables.
//!
//! Only what writing and comparing need: canonical spelling, shape, whether a client may write it. The schemas that
//! a target publishes at `/Schemas` are not read: discovery is advice, and mappings are checked before a target is
//! reachable.

/// The core user schema: every account carries it.
pub(crate) const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The enterprise extension.
pub(crate) const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// The body of a PATCH (RFC 7644 section 3.5.2).
pub(crate) const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The shape of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One plain value.
    Simple,
    /// One object of sub-attributes.
    Complex(&'static [&'static str]),
    /// Several objects of sub-attributes; `value` is the default one.
    Multi(&'static [&'static str]),
}

/// One attribute of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute {
    /// Canonical spelling.
    pub(crate) name: &'static str,
    /// Its shape.
    pub(crate) shape: Shape,
    /// Why a client must not write it; `None` when it may.
    pub(crate) locked: Option<&'static str>,
}

const fn open(name: &'static str, shape: Shape) -> Attribute {
    Attribute {
        name,
        shape,
        locked: None,
    }
}

const fn locked(name: &'static str, shape: Shape, why: &'static str) -> Attribute {
    Attribute {
        name,
        shape,
        locked: Some(why),
    }
}

const PLURAL: Shape = Shape::Multi(&["value", "display", "type", "primary"]);

const CORE: &[Attribute] = &[
    open("externalId", Shape::Simple),
    open("userName", Shape::Simple),
    open(
        "name",
        Shape::Complex(&[
            "formatted",
            "familyName",
            "givenName",
            "middleName",
            "honorificPrefix",
            "honorificSuffix",
        ]),
    ),
    open("displayName", Shape::Simple),
    open("nickName", Shape::Simple),
    open("profileUrl", Shape::Simple),
    open("title", Shape::Simple),
    open("userType", Shape::Simple),
    open("preferredLanguage", Shape::Simple),
    open("locale", Shape::Simple),
    open("timezone", Shape::Simple),
    open("active", Shape::Simple),
    open("emails", PLURAL),
    open("phoneNumbers", PLURAL),
    open("ims", PLURAL),
    open("photos", PLURAL),
    open(
        "addresses",
        Shape::Multi(&[
            "formatted",
            "streetAddress",
            "locality",
            "region",
            "postalCode",
            "country",
            "type",
            "primary",
        ]),
    ),
    open("entitlements", PLURAL),
    open("roles", PLURAL),
    open("x509Certificates", PLURAL),
    locked("id", Shape::Simple, "the target gives it"),
    locked(
        "meta",
        Shape::Complex(&["resourceType", "created", "lastModified", "location", "version"]),
        "the target keeps it",
    ),
    locked("schemas", Shape::Simple, "it is computed from the attributes written"),
    locked("groups", PLURAL, "membership is changed through groups"),
    locked("password", Shape::Simple, "no password is ever carried"),
];

const ENTERPRISE: &[Attribute] = &[
    open("employeeNumber", Shape::Simple),
    open("costCenter", Shape::Simple),
    open("organization", Shape::Simple),
    open("division", Shape::Simple),
    open("department", Shape::Simple),
    open("manager", Shape::Complex(&["value", "$ref", "displayName"])),
];

/// The table of a schema; `None` for an extension that we have no table of.
pub(crate) fn table(schema: Option<&str>) -> Option<&'static [Attribute]> {
    match schema {
        None => Some(CORE),
        Some(urn) if urn.eq_ignore_ascii_case(ENTERPRISE_USER) => Some(ENTERPRISE),
        Some(_) => None,
    }
}

/// An attribute by name in any case.
pub(crate) fn attribute(schema: Option<&str>, name: &str) -> Option<&'static Attribute> {
    table(schema)?
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The attribute names (never values) of the tables that occur as words in a text. Used to say which attribute a
/// target complained about without repeating its text, which may quote a person's data.
pub(crate) fn names_in(text: &str) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let known = CORE.iter().chain(ENTERPRISE).flat_map(|attribute| {
            let subs: &[&str] = match attribute.shape {
                Shape::Complex(subs) => subs,
                Shape::Simple | Shape::Multi(_) => &[],
            };
            std::iter::once(attribute.name).chain(subs.iter().copied())
        });
        // Words of ordinary prose ("name", "value", "active", "id") say nothing: only camel-case names and plurals
        // that cannot be mistaken are taken.
        let hit = known
            .filter(|name| name.len() > 4 && (name.contains(char::is_uppercase) || name.ends_with('s')))
            .find(|name| *name == word);
        if let Some(name) = hit
            && !found.contains(&name)
            && name != "schemas"
        {
            found.push(name);
        }
    }
    found.truncate(5);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_in_any_case() {
        assert_eq!(attribute(None, "USERNAME").map(|found| found.name), Some("userName"));
        assert!(attribute(Some(ENTERPRISE_USER), "department").is_some());
        assert!(attribute(Some("urn:example:ext"), "department").is_none());
    }

    #[test]
    fn names_are_taken_from_a_text_and_values_are_not() {
        let text = "Attribute 'userName' of ada@acme.com is taken; emails too. Name Ada, title AE, emails";
        assert_eq!(names_in(text), ["userName", "emails"]);
        assert!(names_in("<html>ada</html>").is_empty());
    }
}
