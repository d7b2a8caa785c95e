//! What the policy files say, and what is said about them when they are wrong.

use super::*;
use crate::logic::policy::{Disposition, Mode, ValueSource, WhenBlank, Write};

const GOOD: &str = r#"
target: helpdesk
preset: scim
mode: enforce
sources: ["00D000000000001EAA"]
connection: { baseUrl: "https://helpdesk.example/scim/v2", auth: { bearerTokenFile: /secrets/token } }
scope: { filter: all }
gate: { require: [givenName], domains: { primary: acme.example, additional: [Acme.io] } }
match: { firstSync: auto }
attributes:
  title: { from: [title, custom.Job__c], write: onCreate }
  'emails[type eq "work"].value': { from: [email, custom.Work_Email__c] }
  userType: { constant: Employee }
  timezone: { drop: true }
lifecycle: { removed: keep }
"#;

pub(super) fn read(files: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (PathBuf::from(name), (*text).to_owned()))
        .collect();
    from_texts(&files)
}

fn problems(text: &str) -> Vec<String> {
    read(&[("policy/helpdesk.yaml", text)]).unwrap_err().0
}

#[test]
fn a_target_is_read_over_its_preset() {
    let policy = read(&[("policy/helpdesk.yaml", GOOD)]).unwrap();
    let target = &policy.targets.values().next().unwrap().policy;
    assert_eq!((target.name.as_str(), target.mode), ("helpdesk", Mode::Enforce));
    assert_eq!(target.gate.domains, ["acme.example", "acme.io"]);
    assert_eq!(target.lifecycle.removed, Disposition::Keep);
    let row = |path: &str| target.attributes.iter().find(|rule| rule.path.0 == path);
    let title = row("title").unwrap();
    assert_eq!(
        (title.write, title.when_blank),
        (Write::OnCreate, WhenBlank::Clear),
        "key by key over the preset"
    );
    assert!(matches!(&title.source, ValueSource::From(fields) if fields.len() == 2));
    assert!(matches!(&row("userType").unwrap().source, ValueSource::Constant(_)));
    assert!(row("timezone").is_none(), "dropped");
    assert!(row("name.familyName").is_some(), "from the preset");
}

#[test]
fn a_bare_off_is_the_mode_off() {
    let off = GOOD.replace("mode: enforce", "mode: off");
    let policy = read(&[("policy/helpdesk.yaml", &off)]).unwrap();
    assert_eq!(policy.targets.values().next().unwrap().policy.mode, Mode::Off);
}

#[test]
fn defaults_stand_below_every_target() {
    let defaults = "mode: observe\npace: { perSecond: 3 }\nattributes: { nickName: { from: givenName } }\n";
    let other = GOOD.replace("helpdesk", "crm").replace("mode: enforce\n", "");
    let policy = read(&[
        ("policy/_defaults.yaml", defaults),
        ("policy/a.yaml", GOOD),
        ("policy/b.yaml", &other),
    ])
    .unwrap();
    let modes: Vec<_> = policy.targets.values().map(|target| target.policy.mode).collect();
    assert_eq!(modes, [Mode::Observe, Mode::Enforce]);
    assert!(
        policy
            .targets
            .values()
            .all(|target| { target.policy.attributes.iter().any(|rule| rule.path.0 == "nickName") })
    );
}

