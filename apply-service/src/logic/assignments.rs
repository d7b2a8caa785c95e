//! Which settings somebody gets: the uppermost assignment whose filter holds, and when its settings are pushed.
//!
//! *Automatic*: the settings are ours; what others change is written back. Editing an assignment by itself changes nobody
//! until the person changes at the source or an operator asks for a reimport, unless it says `applyOnChange`.
//! *Manual*: they are written with the account, once, and are the application's own afterwards.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::{StateHash, User};
use usher_filter::{Filter, People, Truth};

use super::{
    account::AttributePath,
    link::{Link, Written},
    policy::{ACTIVE, AttributeRule, EXTERNAL_ID, TargetPolicy, Write, is_identifier},
};

/// One assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Unique within the target; empty for the one set of settings of a target without assignments.
    pub name: String,
    /// Who belongs; `None` for everybody.
    pub filter: Option<Filter>,
    /// Whether the settings are written once and left alone afterwards.
    pub manual: bool,
    /// Whether an edit of the assignment is pushed at once.
    pub apply_on_change: bool,
    /// The settings as rows of the mapping.
    pub rows: Vec<AttributeRule>,
    /// Of the rows those whose setting says which data is captured.
    pub capture: BTreeSet<AttributePath>,
    /// Settings that do not take effect, in words: their seat is not granted.
    pub pending: Vec<String>,
    /// What these would write: what an account holds there stays until the seat is granted again.
    pub waiting: BTreeSet<AttributePath>,
    /// The hash of the settings.
    pub settings: StateHash,
    /// Since when they are as they are, as the target's record remembers it; `None`: it has not seen them yet.
    pub since: Option<Timestamp>,
}

/// The settings of an assignment as they were seen, and since when they are so. Kept in the target's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingsSeen {
    /// Their hash.
    pub settings: StateHash,
    /// Since when.
    pub since: Timestamp,
}

/// What the record says of these assignments from now on: those that were edited are of now.
#[must_use]
pub fn seen(
    assignments: &[Assignment],
    before: &BTreeMap<String, SettingsSeen>,
    now: Timestamp,
) -> BTreeMap<String, SettingsSeen> {
    let seen = |assignment: &Assignment| {
        let settings = assignment.settings;
        let same = before.get(&assignment.name).filter(|seen| seen.settings == settings);
        let since = same.map_or(now, |seen| seen.since);
        (assignment.name.clone(), SettingsSeen { settings, since })
    };
    assignments.iter().map(seen).collect()
}

/// Puts into assignments what the record says of them.
pub fn remember(assignments: &mut [Assignment], seen: &BTreeMap<String, SettingsSeen>) {
    for assignment in assignments {
        let known = seen.get(&assignment.name);
        let known = known.filter(|seen| seen.settings == assignment.settings);
        assignment.since = known.map(|seen| seen.since);
    }
}

/// Where a setting of the target is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingPlace {
    /// Of the path, before the item or the key.
    pub before: String,
    /// After it; `None`: there is no item, and `before` is the path.
    pub after: Option<String>,
}

impl SettingPlace {
    /// Whether a path is one of this setting.
    #[must_use]
    pub fn holds(&self, path: &AttributePath) -> bool {
        let Some(after) = &self.after else {
            return path.0 == self.before;
        };
        let rest = path.0.strip_prefix(self.before.as_str());
        rest.and_then(|rest| rest.strip_suffix(after.as_str()))
            .is_some_and(|item| !item.is_empty())
    }
}

/// Whether assignments write the attribute. What is written with new accounts alone is the application's own.
#[must_use]
pub fn is_setting(path: &AttributePath, target: &TargetPolicy) -> bool {
    let mut rows = target.assignments.iter().flat_map(|assignment| &assignment.rows);
    rows.any(|row| row.path == *path && row.write == Write::Always)
}

/// Whether a row of everybody, or of an access policy, writes the attribute.
fn is_everybodys(path: &AttributePath, target: &TargetPolicy) -> bool {
    let log_ins = target.scope.access.iter().flat_map(|access| &access.rows);
    target.attributes.iter().chain(log_ins).any(|row| row.path == *path)
}

/// Marks what settings have given, after a write.
pub fn note_given(link: &mut Link, target: &TargetPolicy) {
    for (path, written) in link.written.iter_mut() {
        written.given = (written.given || is_setting(path, target)) && !is_everybodys(path, target);
    }
}

