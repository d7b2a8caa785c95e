//! The fields that a filter may name, by Salesforce's API names and by ours, and how each is read.
//!
//! Names are resolved once, when a filter is parsed: evaluating reads a field through a function. Only custom fields are
//! looked up by name, because a [`User`] holds them so.

mod published;

use std::{collections::BTreeSet, ops::Range};

use usher_contract::User;

use self::published::{FIELDS, NO_PARENTS, NOT_PUBLISHED, custom};
pub(crate) use self::published::{Type, Value};
use crate::error::FilterError;

/// Parents that a name may go through (SOQL Reference: five levels from child to parent).
pub(crate) const LEVELS_MAX: usize = 5;

/// What a filter may name, and how it treats the one rule that the reference leaves open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Custom fields that are published; `None` when that is not known here: then every name ending in `__c` is accepted.
    pub custom: Option<BTreeSet<String>>,
    /// Whether people whose field is null are among those for whom `!=`, `NOT IN`, `EXCLUDES` and `NOT (…)` hold.
    pub nulls: Nulls,
}

/// What `!=`, `NOT IN`, `EXCLUDES` and `NOT (…)` say about a null field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nulls {
    /// They hold: what Salesforce has long done.
    #[default]
    Match,
    /// They do not hold, as in SQL.
    Omit,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    /// A place in [`FIELDS`].
    Published(usize),
    Custom(Box<str>),
}

/// A resolved name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operand {
    /// How many managers up.
    pub(crate) managers: usize,
    pub(crate) column: Column,
    /// Our name, with the managers: `manager.profile.name`, `custom.Badge__c`.
    pub(crate) name: Box<str>,
    /// The language is published as a tag and stored with an underscore: `en-US`, `en_US`.
    pub(crate) underscores: bool,
}

impl Operand {
    pub(crate) fn holds(&self) -> Type {
        match &self.column {
            Column::Published(place) => FIELDS[*place].holds,
            Column::Custom(_) => Type::Custom,
        }
    }

    pub(crate) fn read<'a>(&self, user: &'a User) -> Value<'a> {
        match &self.column {
            Column::Published(place) => FIELDS[*place].read(user),
            Column::Custom(name) => custom(user, name),
        }
    }
}

/// Up to three names that were probably meant, between backticks, the nearest first.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wrong = word.to_lowercase();
    let allowed = (wrong.chars().count() / 3).clamp(1, 4);
    let mut near: Vec<(usize, &str)> = names
        .filter(|name| name.len() <= wrong.len() + allowed && wrong.len() <= name.len() + allowed)
        .map(|name| (strsim::osa_distance(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_unstable();
    // The same name in another case is the same answer.
    near.dedup_by(|next, last| next.1.eq_ignore_ascii_case(last.1));
    let best = near.first().map_or(0, |(distance, _)| *distance);
    near.iter()
        .filter(|(distance, _)| *distance <= best + 1)
        .take(3)
        .map(|(_, name)| format!("`{name}`"))
        .collect()
}

impl Fields {
    /// The field of a name. `alias` is how a pasted query calls `User`.
    pub(crate) fn resolve(&self, path: &str, alias: Option<&str>, span: &Range<usize>) -> Result<Operand, FilterError> {
        let refuse = |message: String, hint: String| Err(FilterError::new(span.clone(), message, hint));
        let parts: Vec<&str> = path.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return refuse(
                format!("`{path}` is no name"),
                "names are joined by single dots".to_owned(),
            );
        }
        let mut rest = parts.as_slice();
        let is = |part: &str, name: &str| part.eq_ignore_ascii_case(name);
        if let [first, further @ ..] = rest
            && !further.is_empty()
            && (is(first, "User") || alias.is_some_and(|alias| is(first, alias)))
        {
            rest = further;
        }
        let levels = rest.len() - 1 - usize::from(is(rest[0], "custom"));
        if levels > LEVELS_MAX {
            return refuse(
                format!("`{path}` goes through {levels} parents"),
                format!("at most {LEVELS_MAX} are possible, in Salesforce as well"),
            );
        }
        let mut managers = 0;
        while let [first, further @ ..] = rest
            && !further.is_empty()
            && is(first, "Manager")
        {
            (managers, rest) = (managers + 1, further);
        }
        // The manager's id is in the person's own record.
        if managers > 0 && rest.len() == 1 && is(rest[0], "Id") {
            (managers, rest) = (managers - 1, &["ManagerId"]);
        }
        let (column, underscores) = match rest {
            [prefix, name] if is(prefix, "custom") => (self.custom_field(name, span)?, false),
            [name] if name.to_ascii_lowercase().ends_with("__c") => (self.custom_field(name, span)?, false),
            names => {
                let joined = names.join(".");
                match place(&joined) {
                    Some(place) => (Column::Published(place), is(&joined, "LanguageLocaleKey")),
                    None => return Err(self.unknown(path, names, span)),
                }
            }
        };
        let last = match &column {
            Column::Published(place) => FIELDS[*place].ours.to_owned(),
            Column::Custom(name) => format!("custom.{name}"),
        };
        Ok(Operand {
            managers,
            column,
            name: format!("{}{last}", "manager.".repeat(managers)).into(),
            underscores,
        })
    }

    fn custom_field(&self, name: &str, span: &Range<usize>) -> Result<Column, FilterError> {
        let Some(known) = &self.custom else {
            return Ok(Column::Custom(name.into()));
        };
        if let Some(name) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            return Ok(Column::Custom(name.as_str().into()));
        }
        let near = nearest(name, known.iter().map(String::as_str));
        Err(FilterError::new(
            span.clone(),
            format!("the custom field `{name}` is not published"),
            if near.is_empty() {
                "have ingest-service carry it first".to_owned()
            } else {
                format!("did you mean {}?", near.join(" or "))
            },
        ))
    }

    fn unknown(&self, path: &str, rest: &[&str], span: &Range<usize>) -> FilterError {
        let error = |message: String, hint: String| FilterError::new(span.clone(), message, hint);
        let is = |name: &str| rest.len() == 1 && rest[0].eq_ignore_ascii_case(name);
        for (name, instead) in [
            ("Manager", "ManagerId"),
            ("Profile", "ProfileId"),
            ("UserRole", "UserRoleId"),
            ("role", "UserRoleId"),
        ] {
            if is(name) {
                return error(
                    format!("`{path}` is a record, not a value"),
                    format!(
                        "use `{instead}`, or a field of it such as `{name}.{}`",
                        if name == "Manager" { "Email" } else { "Name" }
                    ),
                );
            }
        }
        for (name, how) in [
            (
                "groups",
                "Id IN (SELECT UserOrGroupId FROM GroupMember WHERE Group.Name = '…')",
            ),
            (
                "permissionSets",
                "Id IN (SELECT AssigneeId FROM PermissionSetAssignment WHERE PermissionSet.Label = '…')",
            ),
        ] {
            if is(name) {
                return error(format!("`{path}` is a list, not a value"), format!("write {how}"));
            }
        }
        let first = rest[0];
        if rest.len() > 1 {
            if NO_PARENTS.iter().any(|parent| parent.eq_ignore_ascii_case(first)) {
                return error(
                    format!("nothing of `{first}` is published"),
                    "parents that can be named are Manager, Profile and UserRole".to_owned(),
                );
            }
            if ["Profile", "UserRole", "role"]
                .iter()
                .any(|parent| parent.eq_ignore_ascii_case(first))
            {
                return error(
                    format!("`{path}` is not published"),
                    format!("of it there are `{first}.Id` and `{first}.Name`"),
                );
            }
            let near = nearest(first, ["Manager", "Profile", "UserRole"].into_iter());
            let hint = if near.is_empty() {
                "parents that can be named are Manager, Profile and UserRole".to_owned()
            } else {
                format!("did you mean {}?", near.join(" or "))
            };
            return error(format!("unknown parent `{first}`"), hint);
        }
        let not_published = NOT_PUBLISHED
            .iter()
            .find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(first)));
        if let Some((_, instead)) = not_published {
            return error(format!("`{first}` is not published"), (*instead).to_owned());
        }
        let custom = self.custom.iter().flatten().map(String::as_str);
        let near = nearest(first, names().chain(custom));
        let hint = if near.is_empty() {
            "fields have the API names of User, such as Department, Profile.Name, Manager.Email, Badge__c".to_owned()
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        error(format!("unknown field `{path}`"), hint)
    }
}

