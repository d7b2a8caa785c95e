//! The attributes of User, Group and the enterprise extension (RFC 7643 sections 3.1, 4), as tables.
//!
//! Everything else asks these tables: which attribute a name means, whether case counts, what may be written. Left out: canonical
//! values of `type`; servers that insist on them are rare and the RFC only suggests them.

/// What values an attribute takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Boolean,
    DateTime,
    Complex(&'static [Attribute]),
}

/// Who may write it and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutability {
    ReadWrite,
    ReadOnly,
    /// Set with its parent, never changed.
    Immutable,
    /// Accepted, never returned.
    WriteOnly,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) multi: bool,
    pub(crate) case_exact: bool,
    pub(crate) required: bool,
    pub(crate) mutability: Mutability,
}

impl Attribute {
    pub(crate) fn sub_attributes(&self) -> &'static [Attribute] {
        match self.kind {
            Kind::Complex(attributes) => attributes,
            Kind::Text | Kind::Boolean | Kind::DateTime => &[],
        }
    }

    pub(crate) fn sub(&self, name: &str) -> Option<&'static Attribute> {
        find(self.sub_attributes(), name)
    }
}

/// A kind of resource with its core schema and its extensions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    pub(crate) name: &'static str,
    pub(crate) endpoint: &'static str,
    pub(crate) urn: &'static str,
    pub(crate) attributes: &'static [Attribute],
    pub(crate) extensions: &'static [Extension],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) urn: &'static str,
    pub(crate) attributes: &'static [Attribute],
}

impl ResourceType {
    /// The attribute of the core schema, common ones included.
    pub(crate) fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        find(self.attributes, name).or_else(|| find(COMMON, name))
    }
}

/// Attribute names are case-insensitive (RFC 7643 section 2.1).
pub(crate) fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

pub(crate) const fn text(name: &'static str) -> Attribute {
    Attribute {
        name,
        kind: Kind::Text,
        multi: false,
        case_exact: false,
        required: false,
        mutability: Mutability::ReadWrite,
    }
}

const fn exact(name: &'static str) -> Attribute {
    Attribute {
        case_exact: true,
        ..text(name)
    }
}

pub(crate) const fn boolean(name: &'static str) -> Attribute {
    Attribute {
        kind: Kind::Boolean,
        ..text(name)
    }
}

const fn date_time(name: &'static str) -> Attribute {
    Attribute {
        kind: Kind::DateTime,
        ..text(name)
    }
}

pub(crate) const fn complex(name: &'static str, parts: &'static [Attribute]) -> Attribute {
    Attribute {
        kind: Kind::Complex(parts),
        ..text(name)
    }
}

pub(crate) const fn list(name: &'static str, parts: &'static [Attribute]) -> Attribute {
    Attribute {
        multi: true,
        ..complex(name, parts)
    }
}

pub(crate) const fn required(attribute: Attribute) -> Attribute {
    Attribute {
        required: true,
        ..attribute
    }
}

const fn with(mutability: Mutability, attribute: Attribute) -> Attribute {
    Attribute {
        mutability,
        ..attribute
    }
}

const COMMON: &[Attribute] = &[
    with(Mutability::ReadOnly, exact("id")),
    exact("externalId"),
    with(
        Mutability::ReadOnly,
        complex(
            "meta",
            &[
                exact("resourceType"),
                date_time("created"),
                date_time("lastModified"),
                exact("location"),
                exact("version"),
            ],
        ),
    ),
];

/// value, display, type, primary: the parts of most lists.
pub(crate) const PLURAL: &[Attribute] = &[text("value"), text("display"), text("type"), boolean("primary")];

const USER_ATTRIBUTES: &[Attribute] = &[
    required(text("userName")),
    complex(
        "name",
        &[
            text("formatted"),
            text("familyName"),
            text("givenName"),
            text("middleName"),
            text("honorificPrefix"),
            text("honorificSuffix"),
        ],
    ),
    text("displayName"),
    text("nickName"),
    exact("profileUrl"),
    text("title"),
    text("userType"),
    text("preferredLanguage"),
    text("locale"),
    text("timezone"),
    boolean("active"),
    with(Mutability::WriteOnly, exact("password")),
    list("emails", PLURAL),
    list("phoneNumbers", PLURAL),
    list("ims", PLURAL),
    list("photos", PLURAL),
    list(
        "addresses",
        &[
            text("formatted"),
            text("streetAddress"),
            text("locality"),
            text("region"),
            text("postalCode"),
            text("country"),
            text("type"),
            boolean("primary"),
        ],
    ),
    list("entitlements", PLURAL),
    list("roles", PLURAL),
    list("x509Certificates", PLURAL),
    with(
        Mutability::ReadOnly,
        list(
            "groups",
            &[exact("value"), exact("$ref"), text("display"), text("type")],
        ),
    ),
];

const ENTERPRISE_ATTRIBUTES: &[Attribute] = &[
    text("employeeNumber"),
    text("costCenter"),
    text("organization"),
    text("division"),
    text("department"),
    complex(
        "manager",
        &[
            exact("value"),
            exact("$ref"),
            with(Mutability::ReadOnly, text("displayName")),
        ],
    ),
];

const GROUP_ATTRIBUTES: &[Attribute] = &[
    required(text("displayName")),
    list(
        "members",
        &[
            with(Mutability::Immutable, exact("value")),
            with(Mutability::Immutable, exact("$ref")),
            with(Mutability::Immutable, text("type")),
            with(Mutability::Immutable, text("display")),
        ],
    ),
];

pub(crate) const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

pub(crate) static USER: ResourceType = ResourceType {
    name: "User",
    endpoint: "Users",
    urn: "urn:ietf:params:scim:schemas:core:2.0:User",
    attributes: USER_ATTRIBUTES,
    extensions: &[Extension {
        urn: ENTERPRISE_URN,
        attributes: ENTERPRISE_ATTRIBUTES,
    }],
};

pub(crate) static GROUP: ResourceType = ResourceType {
    name: "Group",
    endpoint: "Groups",
    urn: "urn:ietf:params:scim:schemas:core:2.0:Group",
    attributes: GROUP_ATTRIBUTES,
    extensions: &[],
};
