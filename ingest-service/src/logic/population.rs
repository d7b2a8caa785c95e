//! The population: who is published at all, as one SOQL condition, and the queries built from it.
//!
//! The org evaluates it. A change event of somebody unknown asks the same definition for that id, so that event,
//! snapshot and recheck cannot disagree about who belongs.

use jiff::{Timestamp, tz::TimeZone};
use usher_contract::UserId;

use super::{
    field::{PARENT_NAMES, STANDARD_FIELDS},
    normalize::Fields,
};

/// Ids per query: a query travels in the URI, and about 16 KB of it are accepted.
pub const IDS_PER_QUERY_MAX: usize = 300;

/// Who is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population {
    condition: String,
}

impl Population {
    /// `condition` is a SOQL condition; profiles and user names in `exclude` stay out.
    #[must_use]
    pub fn new(condition: &str, exclude_profiles: &[String], exclude_usernames: &[String]) -> Self {
        let mut parts = vec![format!("({condition})")];
        let list = |values: &[String]| values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
        if !exclude_profiles.is_empty() {
            parts.push(format!("(Profile.Name NOT IN ({}))", list(exclude_profiles)));
        }
        if !exclude_usernames.is_empty() {
            parts.push(format!("(Username NOT IN ({}))", list(exclude_usernames)));
        }
        Self {
            condition: parts.join(" AND "),
        }
    }

    /// As this, without one user: whoever Usher logs in as is nobody's colleague.
    #[must_use]
    pub fn without(self, user: UserId) -> Self {
        Self {
            condition: format!("{} AND (Id != '{user}')", self.condition),
        }
    }

    /// A change of this field may move a person into or out of the population: it is then asked, not assumed.
    #[must_use]
    pub fn depends_on(&self, api_field: &str) -> bool {
        let words: Vec<&str> = self
            .condition
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .collect();
        // `Name` is composed of its parts; `Team__c` is followed as `Team__r`, `ProfileId` as `Profile`.
        let composed = matches!(api_field, "FirstName" | "LastName").then_some("Name");
        let is_named = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        api_field.split('.').chain(composed).any(|part| {
            let relation = part
                .strip_suffix("Id")
                .filter(|name| !name.is_empty())
                .map(str::to_owned);
            let custom = part.strip_suffix("__c").map(|name| format!("{name}__r"));
            is_named(part) || relation.into_iter().chain(custom).any(|name| is_named(&name))
        })
    }

    /// The members among these users.
    #[must_use]
    pub fn query_ids(&self, fields: &QueryFields, ids: &[UserId]) -> String {
        let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        format!(
            "SELECT {} FROM User WHERE {} AND Id IN ({})",
            fields.list(),
            self.condition,
            ids.join(",")
        )
    }

    /// Which of these users can be seen, members or not. Asked with deleted ones: `IsDeleted` is no field of a user, so that a
    /// record is shown at all is what says that it has existed.
    #[must_use]
    pub fn query_existing(ids: &[UserId]) -> String {
        let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        format!("SELECT Id FROM User WHERE Id IN ({})", ids.join(","))
    }

    /// Everyone, or those whose record was touched in `[from, to)`.
    #[must_use]
    pub fn query_all(&self, fields: &QueryFields, touched: Option<(Timestamp, Timestamp)>) -> String {
        let window = touched.map_or_else(String::new, |(from, to)| {
            format!(
                " AND SystemModstamp >= {} AND SystemModstamp < {}",
                literal(from),
                literal(to)
            )
        });
        format!(
            "SELECT {} FROM User WHERE {}{window} ORDER BY Id",
            fields.list(),
            self.condition
        )
    }

    /// Ids of whoever was touched in `[from, to)`, members or not: a condition cannot show who no longer fits it.
    #[must_use]
    pub fn query_touched((from, to): (Timestamp, Timestamp)) -> String {
        format!(
            "SELECT Id FROM User WHERE SystemModstamp >= {} AND SystemModstamp < {} ORDER BY Id",
            literal(from),
            literal(to)
        )
    }

    /// Everyone, for a bulk job: in no order, because an order would keep Salesforce from reading in parallel chunks.
    #[must_use]
    pub fn query_bulk(&self, fields: &QueryFields) -> String {
        format!("SELECT {} FROM User WHERE {}", fields.list(), self.condition)
    }

    /// How many there are.
    #[must_use]
    pub fn query_count(&self) -> String {
        format!("SELECT COUNT() FROM User WHERE {}", self.condition)
    }
}

/// The fields that a query asks for: those that exist and may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryFields(Vec<String>);

impl QueryFields {
    /// `readable` are the fields that `describe` shows to the integration user.
    #[must_use]
    pub fn new(fields: &Fields, readable: impl Fn(&str) -> bool) -> Self {
        let standard = STANDARD_FIELDS
            .iter()
            .map(|field| field.api)
            .filter(|name| readable(name))
            .map(str::to_owned);
        let custom = fields
            .custom
            .keys()
            .chain(&fields.termination_date)
            .filter(|name| readable(name))
            .cloned();
        let parents = PARENT_NAMES.iter().filter(|path| {
            let id = if path.starts_with("Profile") {
                "ProfileId"
            } else {
                "UserRoleId"
            };
            readable(id)
        });
        let mut names: Vec<String> = std::iter::once("Id".to_owned()).chain(standard).chain(custom).collect();
        names.extend(parents.map(|path| (*path).to_owned()));
        names.push("SystemModstamp".to_owned());
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Self(names)
    }
    /// Their names, in the order of the query; those of parents with a dot.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
    fn list(&self) -> String {
        self.0.join(", ")
    }
}

/// A SOQL string literal: backslash first, then the quote.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A SOQL datetime literal, whole seconds, UTC.
fn literal(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population() -> Population {
        Population::new(
            "UserType = 'Standard' AND (NOT Email LIKE '%.invalid')",
            &["O'Brien".to_owned()],
            &[],
        )
    }

    #[test]
    fn exclusions_are_quoted() {
        let count = population().query_count();
        assert_eq!(
            count,
            "SELECT COUNT() FROM User WHERE (UserType = 'Standard' AND (NOT Email LIKE '%.invalid')) AND (Profile.Name NOT IN ('O\\'Brien'))"
        );
    }

    #[test]
    fn fields_of_the_condition_decide_membership() {
        for field in ["UserType", "Email", "ProfileId"] {
            assert!(population().depends_on(field), "{field}");
        }
        for field in ["Department", "UserRoleId", "Id"] {
            assert!(!population().depends_on(field), "{field}");
        }
        let other = Population::new("Name != 'x' AND Country = 'CH' AND Team__r.Name = 'y'", &[], &[]);
        for field in ["LastName", "Address.Country", "Team__c"] {
            assert!(other.depends_on(field), "{field}");
        }
    }

    #[test]
    fn only_readable_fields_are_asked_for() {
        let fields = QueryFields::new(
            &Fields {
                termination_date: Some("End__c".into()),
                ..Fields::default()
            },
            |name| name != "Email",
        );
        assert!(!fields.list().contains("Email"));
        assert!(fields.list().contains("End__c"));
        let window = Some((
            "2026-01-02T03:04:05.6Z".parse().unwrap(),
            "2026-01-02T03:05:00Z".parse().unwrap(),
        ));
        assert!(
            population()
                .query_all(&fields, window)
                .contains("SystemModstamp >= 2026-01-02T03:04:05Z AND SystemModstamp < 2026-01-02T03:05:00Z")
        );
    }
}
