//! Who belongs and what becomes of who does not: filters, domains, life cycle.

use super::*;

/// The policy with another scope.
fn scoped(scope: &str) -> String {
    GOOD.replace("scope: { filter: all }", scope)
}

#[test]
fn a_mistake_inside_of_a_filter_has_its_place_in_the_file() {
    for (scope, place, told) in [
        (
            "scope: { filter: \"IsActive = true AND Titel = 'AE'\" }",
            "7:39",
            "did you mean `Title`?",
        ),
        (
            "scope: { filter: IsActive = true AND Titel = 'AE' }",
            "7:38",
            "did you mean `Title`?",
        ),
        (
            "scope:\n  filter: |\n    IsActive = true\n      AND Titel = 'AE'",
            "10:11",
            "did you mean `Title`?",
        ),
        (
            "scope: { filter: all, skip: [\"Title = 'x'\", \"Title == 'y'\"] }",
            "7:52",
            "SOQL has no `==`; use `=`",
        ),
        (
            "scope:\n  filter: all\n  skip:\n    - Title LIKE 'x%'\n    - Title < 'x'",
            "11:13",
            "texts have no order here",
        ),
    ] {
        let found = problems(&scoped(scope));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with(&format!("policy/helpdesk.yaml:{place}: scope.")),
            "{}",
            found[0]
        );
        assert!(found[0].contains(told), "{}", found[0]);
    }
    let found = problems(&scoped("scope: { filter: \"Titel = 'AE'\" }"));
    let shown: Vec<&str> = found[0].lines().skip(1).collect();
    assert_eq!(
        shown,
        ["  | scope: { filter: \"Titel = 'AE'\" }", "  |                   ^"]
    );
}

/// Where the text is not written as it is read, the filter is shown with the mistake marked.
#[test]
fn a_mistake_in_a_filter_with_escapes_or_folded_lines_is_marked_in_the_filter() {
    for scope in [
        "scope: { filter: 'IsActive = true AND Titel = ''AE''' }",
        "scope:\n  filter: >\n    IsActive = true\n    AND Titel = 'AE'",
        "scope: { filter: \"IsActive = true\\nAND Titel = 'AE'\" }",
    ] {
        let found = problems(&scoped(scope));
        assert_eq!(found.len(), 1, "{found:#?}");
        let lines: Vec<&str> = found[0].lines().collect();
        assert!(
            lines[0].contains(": scope.filter: unknown field `Titel`"),
            "{}",
            found[0]
        );
        let mark = lines[lines.len() - 1];
        let marked: String = lines[lines.len() - 2]
            .chars()
            .skip(mark.find('^').unwrap())
            .take(5)
            .collect();
        assert_eq!(
            (marked.as_str(), mark.matches('^').count()),
            ("Titel", 5),
            "{}",
            found[0]
        );
    }
}

#[test]
fn scope_and_how_filters_are_read_reach_the_rules() {
    use crate::logic::scope::{Belonging, Scope};
    let scope = "scope: { filter: \"SELECT Id FROM User WHERE Title = 'AE' ORDER BY Name\", skip: [\"Division != 'x'\"] }\n\
                 filters: { timeZone: Europe/Berlin, weekStarts: monday, fiscalYearStarts: April, nullMatchesNot: false }";
    let text = scoped(scope).replace("removed: keep", "outOfScope: keep");
    let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap();
    let target = &policy.targets.values().next().unwrap().policy;
    let found = &target.scope;
    assert_eq!(found.filter.as_ref().unwrap().to_string(), "Title = 'AE'");
    assert_eq!((found.skip.len(), found.fiscal_year_starts), (1, 4));
    assert_eq!(found.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(found.week_starts, jiff::civil::Weekday::Monday);
    assert_eq!(target.lifecycle.out_of_scope, Disposition::Keep);
    let of_scope: Vec<&String> = policy
        .warnings
        .iter()
        .filter(|said| said.contains("scope.filter"))
        .collect();
    assert_eq!(of_scope.len(), 1, "{:?}", policy.warnings);
    assert!(of_scope[0].contains("ORDER BY has no effect"), "{of_scope:?}");
    // A null division: `!=` does not hold, so nobody is skipped.
    let mut user = crate::logic::testing::person(1).user;
    user.division = usher_contract::Known::Empty;
    assert_eq!(found.judge(&user, &(), crate::logic::testing::at(0)).0, Belonging::In);

    let all = read(&[("policy/helpdesk.yaml", &scoped("scope: { filter: ALL }"))]).unwrap();
    let all = &all.targets.values().next().unwrap().policy;
    assert_eq!(all.scope, Scope::default());
    assert_eq!(all.lifecycle.out_of_scope, Disposition::Deactivate);
    assert_ne!(all.hash, target.hash);
}

#[test]
fn what_cannot_be_a_scope_is_refused_with_a_hint() {
    for (scope, told) in [
        ("scope: {}", "scope.filter: is required: which users belong"),
        (
            "scope: { filter: \"\" }",
            "the filter is empty; for everybody write the word all",
        ),
        (
            "scope: { filter: all, skip: [all] }",
            "scope.skip.0: would leave everybody out",
        ),
        ("scope: { filter: all, skip: \"Title = 'x'\" }", "scope.skip: "),
        ("scope: { filter: all, skips: [] }", "did you mean `skip`?"),
        (
            "scope: { filter: all }\nfilters: { timeZone: Berlin }",
            "`Berlin` is no time zone; write one such as Europe/Berlin",
        ),
        (
            "scope: { filter: all }\nfilters: { weekStarts: mon }",
            "`mon` is no day of the week",
        ),
        (
            "scope: { filter: all }\nfilters: { fiscalYearStarts: Arpil }",
            "did you mean `april`?",
        ),
        (
            "scope: { filter: all }\nfilters: { timezone: UTC }",
            "did you mean `timeZone`?",
        ),
    ] {
        let found = problems(&scoped(scope));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains(told), "{} should say: {told}", found[0]);
    }
}

