//! What rows may take from a manager, and where that is refused.

use std::sync::Arc;

use super::*;
use crate::logic::policy::TargetPolicy;

const ROW: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";

fn with_row(source: &str) -> String {
    GOOD.replace("  timezone: { drop: true }\n", &format!("  {ROW}: {source}\n"))
}

fn target(text: &str) -> Arc<TargetPolicy> {
    let policy = read(&[("policy/helpdesk.yaml", text)]).unwrap_or_else(|error| panic!("{error}"));
    policy.targets.into_values().next().unwrap().policy
}

#[test]
fn a_field_of_the_manager_is_a_source_and_managers_are_followed_for_it() {
    for source in [
        "{ from: manager.email, whenBlank: clear }",
        "{ from: [custom.Boss__c, manager.custom.Badge__c] }",
    ] {
        let target = target(&with_row(source));
        let row = target.attributes.iter().find(|rule| rule.path.0 == ROW).unwrap();
        assert!(format!("{:?}", row.source).contains("manager."), "{:?}", row.source);
        assert_eq!(target.managers_read(), 1);
    }
    // The preset's own row is the account: nobody's manager is looked at.
    assert_eq!(target(GOOD).managers_read(), 0);
    let filtered = GOOD.replace("filter: all", "filter: \"Manager.Manager.Title = 'CEO'\"");
    assert_eq!(target(&filtered).managers_read(), 2);
    let assigned = format!(
        "{GOOD}assignments:\n  - {{ name: crew, filter: \"Manager.Email = 'boss@acme.example'\" }}\n  - {{ name: rest, filter: all }}\n"
    );
    assert_eq!(target(&assigned).managers_read(), 1);
    // Who leaves the hierarchy to the application leaves all of it.
    let left = with_row("{ from: manager.email }") + "organization: { managers: false }\n";
    let left = target(&left);
    assert!(left.attributes.iter().all(|rule| rule.path.0 != ROW));
    assert_eq!(left.managers_read(), 0);
}

#[test]
fn a_field_that_a_manager_has_not_or_that_is_no_row_is_refused_in_words() {
    for (text, place, words) in [
        (
            with_row("{ from: manager.shoeSize }"),
            ":14:",
            "unknown field `manager.shoeSize`",
        ),
        (
            with_row("{ from: [email, manager.manager.email] }"),
            ":14:",
            "unknown field `manager.manager.email`",
        ),
        (
            GOOD.replace("require: [givenName]", "require: [manager.email]"),
            ":8:",
            "a source of rows alone",
        ),
        (
            with_row("{ template: \"{{ manager.email }}\" }"),
            ":14:",
            "a source of rows alone",
        ),
    ] {
        let found = problems(&text);
        assert!(
            found.len() == 1 && found[0].contains(place) && found[0].contains(words),
            "{found:#?}"
        );
    }
}
