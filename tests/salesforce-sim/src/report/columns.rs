//! The columns a Users report can have. Their API names are of the uneven kind that real report types have, so nobody can
//! guess them: `entityColumnName` in the extended metadata tells the field.
//!
//! The real names of the Users type are not confirmed (vendor documentation). Leaves out which columns a report shows.

use serde_json::{Value, json};

use crate::{field::FieldKind, org::state::State};

/// A column of the report type.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) field: usize,
    pub(crate) kind: FieldKind,
    /// `User.FirstName`
    pub(crate) entity: String,
    /// Shows the name of the record behind an id.
    pub(crate) lookup: bool,
}

/// Column name, label, User field.
const STANDARD: [(&str, &str, &str); 24] = [
    ("FIRST_NAME", "First Name", "FirstName"),
    ("LAST_NAME", "Last Name", "LastName"),
    ("FULL_NAME", "Full Name", "Name"),
    ("USERS.EMAIL", "Email", "Email"),
    ("ACTIVE", "Active", "IsActive"),
    ("USERS.TIMEZONE", "Time Zone", "TimeZoneSidKey"),
    ("USER_ID", "User ID", "Id"),
    ("USERNAME", "Username", "Username"),
    ("DEPT", "Department", "Department"),
    ("USERS.TITLE", "Title", "Title"),
    ("USERS.DIVISION", "Division", "Division"),
    ("COMPANY_NAME", "Company Name", "CompanyName"),
    ("EMPLOYEE_NUMBER", "Employee Number", "EmployeeNumber"),
    ("USERS.PHONE1", "Phone", "Phone"),
    ("USERS.CELL", "Mobile", "MobilePhone"),
    ("LOCALE", "Locale", "LocaleSidKey"),
    ("LANGUAGE", "Language", "LanguageLocaleKey"),
    ("ROLE", "Role", "UserRoleId"),
    ("PROFILE", "Profile", "ProfileId"),
    ("MANAGER", "Manager", "ManagerId"),
    ("CREATED_DATE", "Created Date", "CreatedDate"),
    ("LAST_UPDATE", "Last Modified Date", "LastModifiedDate"),
    ("LAST_LOGIN", "Last Login", "LastLoginDate"),
    ("FEDERATION_ID", "SAML Federation ID", "FederationIdentifier"),
];

/// Every column that the integration user may see.
pub(crate) fn all(state: &State) -> Vec<Column> {
    let def = &state.users().def;
    let standard = STANDARD
        .iter()
        .map(|&(name, label, field)| (name.to_owned(), label.to_owned(), def.at(field)));
    let custom = def
        .fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.custom)
        .map(|(position, field)| (format!("User.{}", field.name), field.label.clone(), position));
    standard
        .chain(custom)
        .filter(|(_, _, field)| state.readable("User", *field))
        .map(|(name, label, field)| {
            let entity = format!("User.{}", def.fields[field].name);
            let kind = def.fields[field].kind;
            let lookup = kind == FieldKind::Reference || entity == "User.Name";
            Column {
                name,
                label,
                field,
                kind,
                entity,
                lookup,
            }
        })
        .collect()
}

impl Column {
    pub(crate) fn data_type(&self) -> &'static str {
        match self.kind {
            FieldKind::Id => "id",
            FieldKind::Reference => "string",
            other => other.describe_type(),
        }
    }

    /// Entry of `detailColumnInfo`.
    pub(crate) fn info(&self) -> Value {
        json!({
            "label": self.label, "dataType": self.data_type(), "entityColumnName": self.entity,
            "fullyQualifiedName": self.name, "filterable": self.kind != FieldKind::TextArea, "filterValues": [],
            "isLookup": self.lookup, "isCustomSummaryFormula": false, "uniqueCountable": true,
        })
    }
}