#[test]
fn a_typo_is_shown_with_file_line_caret_and_nearest_name() {
    let found = problems(&GOOD.replace("gate:", "gates:"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("policy/helpdesk.yaml:8:1: gates: unknown key; did you mean `gate`?\n  | gates:"),
        "{}",
        found[0]
    );
    assert!(found[0].ends_with("\n  | ^"), "{}", found[0]);
    let found = problems(&GOOD.replace("custom.Work_Email__c", "emial"));
    assert!(found[0].starts_with("policy/helpdesk.yaml:12:37: "), "{}", found[0]);
    assert!(
        found[0].contains("unknown field `emial`; did you mean `email`?"),
        "{}",
        found[0]
    );
}

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
    assert_eq!(policy.warnings.len(), 1, "{:?}", policy.warnings);
    assert!(
        policy.warnings[0].contains("ORDER BY has no effect"),
        "{}",
        policy.warnings[0]
    );
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
fn all_problems_of_all_files_are_shown_together() {
    let first = GOOD
        .replace("filter: all", "filter: \"Departmnt = 'Sales'\"")
        .replace("firstSync: auto", "firstSync: maybe");
    let second = GOOD
        .replace("helpdesk", "crm")
        .replace("preset: scim", "preset: scin\ngroups: {}");
    let third = "target: [";
    let found = read(&[("a.yaml", &first), ("b.yaml", &second), ("c.yaml", third)])
        .unwrap_err()
        .0;
    for (file, words) in [
        ("a.yaml:7:19", "unknown field `Departmnt`; did you mean `Department`?"),
        ("a.yaml:9:10", "`maybe` is neither auto nor approve"),
        (
            "b.yaml:3:1",
            "there is no preset `scin`; this version has scim, rest, skyprep, miniorange, spinify-api; did you mean `scim`?",
        ),
        ("b.yaml:4:1", "groups: is not supported in this version"),
        ("c.yaml:", "not valid YAML"),
    ] {
        assert!(
            found
                .iter()
                .any(|problem| problem.starts_with(file) && problem.contains(words)),
            "{file} {words}: {found:#?}"
        );
    }
}

#[test]
fn what_this_version_does_not_do_is_refused() {
    for (change, words) in [
        ("features: { groups: true }", "features.groups: is not supported"),
        ("lifecycle: { terminated: deactivate }", "needs lifecycle.termination"),
        ("lifecycle: { deleteAfter: 30d }", "needs features.delete: true"),
        (
            "lifecycle: { termination: { field: endDate } }",
            "unknown field `endDate`",
        ),
        (
            "lifecycle: { termination: { at: noon } }",
            "neither startOfDay nor endOfDay",
        ),
        (
            "lifecycle: { termination: { timeZone: Mars } }",
            "`Mars` is no time zone",
        ),
        ("lifecycle: { termination: { zone: UTC } }", "unknown key"),
        (
            "lifecycle: { inactive: delete }",
            "`delete` is not supported; use deactivate or keep",
        ),
        ("pace: { perDay: 0 }", "must be at least 1"),
        ("pace: { leaverReserve: 10 }", "pace.leaverReserve"),
        ("pace: { leaverReserve: 200% }", "must be a percentage"),
        ("pace: { perSecond: 0 }", "must be between"),
        ("schedule: { reconcile: 24 }", "must be a duration with its unit"),
        ("retry: { base: 1h, max: 1m }", "must not be larger than retry.max"),
        ("guard: { removals: { percent: 101 } }", "must be between 0 and 100"),
        ("guard: { removals: { atLeast: 9, atMost: 8 } }", "must not be larger"),
        ("guard: { windows: [1] }", "guard.windows"),
        ("guard: { firstImport: maybe }", "neither hold nor allow"),
    ] {
        let text = GOOD.replace("lifecycle: { removed: keep }", change);
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].contains(words), "{change}: {found:#?}");
    }
}

#[test]
fn a_section_that_is_no_map_is_refused() {
    for (change, path) in [
        ("lifecycle: keep", "lifecycle: must be a map"),
        ("features: false", "features: must be a map"),
        ("pace: 3", "pace: must be a map"),
        ("retry: [1s]", "retry: must be a map"),
        ("schedule: daily", "schedule: must be a map"),
    ] {
        let found = problems(&GOOD.replace("lifecycle: { removed: keep }", change));
        assert!(
            found.len() == 1 && found[0].contains(":15:1: ") && found[0].contains(path),
            "{change}: {found:#?}"
        );
    }
    let gate = "gate: { require: [givenName], domains: { primary: acme.example, additional: [Acme.io] } }";
    for (change, path) in [
        ("gate: [email]", ":8:1: gate: must be a map"),
        ("gate: { domains: acme.example }", ":8:9: gate.domains: must be a map"),
    ] {
        let found = problems(&GOOD.replace(gate, change));
        assert!(found.len() == 1 && found[0].contains(path), "{change}: {found:#?}");
    }
    let found = problems("- target: x\n");
    assert!(
        found.iter().any(|problem| problem.contains(":1:1: must be a map")),
        "{found:#?}"
    );
    let defaults = [("policy/_defaults.yaml", "pace: 3\n"), ("policy/a.yaml", GOOD)];
    let found = read(&defaults).unwrap_err().0;
    assert!(
        found
            .iter()
            .any(|problem| problem.contains("_defaults.yaml:1:1: pace: must be a map")),
        "{found:#?}"
    );
    assert!(
        read(&[("a.yaml", &format!("{GOOD}pace:\n"))]).is_ok(),
        "nothing below a key is nothing said"
    );
}

