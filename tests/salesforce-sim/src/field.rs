//! What an object looks like: its fields with type, length and flags, as `describe` tells it.
//!
//! Leaves out the objects themselves (`objects.rs`) and how a field travels in change events (`event/schema.rs`).

use std::collections::HashMap;

use serde_json::{Value, json};

/// The type of a field, as far as provisioning meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// The record's own id.
    Id,
    /// The id of another record.
    Reference,
    /// Text.
    Text,
    /// E-mail address.
    Email,
    /// Phone number, free text.
    Phone,
    /// Web address.
    Url,
    /// One of a list of API values.
    Picklist,
    /// Several of a list, joined by `;`.
    MultiPicklist,
    /// Long text: cannot be filtered in SOQL.
    TextArea,
    /// Checkbox, never null.
    Boolean,
    /// Integer number.
    Int,
    /// Decimal number.
    Double,
    /// Date and time.
    DateTime,
    /// Date without time.
    Date,
    /// Compound address, derived from its parts.
    Address,
}

impl FieldKind {
    /// The `type` of describe.
    pub(crate) fn describe_type(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Reference => "reference",
            Self::Text => "string",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Url => "url",
            Self::Picklist => "picklist",
            Self::MultiPicklist => "multipicklist",
            Self::TextArea => "textarea",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::DateTime => "datetime",
            Self::Date => "date",
            Self::Address => "address",
        }
    }

    pub(crate) fn soap_type(self) -> &'static str {
        match self {
            Self::Id | Self::Reference => "tns:ID",
            Self::Boolean => "xsd:boolean",
            Self::Int => "xsd:int",
            Self::Double => "xsd:double",
            Self::DateTime => "xsd:dateTime",
            Self::Date => "xsd:date",
            Self::Address => "urn:address",
            _ => "xsd:string",
        }
    }

    /// The `doc` of a change event's field (as in captured schemas of live orgs).
    pub(crate) fn event_doc(self) -> &'static str {
        match self {
            Self::Id | Self::Reference => "ForeignKey:EntityId",
            Self::Text => "Data:Text",
            Self::Email => "Data:Email",
            Self::Phone => "Data:Phone",
            Self::Url => "Data:Url",
            Self::Picklist => "Data:DynamicEnum",
            Self::MultiPicklist => "Data:MultiEnum",
            Self::TextArea => "Data:StringPlusClob",
            Self::Boolean => "Data:Boolean",
            Self::Int => "Data:Integer",
            Self::Double => "Data:Double",
            Self::DateTime => "Data:DateTime",
            Self::Date => "Data:DateOnly",
            Self::Address => "Data:Address",
        }
    }

    /// The Avro type beside null.
    pub(crate) fn avro_type(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::DateTime | Self::Date => "long",
            _ => "string",
        }
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Email | Self::Phone | Self::Url | Self::Picklist | Self::MultiPicklist | Self::TextArea
        )
    }
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDef {
    /// API name.
    pub name: String,
    /// English label.
    pub label: String,
    /// Type.
    pub kind: FieldKind,
    /// Longest text, in characters; 0 for other types.
    pub length: usize,
    /// Whether a record may leave it empty.
    pub nillable: bool,
    /// Whether it may be given on create.
    pub createable: bool,
    /// Whether it may be changed.
    pub updateable: bool,
    /// Ends in `__c`.
    pub custom: bool,
    /// For references: relationship name (`Manager`) and object (`User`).
    pub reference: Option<(String, String)>,
}

impl FieldDef {
    pub(crate) fn new(name: &str, kind: FieldKind, length: usize) -> Self {
        Self {
            name: name.to_owned(),
            label: label_of(name),
            kind,
            length,
            nillable: kind != FieldKind::Boolean,
            createable: true,
            updateable: true,
            custom: name.ends_with("__c"),
            reference: None,
        }
    }

    /// A custom field as an administrator adds it.
    pub fn custom(name: &str, kind: FieldKind) -> Self {
        let length = if kind.is_text() { 255 } else { 0 };
        Self::new(name, kind, length)
    }

    pub(crate) fn required(mut self) -> Self {
        self.nillable = false;
        self
    }

    pub(crate) fn read_only(mut self) -> Self {
        self.createable = false;
        self.updateable = false;
        self
    }