#[test]
fn domains_come_as_a_list_or_between_commas_and_new_lines() {
    let gate = |domains: &str| {
        let text = GOOD.replace(
            "domains: { primary: acme.example, additional: [Acme.io] }",
            &format!("domains: {domains}"),
        );
        read(&[("policy/helpdesk.yaml", &text)]).map(|policy| {
            let gate = policy.targets.values().next().unwrap().policy.gate.clone();
            let said = policy
                .warnings
                .iter()
                .any(|warning| warning.contains("address in the primary domain"));
            assert_eq!(said, gate.convert_to.is_some(), "an option that is on is said");
            gate
        })
    };
    for domains in [
        "{ primary: Acme.example, additional: [acme.io, \" @ACME.org \"] }",
        "{ primary: acme.example, additional: \"acme.io, , acme.org\" }",
        "{ primary: acme.example, additional: \"Acme.io\\nacme.org\\n\" }",
    ] {
        let gate = gate(domains).unwrap();
        assert_eq!(gate.domains, ["acme.example", "acme.io", "acme.org"], "{domains}");
        assert_eq!(gate.convert_to, None);
    }
    assert_eq!(
        gate("{ primary: acme.example, convertToPrimary: true }")
            .unwrap()
            .convert_to,
        Some("acme.example".into())
    );
    for (domains, words) in [
        (
            "{ additional: [acme.io], convertToPrimary: true }",
            "needs gate.domains.primary",
        ),
        ("{ primary: acme }", "`acme` is no domain"),
        ("{ additional: \"acme.io acme.org\" }", "is no domain"),
    ] {
        assert!(gate(domains).unwrap_err().0[0].contains(words), "{domains}");
    }
}

#[test]
fn a_termination_date_and_a_time_to_delete_are_read_as_written() {
    let lifecycle = |text: &str| {
        let text = GOOD.replace(
            "lifecycle: { removed: keep }",
            &format!("features: {{ delete: true }}\nlifecycle: {{ {text} }}"),
        );
        let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap_or_else(|error| panic!("{error}"));
        (
            policy.targets.values().next().unwrap().policy.lifecycle.clone(),
            policy.warnings,
        )
    };
    let (read, warnings) =
        lifecycle("deleteAfter: 90d, terminated: keep, termination: { field: custom.End__c, at: startOfDay }");
    let termination = read.termination.unwrap();
    assert_eq!(
        (termination.field.to_string().as_str(), termination.end_of_day),
        ("custom.End__c", false)
    );
    assert_eq!(
        (termination.zone, termination.fallback.iana_name()),
        (None, Some("UTC"))
    );
    assert_eq!(read.delete_after.unwrap().as_secs(), 90 * 24 * 3600);
    assert_eq!(read.terminated, Disposition::Keep);
    assert!(
        warnings.iter().any(|warning| warning.contains("deleted for good")),
        "{warnings:?}"
    );
    let (read, warnings) = lifecycle("termination: { timeZone: Europe/Berlin }, deleteAfter: never");
    let termination = read.termination.unwrap();
    assert_eq!(termination.zone.unwrap().iana_name(), Some("Europe/Berlin"));
    assert_eq!(
        (termination.field.to_string().as_str(), termination.end_of_day),
        ("terminationDate", true)
    );
    assert_eq!(read.delete_after, None);
    assert!(
        warnings.iter().any(|warning| warning.contains("has no effect")),
        "{warnings:?}"
    );
}

#[test]
fn the_old_single_option_to_keep_accounts_is_split_in_two() {
    let lifecycle = |text: &str| {
        let text = GOOD.replace("lifecycle: { removed: keep }", &format!("lifecycle: {{ {text} }}"));
        let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap();
        let read = &policy.targets.values().next().unwrap().policy.lifecycle;
        let said = policy
            .warnings
            .iter()
            .filter(|said| said.contains("lifecycle."))
            .count();
        (read.inactive, read.out_of_scope, read.removed, said)
    };
    use Disposition::{Deactivate, Keep};
    assert_eq!(lifecycle("keepActive: true"), (Keep, Keep, Deactivate, 1));
    assert_eq!(
        lifecycle("keepActive: true, inactive: deactivate"),
        (Deactivate, Keep, Deactivate, 1)
    );
    assert_eq!(lifecycle("keepActive: false"), (Deactivate, Deactivate, Deactivate, 0));
}
