//! What a person must have to be created or adopted: required fields, accepted e-mail domains.
//!
//! Only ever a reason not to begin: a linked person who fails is left as is and reported (a blanked name, a rebrand).

use std::borrow::Cow;

use serde_json::Value;
use usher_contract::{Known, User};

use super::{
    policy::Gate,
    source::{SourceField, is_blank},
};

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// Everything is there.
    Open,
    /// What is missing, in words.
    Closed(Vec<String>),
    /// A field that would decide is unknown.
    Unknown(String),
}

/// A field that is known to be blank closes the gate whatever else is unknown.
#[must_use]
pub fn gate(user: &User, gate: &Gate) -> Passage {
    let user = &*with_primary_domain(user, gate);
    let mut missing = Vec::new();
    let mut unknown = None;
    for field in &gate.require {
        match field.read(user) {
            Known::Unknown => unknown = unknown.or_else(|| Some(field.to_string())),
            Known::Empty => missing.push(format!("{field} is blank and required")),
            Known::Value(value) if is_blank(&value) => missing.push(format!("{field} is blank and required")),
            Known::Value(_) => {}
        }
    }
    if !gate.domains.is_empty() {
        match domain(user) {
            Known::Unknown => unknown = unknown.or_else(|| Some("email".to_owned())),
            Known::Empty => missing.push("email has no domain to compare".to_owned()),
            Known::Value(domain) if gate.domains.contains(&domain) => {}
            Known::Value(_) => missing.push("the domain of email is not among the accepted ones".to_owned()),
        }
    }
    match (missing.is_empty(), unknown) {
        (false, _) => Passage::Closed(missing),
        (true, Some(field)) => Passage::Unknown(field),
        (true, None) => Passage::Open,
    }
}

/// The person with an address in the primary domain, where the policy converts: before matching, checking and writing.
#[must_use]
pub fn with_primary_domain<'a>(user: &'a User, gate: &Gate) -> Cow<'a, User> {
    let Some(primary) = &gate.convert_to else {
        return Cow::Borrowed(user);
    };
    let Known::Value(email) = &user.email else {
        return Cow::Borrowed(user);
    };
    match email.trim().rsplit_once('@') {
        Some((local, domain)) if !domain.eq_ignore_ascii_case(primary) => {
            let mut user = user.clone();
            user.email = Known::Value(format!("{local}@{primary}"));
            Cow::Owned(user)
        }
        _ => Cow::Borrowed(user),
    }
}

fn domain(user: &User) -> Known<String> {
    let email = SourceField::named("email").map_or(Known::Unknown, |field| field.read(user));
    match email {
        Known::Unknown => Known::Unknown,
        Known::Value(Value::String(email)) => {
            Known::from_option(email.trim().rsplit_once('@').map(|(_, domain)| domain.to_lowercase()))
        }
        Known::Empty | Known::Value(_) => Known::Empty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::person;

    fn rule(require: &[&str], domains: &[&str]) -> Gate {
        Gate {
            require: require.iter().map(|name| SourceField::named(name).unwrap()).collect(),
            domains: domains.iter().map(|d| (*d).to_owned()).collect(),
            convert_to: None,
        }
    }

    #[test]
    fn required_fields_and_domains() {
        let mut user = person(1).user;
        user.email = Known::Value("Ada@ACME.com".into());
        assert_eq!(gate(&user, &rule(&["email"], &["acme.com"])), Passage::Open);
        assert_eq!(
            gate(&user, &rule(&[], &["acme.io"])),
            Passage::Closed(vec!["the domain of email is not among the accepted ones".into()])
        );
        user.given_name = Known::Value("  ".into());
        assert_eq!(
            gate(&user, &rule(&["givenName"], &[])),
            Passage::Closed(vec!["givenName is blank and required".into()])
        );
    }

    #[test]
    fn blank_outweighs_unknown_and_unknown_outweighs_open() {
        let mut user = person(1).user;
        user.given_name = Known::Empty;
        user.family_name = Known::Unknown;
        assert!(matches!(
            gate(&user, &rule(&["familyName", "givenName"], &[])),
            Passage::Closed(_)
        ));
        assert_eq!(
            gate(&user, &rule(&["familyName"], &[])),
            Passage::Unknown("familyName".into())
        );
        user.email = Known::Unknown;
        assert_eq!(gate(&user, &rule(&[], &["acme.com"])), Passage::Unknown("email".into()));
    }

    #[test]
    fn conversion_comes_before_the_check() {
        let mut user = person(1).user;
        user.email = Known::Value(" Ada@old.example".into());
        let mut converting = rule(&[], &["acme.com"]);
        assert!(
            matches!(gate(&user, &converting), Passage::Closed(_)),
            "skipped by default"
        );
        converting.convert_to = Some("acme.com".into());
        assert_eq!(gate(&user, &converting), Passage::Open);
        assert_eq!(
            with_primary_domain(&user, &converting).email,
            Known::Value("Ada@acme.com".into())
        );
        for unchanged in [
            Known::Value("ada@ACME.com".to_owned()),
            Known::Value("nobody".into()),
            Known::Empty,
            Known::Unknown,
        ] {
            user.email = unchanged.clone();
            assert_eq!(with_primary_domain(&user, &converting).email, unchanged);
        }
    }
}
