//! To which organization of Salesforce a credential belongs, and that it is none of those whose people are written.
//!
//! An organization that is the source of its own people would be written from itself: a user would be changed because they have
//! changed. The file of a target cannot tell (an address names a domain, people have ids), so the credential does: an access
//! token of Salesforce begins with the organization's id and an exclamation mark, and the answer of the token endpoint names
//! it in `id` (`https://login.salesforce.com/id/<organization>/<user>`), where the token is a JWT as well.

use std::collections::BTreeSet;

use usher_contract::OrgId;

use crate::connector::Refusal;

/// The stable code of the refusal.
pub(crate) const OWN_ORGANIZATION: &str = "own-organization";

/// The organization of an access token, when the token says so.
pub(crate) fn of_token(token: &str) -> Option<OrgId> {
    let (id, _) = token.split_once('!')?;
    organization(id)
}

/// The organization of the identity URL of a token endpoint's answer.
pub(crate) fn of_identity(url: &str) -> Option<OrgId> {
    let (_, path) = url.split_once("/id/")?;
    organization(path.split('/').next()?)
}

fn organization(id: &str) -> Option<OrgId> {
    id.starts_with("00D").then(|| id.parse().ok()).flatten()
}

/// Refuses an organization whose people these are.
///
/// # Errors
/// In words, with the id: an organization is nobody's secret.
pub(crate) fn refuse_own(organization: Option<OrgId>, own: &BTreeSet<OrgId>) -> Result<(), Refusal> {
    match organization.filter(|organization| own.contains(organization)) {
        None => Ok(()),
        Some(organization) => Err(Refusal {
            code: OWN_ORGANIZATION.to_owned(),
            reason: format!(
                "the credentials belong to organization {organization}, whose people are the source of this target: an \
                 organization is not written from itself; connect another one, or take it out of `sources`"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_identities_name_their_organization_and_others_name_none() {
        let org: OrgId = "00D000000000001EAA".parse().unwrap();
        assert_eq!(of_token("00D000000000001!AQsecret!x"), Some(org));
        assert_eq!(of_token("00D000000000001EAA!AQ"), Some(org));
        assert_eq!(
            of_identity("https://login.salesforce.com/id/00D000000000001EAA/005000000000001AAA"),
            Some(org)
        );
        assert_eq!(
            of_identity("https://h.example/id/00D000000000001/005000000000001"),
            Some(org)
        );
        for none in [
            "eyJhbGciOi.x.y",
            "00D000000000001",
            "005000000000001!x",
            "00Dx!y",
            "!",
            "",
        ] {
            assert_eq!(of_token(none), None, "{none}");
            assert_eq!(of_identity(none), None, "{none}");
        }
        let refused = refuse_own(Some(org), &[org].into()).unwrap_err();
        assert_eq!(refused.code, OWN_ORGANIZATION);
        assert!(refused.reason.contains("00D000000000001EAA"), "{refused}");
        let other: OrgId = "00D000000000002EAA".parse().unwrap();
        assert_eq!(refuse_own(Some(other), &[org].into()), Ok(()));
        assert_eq!(refuse_own(None, &[org].into()), Ok(()));
    }
}
