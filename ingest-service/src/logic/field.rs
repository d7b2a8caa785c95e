//! The fields of a Salesforce user that Usher publishes: their API names, ours, and their types.

/// How a field's value is written at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text; empty text counts as none, because Salesforce stores none for it.
    Text,
    /// True or false.
    Boolean,
    /// The id of another record.
    Id,
    /// A moment: epoch milliseconds in events, text elsewhere.
    DateTime,
    /// A day: epoch milliseconds at midnight UTC in events, text elsewhere.
    Date,
    /// A number.
    Number,
}

impl FieldType {
    /// The type of a custom field from its `describe` type.
    #[must_use]
    pub fn of_describe(describe_type: &str) -> Self {
        match describe_type {
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "double" | "currency" | "percent" | "int" | "long" => Self::Number,
            "id" | "reference" => Self::Id,
            _ => Self::Text,
        }
    }
}

/// A standard field: API name, our name, type.
#[derive(Debug, Clone, Copy)]
pub struct StandardField {
    /// Name in queries and `describe`.
    pub api: &'static str,
    /// Name in change events, when it differs (children of compounds).
    pub event: &'static str,
    /// Name of the field of `User`; several source fields may feed one (`displayName` is composed).
    pub ours: &'static str,
}

const fn field(api: &'static str, ours: &'static str) -> StandardField {
    StandardField { api, event: api, ours }
}

/// Every standard field that is read. `Id` is the identity and not here.
pub const STANDARD_FIELDS: &[StandardField] = &[
    field("Username", "username"),
    field("Email", "email"),
    StandardField {
        api: "FirstName",
        event: "Name.FirstName",
        ours: "givenName",
    },
    StandardField {
        api: "LastName",
        event: "Name.LastName",
        ours: "familyName",
    },
    field("Title", "title"),
    field("Department", "department"),
    field("Division", "division"),
    field("CompanyName", "company"),
    field("EmployeeNumber", "employeeNumber"),
    field("Phone", "phone"),
    field("MobilePhone", "mobilePhone"),
    field("Extension", "extension"),
    field("IsActive", "active"),
    field("TimeZoneSidKey", "timeZone"),
    field("LocaleSidKey", "localeKey"),
    field("LanguageLocaleKey", "language"),
    field("UserType", "userType"),
    field("FederationIdentifier", "federationId"),
    field("ManagerId", "managerId"),
    field("ProfileId", "profile"),
    field("UserRoleId", "role"),
    field("CreatedDate", "createdAt"),
    field("LastModifiedDate", "modifiedAt"),
];

/// Names of parents that a query can carry beside the ids.
pub const PARENT_NAMES: &[&str] = &["Profile.Name", "UserRole.Name"];

/// Without these a person cannot be provisioned anywhere: `check` and `run` insist on them.
pub const REQUIRED_FIELDS: &[&str] = &["Username", "Email", "LastName", "IsActive"];

/// The API name for a name in a change event.
#[must_use]
pub fn api_name(event_name: &str) -> &str {
    STANDARD_FIELDS
        .iter()
        .find(|field| field.event == event_name)
        .map_or(event_name, |field| field.api)
}