/// The settings of an account that its assignment does not give: those of others, and those that were taken out of the
/// policy. What waits for its seat is none of them, nor is what managers decide about. What anything but a setting wrote
/// is none either, wherever it lies: a row that is dropped makes an attribute the application's own.
pub fn taken_back<'a>(assignment: &Assignment, link: &'a Link, target: &TargetPolicy) -> Vec<&'a AttributePath> {
    let of_assignments = || target.assignments.iter().flat_map(|other| &other.rows);
    let managers = |path: &AttributePath| {
        of_assignments().any(|row| row.path == *path && row.write == Write::OnCreate)
            || target.managers_at.iter().any(|place| place.holds(path))
    };
    let never = |path: &AttributePath| {
        let switch_or_key = [EXTERNAL_ID, ACTIVE].contains(&path.0.as_str()) || is_identifier(path);
        let needed = target.needed.iter().any(|needed| needed.shares_element(path));
        switch_or_key || needed || is_everybodys(path, target)
    };
    let ours =
        |path: &AttributePath| assignment.waiting.contains(path) || assignment.rows.iter().any(|row| row.path == *path);
    // Links of earlier versions do not say what was given: there the assignments of the policy tell.
    let given = |path: &AttributePath, written: &Written| written.given || is_setting(path, target);
    let written = link.written.iter();
    written
        .filter(|(path, written)| given(path, written) && !ours(path) && !managers(path) && !never(path))
        .map(|(path, _)| path)
        .collect()
}

/// What was pushed to an account last. Kept in the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assigned {
    /// The assignment.
    pub name: String,
    /// The hash of its settings.
    pub settings: StateHash,
    /// When.
    pub at: Timestamp,
}

/// Which assignment is somebody's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Membership<'a> {
    /// The target has no settings.
    Without,
    /// This one.
    Of(&'a Assignment),
    /// No filter holds.
    None,
}

/// The uppermost that holds, and when time alone may change that.
///
/// # Errors
/// The fields that would decide and are unknown: one above that may hold keeps those below from deciding.
pub fn membership<'a>(
    user: &User,
    target: &'a TargetPolicy,
    people: &dyn People,
    now: Timestamp,
) -> Result<(Membership<'a>, Option<Timestamp>), Vec<String>> {
    if target.assignments.is_empty() {
        return Ok((Membership::Without, None));
    }
    let clock = target.scope.clock(now);
    let mut next: Option<Timestamp> = None;
    for assignment in &target.assignments {
        let Some(filter) = &assignment.filter else {
            return Ok((Membership::Of(assignment), next));
        };
        let change = filter.next_change(user, people, &clock);
        next = next.into_iter().chain(change).min();
        match filter.evaluate(user, people, &clock) {
            Truth::True => return Ok((Membership::Of(assignment), next)),
            Truth::False => {}
            Truth::Unknown(_) => {
                let names = filter.unknowns(user, people, &clock);
                return Err(names.iter().map(|name| (*name).to_owned()).collect());
            }
        }
    }
    Ok((Membership::None, next))
}

/// What is done about the settings of somebody who belongs to an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// They are compared and written like every attribute.
    All,
    /// Nothing: they are the application's own, or wait.
    Nothing,
    /// Nothing, because the assignment was edited and the person was not.
    Waits,
}

impl Assignment {
    /// For somebody with an account, whose state was observed then. The link does not tell whether the person has changed
    /// since an edit: it names the last version that something was done about, and most versions change nothing here.
    #[must_use]
    pub fn push(&self, link: &Link, observed_at: Timestamp, reimported_at: Option<Timestamp>) -> Push {
        if self.manual {
            return Push::Nothing;
        }
        match &link.assignment {
            Some(last) if last.name == self.name && last.settings != self.settings => {
                // What was ordered before the edit did not mean it.
                let after_it = |moment: Timestamp| self.since.is_some_and(|edited| moment > edited);
                let asked = reimported_at.is_some_and(|asked| asked > last.at && after_it(asked));
                if self.apply_on_change || asked || after_it(observed_at) {
                    Push::All
                } else {
                    Push::Waits
                }
            }
            _ => Push::All,
        }
    }

    /// What the link says after these settings were pushed, or were found pushed.
    #[must_use]
    pub fn assigned(&self, before: Option<&Assigned>, now: Timestamp) -> Assigned {
        match before {
            Some(last) if last.name == self.name && last.settings == self.settings => last.clone(),
            _ => Assigned {
                name: self.name.clone(),
                settings: self.settings,
                at: now,
            },
        }
    }
}

/// What was written once is the application's own: it is not compared any more, whichever assignment gave it. That it was
/// given stays known: into an automatic assignment it is ours again, and what that one lacks is taken back.
pub fn forget_manual(link: &mut Link, target: &TargetPolicy) {
    let name = link.assignment.as_ref().map(|assigned| assigned.name.as_str());
    let named = |assignment: &&Assignment| Some(assignment.name.as_str()) == name;
    let own = target.assignments.iter().find(named);
    let Some(own) = own.filter(|assignment| assignment.manual) else {
        return;
    };
    for (path, written) in link.written.iter_mut() {
        written.doubted |= written.given || own.rows.iter().any(|row| row.path == *path);
    }
}

/// Every attribute that settings of the target may write.
pub fn paths(target: &TargetPolicy) -> impl Iterator<Item = &AttributePath> {
    target
        .assignments
        .iter()
        .flat_map(|assignment| &assignment.rows)
        .map(|row| &row.path)
}