/// All names of published fields, the source's first.
pub(crate) fn names<'a>() -> impl Iterator<Item = &'a str> {
    let theirs = FIELDS.iter().map(|field| field.theirs).filter(|name| !name.is_empty());
    theirs.chain(FIELDS.iter().map(|field| field.ours))
}

fn place(name: &str) -> Option<usize> {
    let name = match name {
        same if same.eq_ignore_ascii_case("Profile.Id") => "profile.id",
        same if same.eq_ignore_ascii_case("UserRole.Id") => "role.id",
        other => other,
    };
    FIELDS
        .iter()
        .position(|field| field.ours.eq_ignore_ascii_case(name) || field.theirs.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> String {
        let operand = Fields::default().resolve(path, Some("u"), &(0..1)).unwrap();
        operand.name.into()
    }

    #[test]
    fn every_published_field_with_one_value_can_be_named() {
        for name in User::FIELDS {
            let lists = ["groups", "permissionSets"];
            match *name {
                "profile" | "role" => assert_eq!(named(&format!("{name}.name")), format!("{name}.name")),
                list if lists.contains(&list) => {}
                other => assert_eq!(named(other), other),
            }
        }
        for field in FIELDS {
            if !field.theirs.is_empty() {
                assert_eq!(named(field.theirs), field.ours);
                assert_eq!(named(&field.theirs.to_uppercase()), field.ours);
            }
        }
    }

    #[test]
    fn names_are_resolved_through_parents() {
        for (path, expected) in [
            ("User.Title", "title"),
            ("u.Title", "title"),
            ("Manager.Email", "manager.email"),
            ("manager.MANAGER.Profile.Name", "manager.manager.profile.name"),
            ("Manager.Id", "managerId"),
            ("Manager.Manager.Id", "manager.managerId"),
            ("Profile.Id", "profile.id"),
            ("UserRole.Id", "role.id"),
            ("role.name", "role.name"),
            ("Badge__c", "custom.Badge__c"),
            ("custom.Badge__c", "custom.Badge__c"),
            ("Manager.custom.Badge__c", "manager.custom.Badge__c"),
            (
                "Manager.Manager.Manager.Manager.Manager.Email",
                "manager.manager.manager.manager.manager.email",
            ),
        ] {
            assert_eq!(named(path), expected, "{path}");
        }
    }

    #[test]
    fn only_declared_custom_fields_are_accepted_where_they_are_known() {
        let fields = Fields {
            custom: Some(["Badge__c".to_owned()].into()),
            ..Fields::default()
        };
        assert_eq!(
            &*fields.resolve("badge__C", None, &(0..1)).unwrap().name,
            "custom.Badge__c"
        );
        let error = fields.resolve("Bagde__c", None, &(0..8)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the custom field `Bagde__c` is not published; did you mean `Badge__c`?"
        );
    }
}
