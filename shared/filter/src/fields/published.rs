//! The tables of names: what is published and how it is read, and what is not published and why.

use jiff::{Timestamp, civil::Date};
use serde_json::Value as Json;
use usher_contract::{Known, NamedRef, User};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Flag,
    /// The id of a record with this prefix.
    Id(&'static str),
    Date,
    Moment,
    /// Declared at the source; the value shows it.
    Custom,
}

/// A field's value for a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Unknown,
    Null,
    Text(&'a str),
    Flag(bool),
    Number(f64),
    Date(Date),
    Moment(Timestamp),
    /// A list or an object, which no comparison takes.
    Other,
}

/// One published field.
pub(super) struct Field {
    /// The name on the wire.
    pub(crate) ours: &'static str,
    /// The name at the source, empty where there is none.
    pub(crate) theirs: &'static str,
    pub(crate) holds: Type,
    read: for<'a> fn(&'a User) -> Value<'a>,
}

impl Field {
    pub(super) fn read<'a>(&self, user: &'a User) -> Value<'a> {
        (self.read)(user)
    }
}

fn text(value: &Known<String>) -> Value<'_> {
    match value {
        Known::Unknown => Value::Unknown,
        Known::Value(text) if !text.is_empty() => Value::Text(text),
        Known::Empty | Known::Value(_) => Value::Null,
    }
}
fn known<T: Copy>(value: &Known<T>, form: impl Fn(T) -> Value<'static>) -> Value<'static> {
    match value {
        Known::Unknown => Value::Unknown,
        Known::Empty => Value::Null,
        Known::Value(value) => form(*value),
    }
}
fn id_of(value: &Known<NamedRef>) -> Value<'_> {
    match value {
        Known::Unknown => Value::Unknown,
        Known::Empty => Value::Null,
        Known::Value(named) => Value::Text(named.id.as_str()),
    }
}
fn name_of(value: &Known<NamedRef>) -> Value<'_> {
    match value {
        Known::Unknown => Value::Unknown,
        Known::Empty => Value::Null,
        Known::Value(named) => text(&named.name),
    }
}

macro_rules! fields {
    ($($ours:literal $theirs:literal $holds:expr, $read:expr;)*) => {
        /// Every published field that has one value.
        pub(super) const FIELDS: &[Field] = &[$(Field { ours: $ours, theirs: $theirs, holds: $holds, read: $read }),*];
    };
}

fields! {
    "id" "Id" Type::Id("005"), |u| Value::Text(u.id.as_str());
    "orgId" "" Type::Id("00D"), |u| Value::Text(u.org_id.as_str());
    "username" "Username" Type::Text, |u| text(&u.username);
    "email" "Email" Type::Text, |u| text(&u.email);
    "givenName" "FirstName" Type::Text, |u| text(&u.given_name);
    "familyName" "LastName" Type::Text, |u| text(&u.family_name);
    "displayName" "Name" Type::Text, |u| text(&u.display_name);
    "title" "Title" Type::Text, |u| text(&u.title);
    "department" "Department" Type::Text, |u| text(&u.department);
    "division" "Division" Type::Text, |u| text(&u.division);
    "company" "CompanyName" Type::Text, |u| text(&u.company);
    "employeeNumber" "EmployeeNumber" Type::Text, |u| text(&u.employee_number);
    "phone" "Phone" Type::Text, |u| text(&u.phone);
    "mobilePhone" "MobilePhone" Type::Text, |u| text(&u.mobile_phone);
    "extension" "Extension" Type::Text, |u| text(&u.extension);
    "active" "IsActive" Type::Flag, |u| known(&u.active, Value::Flag);
    "frozen" "" Type::Flag, |u| known(&u.frozen, Value::Flag);
    "listed" "" Type::Flag, |u| known(&u.listed, Value::Flag);
    "timeZone" "TimeZoneSidKey" Type::Text, |u| text(&u.time_zone);
    "locale" "" Type::Text, |u| text(&u.locale);
    "localeKey" "LocaleSidKey" Type::Text, |u| text(&u.locale_key);
    "language" "LanguageLocaleKey" Type::Text, |u| text(&u.language);
    "userType" "UserType" Type::Text, |u| text(&u.user_type);
    "federationId" "FederationIdentifier" Type::Text, |u| text(&u.federation_id);
    "managerId" "ManagerId" Type::Id("005"), |u| match &u.manager_id {
        Known::Unknown => Value::Unknown,
        Known::Empty => Value::Null,
        Known::Value(id) => Value::Text(id.as_str()),
    };
    "profile.id" "ProfileId" Type::Id("00e"), |u| id_of(&u.profile);
    "profile.name" "Profile.Name" Type::Text, |u| name_of(&u.profile);
    "role.id" "UserRoleId" Type::Id("00E"), |u| id_of(&u.role);
    "role.name" "UserRole.Name" Type::Text, |u| name_of(&u.role);
    "terminationDate" "" Type::Date, |u| known(&u.termination_date, Value::Date);
    "createdAt" "CreatedDate" Type::Moment, |u| known(&u.created_at, Value::Moment);
    "modifiedAt" "LastModifiedDate" Type::Moment, |u| known(&u.modified_at, Value::Moment);
}

/// Fields of User at the source that are not published, and what may serve instead.
pub(super) const NOT_PUBLISHED: &[(&[&str], &str)] = &[
    (
        &["AboutMe", "Signature", "Address"],
        "Salesforce cannot filter by it either",
    ),
    (&["IsFrozen"], "it belongs to UserLogin; use `frozen`"),
    (&["SystemModstamp"], "use `LastModifiedDate`"),
    (&["FullName"], "use `Name`"),
    (
        &["MiddleName", "Suffix", "Alias", "CommunityNickname"],
        "use `Name`, `FirstName` or `LastName`",
    ),
    (
        &[
            "Street",
            "City",
            "State",
            "StateCode",
            "PostalCode",
            "Country",
            "CountryCode",
            "Latitude",
            "Longitude",
            "Fax",
            "EmailEncodingKey",
            "DelegatedApproverId",
            "ContactId",
            "AccountId",
            "IndividualId",
            "CallCenterId",
            "LastLoginDate",
            "LastPasswordChangeDate",
            "CreatedById",
            "LastModifiedById",
            "ReceivesInfoEmails",
            "ReceivesAdminInfoEmails",
            "ForecastEnabled",
            "DigestFrequency",
            "SenderEmail",
            "SenderName",
            "JigsawImportLimitOverride",
            "NumberOfFailedLogins",
            "IsProfilePhotoActive",
        ],
        "copy it into a custom field (a formula will do) and have ingest-service carry that",
    ),
];
/// Parents at the source of which nothing is published.
pub(super) const NO_PARENTS: &[&str] = &[
    "CreatedBy",
    "LastModifiedBy",
    "Contact",
    "Account",
    "Individual",
    "DelegatedApprover",
    "CallCenter",
];

/// The value of a custom field; names are found whatever their case, as in SOQL.
pub(super) fn custom<'a>(user: &'a User, name: &str) -> Value<'a> {
    let value = user.custom.get(name).or_else(|| {
        let mut others = user.custom.iter();
        others
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    });
    match value {
        None => Value::Unknown,
        Some(Json::Null) => Value::Null,
        Some(Json::Bool(flag)) => Value::Flag(*flag),
        Some(Json::Number(number)) => number.as_f64().map_or(Value::Other, Value::Number),
        Some(Json::String(text)) if text.is_empty() => Value::Null,
        Some(Json::String(text)) => Value::Text(text),
        Some(Json::Array(_) | Json::Object(_)) => Value::Other,
    }
}