#[cfg(test)]
mod tests {
    use usher_contract::Known;
    use usher_filter::Fields;

    use super::*;
    use crate::logic::testing::{at, person, policy};

    fn assignment(name: &str, filter: &str) -> Assignment {
        Assignment {
            name: name.to_owned(),
            filter: (filter != "all").then(|| Filter::parse(filter, &Fields::default()).unwrap()),
            manual: false,
            apply_on_change: false,
            rows: vec![],
            capture: BTreeSet::new(),
            pending: vec![],
            waiting: BTreeSet::new(),
            settings: StateHash::of_text(name),
            since: Some(at(50)),
        }
    }

    fn name_for(user: &User, filters: &[(&str, &str)]) -> Result<Option<String>, Vec<String>> {
        let mut target = policy();
        target.assignments = filters.iter().map(|(name, filter)| assignment(name, filter)).collect();
        membership(user, &target, &(), at(0)).map(|(found, _)| match found {
            Membership::Of(assignment) => Some(assignment.name.clone()),
            Membership::None => None,
            Membership::Without => Some("without".to_owned()),
        })
    }

    #[test]
    fn the_uppermost_that_holds_decides_and_an_unknown_one_above_waits() {
        let mut user = person(1).user;
        user.department = Known::Value("Sales".into());
        user.division = Known::Unknown;
        let (sales, it) = (("sales", "Department = 'Sales'"), ("it", "Department = 'IT'"));
        let (unknown, rest) = (("emea", "Division = 'EMEA'"), ("rest", "all"));
        for (filters, expected) in [
            (&[sales, it, rest][..], Ok(Some("sales".to_owned()))),
            (&[rest, sales], Ok(Some("rest".to_owned()))),
            (&[it], Ok(None)),
            (&[it, rest], Ok(Some("rest".to_owned()))),
            (&[unknown, sales], Err(vec!["division".to_owned()])),
            (&[sales, unknown], Ok(Some("sales".to_owned()))),
            (&[], Ok(Some("without".to_owned()))),
        ] {
            assert_eq!(name_for(&user, filters), expected, "{filters:?}");
        }
    }

    #[test]
    fn edited_settings_wait_for_the_person_or_an_operator() {
        let edited = assignment("sales", "all");
        let mut link = Link::unlinked(7, policy().hash);
        let pushed = |name: &str, settings: &str| {
            Some(Assigned {
                name: name.to_owned(),
                settings: StateHash::of_text(settings),
                at: at(100),
            })
        };
        for (last, observed, reimported, expected) in [
            (None, 49, None, Push::All),
            (pushed("sales", "sales"), 49, None, Push::All),
            (pushed("sales", "before"), 49, None, Push::Waits),
            (pushed("sales", "before"), 50, None, Push::Waits),
            (pushed("sales", "before"), 51, None, Push::All),
            (pushed("sales", "before"), 49, Some(at(101)), Push::All),
            (pushed("sales", "before"), 49, Some(at(99)), Push::Waits),
            // Another assignment is no edit.
            (pushed("it", "before"), 49, None, Push::All),
        ] {
            link.assignment = last.clone();
            assert_eq!(
                edited.push(&link, at(observed), reimported),
                expected,
                "{last:?} {observed} {reimported:?}"
            );
        }
        link.assignment = pushed("sales", "before");
        // What an operator ordered before the edit did not mean it, however long after the last push.
        let later = Assignment {
            since: Some(at(200)),
            ..edited.clone()
        };
        for (asked, expected) in [(150, Push::Waits), (200, Push::Waits), (201, Push::All)] {
            assert_eq!(later.push(&link, at(49), Some(at(asked))), expected, "{asked}");
        }
        let unseen = Assignment {
            since: None,
            ..edited.clone()
        };
        for asked in [None, Some(at(1000))] {
            assert_eq!(unseen.push(&link, at(1000), asked), Push::Waits, "edited just now");
        }
        link.assignment = pushed("sales", "before");
        let at_once = Assignment {
            apply_on_change: true,
            ..edited.clone()
        };
        assert_eq!(at_once.push(&link, at(49), None), Push::All);
        let manual = Assignment { manual: true, ..edited };
        assert_eq!(manual.push(&link, at(51), Some(at(101))), Push::Nothing);
    }

    #[test]
    fn the_record_remembers_since_when_settings_are_as_they_are() {
        let mut all = vec![assignment("sales", "all"), assignment("it", "all")];
        let first = seen(&all, &BTreeMap::new(), at(10));
        all[0].settings = StateHash::of_text("edited");
        remember(&mut all, &first);
        assert_eq!([all[0].since, all[1].since], [None, Some(at(10))]);
        let second = seen(&all, &first, at(20));
        remember(&mut all, &second);
        assert_eq!([all[0].since, all[1].since], [Some(at(20)), Some(at(10))]);
        assert_eq!(seen(&all, &second, at(30)), second);
    }
}