#[test]
fn matching_by_email_needs_to_know_the_address() {
    let text = GOOD
        .replace("{ from: [email, custom.Work_Email__c] }", "{ drop: true }")
        .replace("firstSync: auto", "firstSync: auto, by: [externalId, email]");
    let found = problems(&text);
    assert!(
        found.len() == 1 && found[0].contains(":9:27: match.by: has email") && found[0].contains("emails[type eq"),
        "{found:#?}"
    );
    assert!(read(&[("a.yaml", &text.replace(", email]", "]"))]).is_ok());
}

#[test]
fn a_secret_in_the_wrong_place_is_in_no_message() {
    let line =
        "connection: { baseUrl: \"https://helpdesk.example/scim/v2\", auth: { bearerTokenFile: /secrets/token } }";
    for connection in [
        "{ baseUrl: 'https://h.example', auth: { bearerToken: s3cret } }",
        "{ baseUrl: 'https://h.example', auth: s3cret }",
        "{ baseUrl: 'https://h.example', auth: { header: { name: 'Authorization: s3cret', valueFile: /x } } }",
        "{ baseUrl: 'https://u:s3cret@h.example', auth: none, typo: 1 }",
        "{ baseUrl: 'https://h.example', auth: none, allowPlaintext: s3cret }",
        "{ baseUrl: 'https://h.example', auth: none, caFile: [s3cret] }",
        "{ baseUrl: 'https://h.example', auth: none, scim: s3cret }",
        "{ baseUrl: 'https://h.example', auth: none, scim: { patch: s3cret } }",
        "{ baseUrl: 'https://h.example', auth: none, timeouts: { request: s3cret } }",
        "{ baseUrl: 'https://h.example', auth: none, timeouts: s3cret }",
        "s3cret",
        "{ baseUrl: 'https://h.example', auth: { bearerToken: s3cret }",
        "\n  baseUrl: 'https://h.example'\n  auth:\n    bearerToken: s3cret\n  caFile: 7",
    ] {
        let found = problems(&GOOD.replace(line, &format!("connection: {connection}")));
        assert!(!found.is_empty());
        for problem in &found {
            assert!(!problem.contains("s3cret"), "{connection}: {problem}");
            assert!(problem.contains("helpdesk.yaml:"), "a place: {problem}");
        }
    }
}

#[test]
fn attributes_are_checked_against_the_connector() {
    for (row, words) in [
        ("nosuch: { from: title }", "nosuch"),
        ("active: { constant: true }", "is written by Usher itself"),
        ("nickName: { from: title, constant: x }", "needs exactly one of"),
        ("nickName: { template: x }", "names no field"),
        ("nickName: { from: 7 }", "expected the name of a field"),
        ("nickName: { from: title, whenBlank: drop }", "unknown variant `drop`"),
        ("userName: { drop: true }", "userName cannot be dropped"),
    ] {
        let text = GOOD.replace("  timezone: { drop: true }", &format!("  {row}"));
        let found = problems(&text);
        assert!(
            found
                .iter()
                .any(|problem| problem.contains(words) && problem.contains(":14:")),
            "{row}: {found:#?}"
        );
    }
}

