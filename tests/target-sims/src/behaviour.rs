//! How the simulated application differs from the ideal one, changeable while it runs.

use std::collections::HashSet;
use std::time::Duration;

use crate::rules::{Patch, PatchAnswer, Rules, UserName};

/// Switches; the default is a complete and well-behaved server.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Off: PATCH answers 501 and the ServiceProviderConfig says so.
    pub patch_supported: bool,
    /// Off: a filter answers 501.
    pub filter_supported: bool,
    /// Off: no ETag, no `meta.version`, `If-Match` is ignored.
    pub etag_supported: bool,
    /// PATCH answers 204 without a body instead of 200 with the resource.
    pub patch_answers_nothing: bool,
    /// Store user names in lower case, as Salesforce does.
    pub lower_case_user_name: bool,
    /// The most resources in one list answer.
    pub page_size_max: usize,
    pub latency: Latency,
    /// Every write answers 403.
    pub read_only: bool,
    /// Ids or user names (any case) whose PUT, PATCH and DELETE answer 403.
    pub protected: HashSet<String>,
    /// DELETE sets `active` to false and answers 204; the account stays.
    pub delete_deactivates: bool,
    /// The most members that one PATCH of a group may name; more answers 413.
    pub members_per_patch_max: usize,
    /// Adding somebody who is a member already answers 409, as some servers do.
    pub member_twice_conflicts: bool,
    /// A PATCH that removes `members[value eq "…"]` answers 400, as of servers that want the members as value.
    pub members_removed_by_value_only: bool,
    /// Groups are shown without their members.
    pub hide_members: bool,
    /// A PUT of a group answers 405: whoever replaces all members may empty it.
    pub group_put_refused: bool,
    /// Inactive users are missing from lists and filters, but can be read by id.
    pub hide_inactive: bool,
    /// What this vendor does differently.
    pub rules: Rules,
}

impl Behaviour {
    /// A server that keeps the rules of a vendor. Panics when there is no such vendor.
    #[must_use]
    pub fn of_vendor(vendor: &str) -> Behaviour {
        Behaviour::of_rules(Rules::of(vendor))
    }

    /// A server that keeps these rules.
    #[must_use]
    pub fn of_rules(rules: Rules) -> Behaviour {
        Behaviour {
            patch_supported: rules.patch != Patch::None,
            etag_supported: rules.versions,
            patch_answers_nothing: rules.patch_answer == PatchAnswer::Nothing,
            lower_case_user_name: rules.user_name == UserName::LowerCase,
            page_size_max: match rules.page_size_max {
                0 => Behaviour::default().page_size_max,
                most => most,
            },
            rules,
            ..Behaviour::default()
        }
    }
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            patch_supported: true,
            filter_supported: true,
            etag_supported: true,
            patch_answers_nothing: false,
            lower_case_user_name: false,
            page_size_max: 200,
            latency: Latency::None,
            read_only: false,
            protected: HashSet::new(),
            delete_deactivates: false,
            members_per_patch_max: usize::MAX,
            member_twice_conflicts: false,
            members_removed_by_value_only: false,
            hide_members: false,
            group_put_refused: false,
            hide_inactive: false,
            rules: Rules::default(),
        }
    }
}

/// Time between executing a request and answering it.
///
/// After, not before: a client that gives up has then changed something without knowing, which is the harder case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    None,
    Fixed(Duration),
    /// Between the two, drawn per request.
    Between(Duration, Duration),
}

impl Latency {
    /// The delay of request number `sequence`. Deterministic, so that a failing run can be repeated.
    pub(crate) fn of(self, sequence: u64) -> Duration {
        match self {
            Latency::None => Duration::ZERO,
            Latency::Fixed(delay) => delay,
            Latency::Between(least, most) => {
                // Multiplication by the golden ratio spreads consecutive numbers evenly over the range.
                let spread = sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                let fraction = spread as f64 / f64::from(u32::MAX);
                least + most.saturating_sub(least).mul_f64(fraction)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_in_its_range_and_varies() {
        let (least, most) = (Duration::from_millis(10), Duration::from_millis(30));
        let delays: HashSet<Duration> = (0..100)
            .map(|sequence| Latency::Between(least, most).of(sequence))
            .collect();
        assert!(delays.len() > 90);
        assert!(delays.iter().all(|delay| (least..=most).contains(delay)));
    }
}