    pub(crate) fn create_only(mut self) -> Self {
        self.updateable = false;
        self
    }

    pub(crate) fn pointing(mut self, relationship: &str, object: &str) -> Self {
        self.reference = Some((relationship.to_owned(), object.to_owned()));
        self
    }

    pub(crate) fn filterable(&self) -> bool {
        !matches!(self.kind, FieldKind::TextArea | FieldKind::Address)
    }

    pub(crate) fn sortable(&self) -> bool {
        self.filterable() && self.kind != FieldKind::MultiPicklist
    }

    pub(crate) fn describe(&self) -> Value {
        json!({
            "name": self.name,
            "label": self.label,
            "type": self.kind.describe_type(),
            "soapType": self.kind.soap_type(),
            "length": if self.kind == FieldKind::Id || self.kind == FieldKind::Reference { 18 } else { self.length },
            "byteLength": self.length * 3,
            "digits": if self.kind == FieldKind::Int { 9 } else { 0 },
            "precision": if self.kind == FieldKind::Double { 18 } else { 0 },
            "scale": if self.kind == FieldKind::Double { 2 } else { 0 },
            "nillable": self.nillable,
            "createable": self.createable,
            "updateable": self.updateable,
            "filterable": self.filterable(),
            "sortable": self.sortable(),
            "groupable": self.filterable() && self.kind != FieldKind::Double,
            "custom": self.custom,
            "unique": false,
            "caseSensitive": false,
            "calculated": false,
            "defaultedOnCreate": self.kind == FieldKind::Boolean,
            "externalId": false,
            "idLookup": matches!(self.kind, FieldKind::Id) || self.name == "Username",
            "nameField": self.name == "Name",
            "picklistValues": [],
            "restrictedPicklist": self.name == "TimeZoneSidKey",
            "referenceTo": self.reference.iter().map(|(_, object)| object.as_str()).collect::<Vec<_>>(),
            "relationshipName": self.reference.as_ref().map(|(name, _)| name.as_str()),
        })
    }
}

/// `FirstName` becomes `First Name`, `Record_Calls__c` becomes `Record Calls`.
fn label_of(name: &str) -> String {
    let bare = name.strip_suffix("__c").unwrap_or(name).replace('_', " ");
    let mut label = String::with_capacity(bare.len() + 4);
    let mut before = ' ';
    for letter in bare.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            label.push(' ');
        }
        label.push(letter);
        before = letter;
    }
    label
}

/// An object: a name, an id prefix and fields. Fields are only ever appended, so that positions stay valid.
#[derive(Debug, Clone)]
pub(crate) struct ObjectDef {
    pub(crate) name: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) fields: Vec<FieldDef>,
    positions: HashMap<String, usize>,
    pub(crate) createable: bool,
    pub(crate) updateable: bool,
    pub(crate) deletable: bool,
}

impl ObjectDef {
    pub(crate) fn new(name: &'static str, prefix: &'static str, fields: Vec<FieldDef>) -> Self {
        let mut def = Self {
            name,
            prefix,
            fields: Vec::new(),
            positions: HashMap::new(),
            createable: true,
            updateable: true,
            deletable: true,
        };
        for field in fields {
            def.push(field);
        }
        def
    }

    pub(crate) fn push(&mut self, field: FieldDef) {
        self.positions.insert(field.name.to_lowercase(), self.fields.len());
        self.fields.push(field);
    }

    /// Field names ignore case.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.positions
            .get(name)
            .copied()
            .or_else(|| self.positions.get(&name.to_lowercase()).copied())
    }

    /// Position of a field that this crate's own code names.
    pub(crate) fn at(&self, name: &str) -> usize {
        self.position(name)
            .expect("the simulator names only fields it declares")
    }

    /// Position of the reference field behind a relationship name such as `Manager`.
    pub(crate) fn relationship(&self, name: &str) -> Option<(usize, &str)> {
        self.fields.iter().enumerate().find_map(|(position, field)| {
            let (relationship, object) = field.reference.as_ref()?;
            relationship
                .eq_ignore_ascii_case(name)
                .then_some((position, object.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words() {
        assert_eq!(label_of("TimeZoneSidKey"), "Time Zone Sid Key");
        assert_eq!(label_of("Record_Calls__c"), "Record Calls");
    }
}