#[test]
fn connections_are_checked_and_secrets_never_shown() {
    for (connection, words) in [
        (
            "{ baseUrl: 'https://h.example', auth: { bearerToken: s3cret } }",
            "unknown key",
        ),
        (
            "{ baseUrl: 'https://h.example', auth: s3cret }",
            "must be exactly one of",
        ),
        ("{ baseUrl: 'http://h.example', auth: none }", "use https"),
        (
            "{ baseUrl: 'https://h.example', auth: none, timeouts: { request: 1m } }",
            "at most 15s",
        ),
        (
            "{ baseUrl: 'https://h.example', auth: none, scim: { patchs: put } }",
            "did you mean `patch`?",
        ),
        ("{ auth: none }", "connection.baseUrl: is required"),
    ] {
        let line =
            "connection: { baseUrl: \"https://helpdesk.example/scim/v2\", auth: { bearerTokenFile: /secrets/token } }";
        let found = problems(&GOOD.replace(line, &format!("connection: {connection}")));
        assert!(
            found.iter().any(|problem| problem.contains(words)),
            "{connection}: {found:#?}"
        );
    }
}

#[test]
fn two_files_cannot_describe_one_target() {
    let found = read(&[("a.yaml", GOOD), ("b.yaml", GOOD)]).unwrap_err().0;
    assert!(
        found[0].contains("target helpdesk is described by a.yaml already"),
        "{found:?}"
    );
}

#[test]
fn pace_and_retries_do_not_change_the_configuration_that_plans_name() {
    let hash = |text: &str| {
        read(&[("a.yaml", text)])
            .unwrap()
            .targets
            .values()
            .next()
            .unwrap()
            .policy
            .hash
    };
    assert_eq!(hash(GOOD), hash(&format!("{GOOD}pace: {{ perSecond: 1 }}\n")));
    assert_ne!(hash(GOOD), hash(&GOOD.replace("removed: keep", "removed: deactivate")));
    assert_ne!(hash(GOOD), hash(&GOOD.replace("constant: Employee", "constant: Staff")));
}

#[test]
fn the_example_is_a_valid_policy() {
    let policy = read(&[("example.yaml", include_str!("../../policy.example.yaml"))]).unwrap();
    assert!(policy.warnings.is_empty() && policy.targets.len() == 1);
}

#[test]
fn values_in_outcomes_are_named_by_rows_and_warned_about() {
    let recorded = format!("{GOOD}outcomes: {{ values: [title, userType] }}\n");
    let policy = read(&[("policy/helpdesk.yaml", &recorded)]).unwrap();
    let target = &policy.targets.values().next().unwrap().policy;
    assert_eq!(target.recorded.len(), 2);
    assert!(
        policy
            .warnings
            .iter()
            .any(|warning| warning.contains("topic of outcomes"))
    );
    let found = problems(&recorded.replace("[title, userType]", "[titel, userType]"));
    assert!(
        found[0].contains("no row of attributes writes `titel`; did you mean `title`?"),
        "{found:#?}"
    );
    assert!(
        read(&[("policy/helpdesk.yaml", GOOD)])
            .unwrap()
            .targets
            .values()
            .all(|target| target.policy.recorded.is_empty())
    );
}

#[test]
fn how_many_failures_halt_a_target_is_a_share_of_the_last_answers() {
    let halt = |text: &str| {
        let policy = format!("{GOOD}retry: {{ halt: {{ {text} }} }}\n");
        read(&[("policy/helpdesk.yaml", &policy)]).map(|policy| {
            let retry = policy.targets.values().next().unwrap().policy.retry;
            (retry.halt_at, retry.halt_of)
        })
    };
    assert_eq!(halt(""), Ok((10, 20)));
    assert_eq!(halt("percent: 30, of: 11"), Ok((4, 11)));
    for (wrong, words) in [
        ("percent: 0", "must be between 1 and 100"),
        ("of: 65", "must be between 5 and 64"),
        ("off: 20", "did you mean `of`?"),
    ] {
        assert!(halt(wrong).unwrap_err().0[0].contains(words), "{wrong}");
    }
}

