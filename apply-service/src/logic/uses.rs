//! What of a person a target's decisions depend on. Somebody for whom nothing was to be done, and of whom nothing of that has changed,
//! need not be decided about again.
//!
//! Guarantee: two states of a person that differ in nothing used are planned alike over the same link at the same time. Where a
//! decision depends on more than the person's fields (on the version, on who said so, on managers), there is no such set and
//! everybody is planned.

use usher_contract::{FieldSet, User};
use usher_filter::Filter;
use usher_packed::Differences;

use super::{
    policy::{AttributeRule, TargetPolicy, ValueSource},
    source::SourceField,
};

/// Of a person, what a target's plan may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    fields: FieldSet,
    /// Any custom field.
    custom: bool,
}

impl Uses {
    /// What a target uses; `None` when that cannot be said by fields of the person alone.
    #[must_use]
    pub fn of(target: &TargetPolicy) -> Option<Self> {
        let rules = &target.scope;
        // Edited settings wait for any new version of the person; groups remember the version they were judged by; a termination date
        // counts from what the message says about a return; reports are planned again with any version of their manager.
        let beyond = !target.assignments.is_empty()
            || target.groups.is_some()
            || target.groups_off.is_some()
            || target.lifecycle.termination.is_some()
            || target.managers_read() > 0
            || target.notify.looks_at_teams();
        if beyond {
            return None;
        }
        let mut uses = Self {
            // The account's name and address are looked at in more places than the mapping.
            // Whoever is frozen or not listed does not belong, also where the account is kept.
            fields: FieldSet::of(["active", "frozen", "listed", "username", "email"]),
            custom: false,
        };
        let filters = rules.filter.iter().chain(&rules.skip);
        for filter in filters {
            uses.add_filter(filter)?;
        }
        if !rules.access.is_empty() {
            uses.add("groups")?;
        }
        for row in target
            .attributes
            .iter()
            .chain(rules.access.iter().flat_map(|access| &access.rows))
        {
            uses.add_row(row)?;
        }
        for field in target.gate.require.iter().chain(&target.matching.person) {
            uses.add_field(field)?;
        }
        Some(uses)
    }

    /// Whether something used may be another.
    #[must_use]
    pub fn meet(&self, differing: &Differences) -> bool {
        // The identity never differs, and whether somebody is removed matters everywhere.
        differing.removed || self.fields.meets(differing.fields) || (self.custom && differing.custom)
    }

    fn add_filter(&mut self, filter: &Filter) -> Option<()> {
        let reads = filter.reads();
        if reads.managers > 0 {
            return None;
        }
        reads.fields.iter().try_for_each(|name| self.add(name))
    }

    fn add_row(&mut self, row: &AttributeRule) -> Option<()> {
        match &row.source {
            ValueSource::Constant(_) => Some(()),
            ValueSource::Template(template) => template.fields().iter().try_for_each(|field| self.add_field(field)),
            ValueSource::From(fields) => fields.iter().try_for_each(|field| self.add_field(field)),
        }
    }

    fn add_field(&mut self, field: &SourceField) -> Option<()> {
        match field {
            SourceField::Published(name, _) => self.add(name),
            SourceField::Custom(_) => self.add("custom."),
            SourceField::Manager => self.add("managerId"),
            // What somebody else holds, and what their account holds.
            SourceField::OfManager(_) => None,
        }
    }

