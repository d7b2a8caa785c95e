//! Who belongs to a target at all: the organizations it lists. All users of them; filters are a later room.

use usher_contract::User;

use super::policy::TargetPolicy;

/// Whether a person is of an organization that the target lists. A sandbox org never reaches a target that does not.
#[must_use]
pub fn in_sources(user: &User, target: &TargetPolicy) -> bool {
    target.sources.contains(&user.org_id)
}