#[test]
fn a_name_that_is_in_use_or_claimed_twice_cannot_be_taken_over() {
    let named = |name: &str, formerly: &str| {
        let host = format!("{name}.example");
        GOOD.replace("helpdesk.example", &host)
            .replace("target: helpdesk", &format!("target: {name}\nformerly: {formerly}"))
    };
    let crm = named("crm", "old-crm");
    let policy = read(&[("policy/crm.yaml", &crm)]).unwrap();
    let target = &policy.targets.values().next().unwrap().policy;
    assert_eq!(target.formerly.as_ref().map(TargetName::as_str), Some("old-crm"));
    let desk = named("desk", "crm");
    let found = read(&[("policy/crm.yaml", &crm), ("policy/desk.yaml", &desk)])
        .unwrap_err()
        .0;
    assert!(
        found[0].contains("formerly: crm is the name of a target of this folder (policy/crm.yaml)"),
        "{found:#?}"
    );
    let twice = named("sales", "old-crm");
    let found = read(&[("policy/crm.yaml", &crm), ("policy/sales.yaml", &twice)])
        .unwrap_err()
        .0;
    assert!(found[0].contains("policy/crm.yaml says so too"), "{found:#?}");
    assert!(!problems(&named("desk", "desk")).is_empty(), "its own name");
}

#[test]
fn two_targets_of_one_application_are_refused_unless_declared() {
    let crm = GOOD.replace("target: helpdesk", "target: crm");
    let files = |crm: &str| read(&[("policy/crm.yaml", crm), ("policy/helpdesk.yaml", GOOD)]);
    let found = files(&crm).unwrap_err().0;
    assert!(
        found[0].starts_with("policy/crm.yaml: connection: helpdesk (policy/helpdesk.yaml) writes to the same"),
        "{found:#?}"
    );
    let declared = crm.replace("connection: {", "connection: { sharedWith: [helpdesk],");
    assert!(files(&declared).is_ok(), "by one of them");
    let apart = crm.replace("connection: {", "connection: { tenant: eu,");
    assert!(files(&apart).is_ok(), "another tenant");
}

#[test]
fn templates_and_value_maps_are_checked_when_the_file_is_read() {
    let rows = |rows: &str| GOOD.replace("attributes:\n", &format!("attributes:\n{rows}"));
    let good = rows(
        "  displayName: { template: \"{{ givenName }} {{ familyName | upper }}\" }\n  nickName: { from: department, map: { Sales: seller, \"Sales Ops\": ops }, default: other }\n",
    );
    let policy = read(&[("policy/helpdesk.yaml", &good)]).unwrap();
    let target = &policy.targets.values().next().unwrap().policy;
    let row = |path: &str| target.attributes.iter().find(|rule| rule.path.0 == path).unwrap();
    assert!(matches!(&row("displayName").source, ValueSource::Template(template) if template.fields().len() == 2));
    assert_eq!(row("displayName").row, "policy/helpdesk.yaml:11");
    assert_eq!(row("name.familyName").row, "preset");
    assert_eq!(row("nickName").values.values.len(), 2);
    for (wrong, place, words) in [
        (
            "displayName: { template: \"{{ givenNam }}\" }",
            ":11:18: attributes.displayName.template",
            "did you mean `givenName`?",
        ),
        (
            "displayName: { template: \"{{ givenName | shout }}\" }",
            ":11:18",
            "filters are lower",
        ),
        ("displayName: { template: \"{{ givenName\" }", ":11:18", "line 1"),
        (
            "displayName: { template: x, from: title }",
            ":11:3",
            "needs exactly one of from, constant, template and drop",
        ),
        ("nickName: { from: title, map: { A: x, a: y } }", ":11:", "stands twice"),
        (
            "nickName: { from: title, map: { A: [x] } }",
            ":11:",
            "must be a text, a number or true/false",
        ),
        (
            "nickName: { constant: x, default: y }",
            ":11:",
            "have no use with a constant",
        ),
    ] {
        let found = problems(&rows(&format!("  {wrong}\n")));
        assert!(
            found[0].contains(place) && found[0].contains(words),
            "{wrong}: {found:#?}"
        );
    }
}