    /// A name of which nothing is known here says that everything may matter.
    fn add(&mut self, name: &str) -> Option<()> {
        let own = name.split_once('.').map_or(name, |(own, _)| own);
        if own == "custom" {
            self.custom = true;
        } else if User::FIELDS.contains(&own) {
            self.fields = self.fields.union(FieldSet::of([own]));
        } else if !matches!(own, "id" | "orgId") {
            return None;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;
    use usher_contract::{Known, UserChange};
    use usher_filter::Fields;
    use usher_packed::{Loose, Pool, View, arbitrary::two_states};

    use super::*;
    use crate::logic::{
        account::RemoteId,
        link::Link,
        plan::{Action, Plan, Question, Remote, link_after, plan},
        policy::{Disposition, WhenBlank},
        template::Template,
        testing::{Change, Nobody, at, person, policy, row},
    };

    fn filter(text: &str) -> Option<Filter> {
        Some(Filter::parse(text, &Fields::default()).unwrap())
    }

    /// Targets that look at people in every way there is.
    fn targets() -> Vec<TargetPolicy> {
        let plain = policy();
        let mut filtered = policy();
        filtered.scope.filter =
            filter("Department = 'Sales' OR Division = 'a' OR Profile.Name = 'a' OR CreatedDate > LAST_N_DAYS:30");
        filtered.scope.skip = filter("UserRole.Name LIKE 'a%' OR Badge__c = 'a' OR locale = 'a'")
            .into_iter()
            .collect();
        let mut strict = policy();
        strict.lifecycle.frozen = Disposition::Deactivate;
        strict.lifecycle.unlisted = Disposition::Deactivate;
        strict.lifecycle.delete_after = Some(Duration::from_secs(3600));
        strict.matching.person = SourceField::named("employeeNumber");
        strict.gate.require.extend(SourceField::named("title"));
        strict.gate.domains = vec!["acme.example".to_owned()];
        let mut mapped = policy();
        mapped.attributes = [
            "email",
            "displayName",
            "phone",
            "custom.Badge__c",
            "profile.name",
            "role.id",
            "manager",
        ]
        .iter()
        .map(|name| row(name, &[name, "company"]))
        .chain([
            row("userName", &["username"]),
            row("timezone", &["timeZone", "userType"]),
        ])
        .chain([AttributeRule {
            source: ValueSource::Template(Template::parse("{{ extension }}-{{ mobilePhone | upper }}").unwrap()),
            when_blank: WhenBlank::Skip,
            ..row("nickName", &["title"])
        }])
        .collect();
        let mut converting = policy();
        converting.gate.convert_to = Some("acme.com".to_owned());
        converting
            .attributes
            .push(row("emails[type eq \"work\"].value", &["email"]));
        vec![plain, filtered, strict, mapped, converting]
    }

    fn ask(change: &UserChange, link: Option<&Link>, target: &TargetPolicy, now: i64) -> Plan {
        plan(&Question {
            change,
            link,
            remote: &Remote::NotLooked,
            target,
            accounts: &Nobody,
            people: &(),
            reimported_at: None,
            again: false,
            now: at(now),
        })
    }

    fn differing(before: &User, after: &User) -> Differences {
        let mut pool = Pool::default();
        let packed = Loose::of(&View::of(before)).settle(None, &mut pool, &mut Vec::new());
        Loose::of(&View::of(after)).differences(&packed, &pool)
    }

    /// The link of somebody for whom everything was done, when that is possible.
    fn settled(change: &UserChange, target: &TargetPolicy) -> Option<Link> {
        let id = RemoteId("r1".to_owned());
        let created = plan(&Question {
            remote: &Remote::Absent,
            ..question(change, target)
        });
        (created.action == Action::Create).then(|| link_after(&created, None, &id, None, change, target, at(0)))
    }

    fn question<'a>(change: &'a UserChange, target: &'a TargetPolicy) -> Question<'a> {
        Question {
            change,
            link: None,
            remote: &Remote::NotLooked,
            target,
            accounts: &Nobody,
            people: &(),
            reimported_at: None,
            again: false,
            now: at(0),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(160))]
        #[test]
        fn who_differs_in_nothing_used_is_planned_alike(
            (one, other) in two_states(),
            field in prop::sample::select(User::FIELDS.to_vec()),
            (only, known, active) in (any::<bool>(), any::<bool>(), any::<bool>()),
            (off, at_link, now) in (any::<bool>(), 0..8_000_i64, 0..8_000_i64),
        ) {
            let mut before = person(1);
            let key = before.user.key();
            before.user = User { id: key.user, org_id: key.org, removed: false, ..one };
            let mut after = before.clone().version(2);
            after.cause.committed_at = Some(at(100));
            if only {
                // One field of somebody else.
                let mut taken = other;
                taken.keep_only(FieldSet::of([field]));
                taken.custom.clear();
                taken.removed = false;
                after.user = taken.over(&before.user);
            } else {
                after.user = User { id: key.user, org_id: key.org, removed: other.removed, ..other };
            }
            for change in [&mut before, &mut after] {
                if known {
                    // Somebody who gets far in every rule.
                    change.user.username = Known::Value("ada@acme.example".to_owned());
                    change.user.email = Known::Value("ada@acme.example".to_owned());
                    change.user.family_name = Known::Value("Byron".to_owned());
                    change.user.title = Known::Value("AE".to_owned());
                    change.user.department = Known::Value("Sales".to_owned());
                    change.user.role = Known::Empty;
                    change.user.custom.insert("Badge__c".to_owned(), json!("b"));
                }
                if active {
                    change.user.active = Known::Value(true);
                }
            }
            let differing = differing(&before.user, &after.user);
            for target in targets() {
                let uses = Uses::of(&target).unwrap();
                if uses.meet(&differing) {
                    continue;
                }
                let mut link = settled(&before, &target);
                if let Some(link) = link.as_mut().filter(|_| off) {
                    link.active = Some(false);
                    link.removed_at = Some(at(at_link));
                }
                let plans = [&before, &after].map(|change| ask(change, link.as_ref(), &target, now));
                prop_assert_eq!(&plans[0], &plans[1], "{:?}", differing);
            }
        }
    }

    #[test]
    fn each_thing_that_a_target_looks_at_is_used() {
        let [plain, filtered, strict, mapped, _] = targets().try_into().unwrap();
        let meets = |target: &TargetPolicy, name: &str| {
            let differing = Differences {
                fields: FieldSet::of([name]),
                custom: name == "custom",
                removed: name == "removed",
            };
            Uses::of(target).unwrap().meet(&differing)
        };
        for (target, used, unused) in [
            (
                &plain,
                &[
                    "familyName",
                    "title",
                    "username",
                    "active",
                    "removed",
                    "frozen",
                    "listed",
                ][..],
                &["phone", "custom", "groups"][..],
            ),
            (
                &filtered,
                &[
                    "department",
                    "division",
                    "profile",
                    "role",
                    "createdAt",
                    "custom",
                    "locale",
                ],
                &["phone", "mobilePhone"],
            ),
            (
                &strict,
                &["frozen", "listed", "employeeNumber", "email"],
                &["phone", "custom", "permissionSets"],
            ),
            (
                &mapped,
                &[
                    "displayName",
                    "phone",
                    "custom",
                    "profile",
                    "role",
                    "managerId",
                    "company",
                    "timeZone",
                    "userType",
                    "extension",
                    "mobilePhone",
                ],
                &["division", "groups", "title"],
            ),
        ] {
            for name in used {
                assert!(meets(target, name), "{name}");
            }
            for name in unused {
                assert!(!meets(target, name), "{name}");
            }
        }
    }

    #[test]
    fn where_more_than_fields_decides_everybody_is_planned() {
        let mut managers = policy();
        managers.scope.filter = filter("Manager.Email = 'a'");
        let mut grouped = policy();
        grouped.groups = Some(crate::logic::testing::group_rules());
        let mut ending = policy();
        ending.lifecycle.termination = Some(crate::logic::termination::Termination {
            field: SourceField::named("terminationDate").unwrap(),
            end_of_day: true,
            zone: None,
            fallback: jiff::tz::TimeZone::UTC,
        });
        let mut assigning = policy();
        assigning.assignments.push(crate::logic::assignments::Assignment {
            name: "all".to_owned(),
            filter: None,
            manual: false,
            apply_on_change: false,
            rows: vec![],
            capture: Default::default(),
            pending: vec![],
            waiting: [].into(),
            settings: policy().hash,
            since: None,
        });
        let mut named = policy();
        named.attributes.push(AttributeRule {
            source: ValueSource::From(vec![SourceField::mapped("manager.email").unwrap()]),
            ..row("manager.value", &["title"])
        });
        for target in [managers, named, grouped, ending, assigning] {
            assert_eq!(Uses::of(&target), None);
        }
    }
}