#[test]
fn moving_a_line_changes_nobody() {
    let hash = |text: &str| {
        read(&[("policy/helpdesk.yaml", text)])
            .unwrap()
            .targets
            .values()
            .next()
            .unwrap()
            .policy
            .hash
    };
    let moved = GOOD
        .replace("lifecycle:", "# a comment\n\nlifecycle:")
        .replace("attributes:", "# another\nattributes:");
    assert_eq!(hash(GOOD), hash(&moved));
    let changed = GOOD.replace("constant: Employee", "constant: Contractor");
    assert_ne!(hash(GOOD), hash(&changed));
}

#[test]
fn domains_come_as_a_list_or_between_commas_and_new_lines() {
    let gate = |domains: &str| {
        let text = GOOD.replace(
            "domains: { primary: acme.example, additional: [Acme.io] }",
            &format!("domains: {domains}"),
        );
        read(&[("policy/helpdesk.yaml", &text)])
            .map(|policy| policy.targets.values().next().unwrap().policy.gate.clone())
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

const SETTINGS: &str = r#"
settings:
  profile: { attribute: 'roles[primary eq "True"].value', needs: gong }
  seats: { attribute: 'entitlements[type eq "{item}"].value', value: granted }
  workspaces: { attribute: 'roles[type eq "{key}"].value' }
  level: { attribute: nickName }
"#;

fn assigned(assignments: &str) -> Result<(Vec<crate::logic::assignments::Assignment>, Vec<String>), Vec<String>> {
    let text = format!("{GOOD}{SETTINGS}{assignments}");
    let policy = read(&[("policy/helpdesk.yaml", &text)]).map_err(|error| error.0)?;
    let target = &policy.targets.values().next().unwrap().policy;
    Ok((target.assignments.clone(), policy.warnings.clone()))
}

#[test]
fn assignments_become_rows_of_the_mapping() {
    let (found, warnings) = assigned(
        r#"
assignments:
  - name: sellers
    filter: "Profile.Name = 'Sales User'"
    set: { seats: [gong, engage], profile: AE, workspaces: { Main: Member, "West \"A\"": { from: custom.West__c } }, level: { template: "{{ title | upper }}" } }
  - { name: guests, filter: all, updates: manual, set: { seats: [], level: guest, profile: AE } }
"#,
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let paths = |number: usize| {
        found[number]
            .rows
            .iter()
            .map(|row| row.path.0.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        paths(0),
        [
            "nickName",
            r#"roles[primary eq true].value"#,
            r#"entitlements[type eq "gong"].value"#,
            r#"entitlements[type eq "engage"].value"#,
            r#"roles[type eq "Main"].value"#,
            r#"roles[type eq "West \"A\""].value"#,
        ]
    );
    assert_eq!(
        (paths(1), found[1].manual, found[0].manual),
        (vec!["nickName"], true, false)
    );
    assert_eq!(
        found[1].pending,
        ["profile waits for the seat gong, which is not granted"]
    );
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("profile waits for the seat gong")),
        "{warnings:?}"
    );
    assert_ne!(found[0].settings, found[1].settings);
    let (basic, _) = assigned("set: { level: { from: custom.Level__c, default: basic } }\n").unwrap();
    assert_eq!(
        (basic.len(), basic[0].filter.is_none(), basic[0].rows.len()),
        (1, true, 1)
    );
}

#[test]
fn what_is_wrong_with_assignments_is_said_where_it_stands() {
    for (text, words) in [
        ("assignments: []", "an empty list would leave everybody out"),
        (
            "assignments: [{ name: a, filter: all }]\nset: { level: x }",
            "stands beside assignments",
        ),
        (
            "assignments: [{ name: a, filter: all }, { name: A, filter: all }]",
            "no other assignment",
        ),
        (
            "assignments: [{ name: a, filter: all }, { name: b, filter: all }]",
            "it goes last",
        ),
        ("assignments: [{ name: a, filter: \"Profil.Name = 'x'\" }]", "Profil"),
        (
            "assignments: [{ name: a, filter: all, set: { levle: x } }]",
            "did you mean `level`?",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { level: [x] } }]",
            "must be a text, a number, true/false, or a row",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { seats: x } }]",
            "must be a list of texts",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { workspaces: x } }]",
            "must be a map of names to values",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { level: { from: titel } } }]",
            "did you mean `title`?",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { level: { from: title, write: onCreate } } }]",
            "say updates: manual",
        ),
        (
            "assignments: [{ name: a, filter: all, updates: sometimes }]",
            "unknown variant",
        ),
        (
            "assignments: [{ name: a, filter: all, updates: manual, applyOnChange: true }]",
            "has no use with updates: manual",
        ),
        ("set: { level: x }\nattributes2: {}", "unknown key"),
    ] {
        let found = assigned(&format!("{text}\n")).unwrap_err();
        assert!(
            found
                .iter()
                .any(|problem| problem.contains(words) && problem.contains("helpdesk.yaml:")),
            "{text}: {found:#?}"
        );
    }
    let doubled = format!("{GOOD}settings: {{ job: {{ attribute: title }} }}\nset: {{ job: x }}\n");
    assert!(problems(&doubled)[0].contains("is written for everybody by a row of attributes"));
}

#[test]
fn the_old_single_option_to_keep_accounts_is_split_in_two() {
    let lifecycle = |text: &str| {
        let text = GOOD.replace("lifecycle: { removed: keep }", &format!("lifecycle: {{ {text} }}"));
        let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap();
        let read = &policy.targets.values().next().unwrap().policy.lifecycle;
        (read.inactive, read.out_of_scope, read.removed, policy.warnings.len())
    };
    use Disposition::{Deactivate, Keep};
    assert_eq!(lifecycle("keepActive: true"), (Keep, Keep, Deactivate, 1));
    assert_eq!(
        lifecycle("keepActive: true, inactive: deactivate"),
        (Deactivate, Keep, Deactivate, 1)
    );
    assert_eq!(lifecycle("keepActive: false"), (Deactivate, Deactivate, Deactivate, 0));
}

#[test]
fn the_hierarchy_can_be_left_to_the_application_and_taken_back_at_any_time() {
    let rows = |organization: &str| {
        let policy = read(&[("policy/helpdesk.yaml", &format!("{GOOD}{organization}"))]).unwrap();
        let target = &policy.targets.values().next().unwrap().policy;
        (
            target
                .attributes
                .iter()
                .any(|rule| rule.path.0.ends_with("manager.value")),
            target.hash,
        )
    };
    let (with, ignoring) = (rows(""), rows("organization: { managers: false }\n"));
    assert!(with.0 && !ignoring.0);
    assert!(rows("organization: { managers: true }\n").0);
    assert_ne!(with.1, ignoring.1, "everybody is planned again");
    let found = problems(&format!("{GOOD}organization: {{ notifyManagers: recordedTeams }}\n"));
    assert!(found[0].contains("is not supported in this version"), "{found:?}");
}

#[test]
fn capture_is_left_to_managers_where_the_policy_says_so() {
    let capture = |organization: &str| {
        let text = format!(
            "{GOOD}settings: {{ calls: {{ attribute: nickName, capture: true }}, level: {{ attribute: costCenter }} }}\n\
             set: {{ calls: on, level: {{ from: department }} }}\n{organization}"
        )
        .replace("costCenter", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter");
        let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap_or_else(|error| panic!("{error}"));
        let target = &policy.targets.values().next().unwrap().policy;
        let write = |end: &str| {
            target.assignments[0]
                .rows
                .iter()
                .find(|row| row.path.0.ends_with(end))
                .unwrap()
                .write
        };
        (write("nickName"), write("costCenter"))
    };
    assert_eq!(capture(""), (Write::Always, Write::Always));
    assert_eq!(
        capture("organization: { managersControlCapture: true }\n"),
        (Write::OnCreate, Write::Always)
    );
}
