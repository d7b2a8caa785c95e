//! What the policy files say, and what is said about them when they are wrong.

mod assignments;
mod belonging;
mod connections;
mod given;
mod gong;
mod groups;
mod managers;
mod notify;
mod read_back;
mod risks;
mod rows;
mod schema;
mod seats;

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

/// What plans name as their configuration.
fn hash(text: &str) -> usher_contract::StateHash {
    let policy = read(&[("policy/helpdesk.yaml", text)]).unwrap();
    policy.targets.values().next().unwrap().policy.hash
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
    for name in ["name.givenName", "name.familyName"] {
        assert!(row(name).is_some(), "{name} from the preset");
    }
}

#[test]
fn each_feature_is_a_switch_of_its_own() {
    let features = |text: &str| {
        let policy = read(&[("policy/helpdesk.yaml", &format!("{GOOD}features: {{ {text} }}\n"))]).unwrap();
        let on = policy.targets.values().next().unwrap().policy.features;
        [on.create, on.update, on.deactivate, on.reactivate, on.delete]
    };
    assert_eq!(features(""), [true, true, true, true, false]);
    for (number, name) in ["create", "update", "deactivate", "reactivate"].into_iter().enumerate() {
        let mut expected = features("");
        expected[number] = false;
        assert_eq!(features(&format!("{name}: false")), expected, "{name}");
    }
    assert_eq!(features("delete: true"), [true; 5]);
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

#[test]
fn all_problems_of_all_files_are_shown_together() {
    let first = GOOD
        .replace("filter: all", "filter: \"Departmnt = 'Sales'\"")
        .replace("firstSync: auto", "firstSync: maybe");
    let second = GOOD
        .replace("helpdesk", "crm")
        .replace("preset: scim", "preset: scin\nnotices: {}");
    let third = "target: [";
    let found = read(&[("a.yaml", &first), ("b.yaml", &second), ("c.yaml", third)])
        .unwrap_err()
        .0;
    for (file, words) in [
        ("a.yaml:7:19", "unknown field `Departmnt`; did you mean `Department`?"),
        ("a.yaml:9:10", "`maybe` is neither auto nor approve"),
        (
            "b.yaml:3:1",
            "there is no preset `scin`; this version has scim, rest, skyprep, miniorange, spinify-api, spinify-csv, skyprep-csv, salesforce, gong, miniorange-scim; did you mean `scim`?",
        ),
        ("b.yaml:4:1", "notices: unknown key; did you mean `notify`?"),
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
        found[0].starts_with("policy/crm.yaml:6:1: connection: helpdesk (policy/helpdesk.yaml) writes to the same"),
        "{found:#?}"
    );
    let declared = crm.replace("connection: {", "connection: { sharedWith: [helpdesk],");
    assert!(files(&declared).is_ok(), "by one of them");
    let apart = crm.replace("connection: {", "connection: { tenant: eu,");
    assert!(files(&apart).is_ok(), "another tenant");
}

#[test]
fn ways_of_writing_an_address_are_one_application() {
    let of = |address: &str| {
        let text = GOOD.replace("https://helpdesk.example/scim/v2", address);
        let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap();
        let target = policy.targets.into_values().next().unwrap().policy;
        (target.tenant, target.hash, target.tenant_as_written)
    };
    let one = of("https://helpdesk.example/scim/v2");
    assert_eq!(one.0, one.2, "as records of earlier versions have it");
    for same in [
        "https://helpdesk.example/scim/v2/",
        "https://HelpDesk.Example/scim/v2",
        "HTTPS://helpdesk.example:443/scim/v2//",
    ] {
        assert_eq!((of(same).0, of(same).1), (one.0, one.1), "{same}");
        assert_ne!(of(same).2, one.2, "{same}");
    }
    for other in [
        "https://helpdesk.example/scim/V2",
        "https://helpdesk.example/scim",
        "https://helpdesk.example:8443/scim/v2",
        "https://helpdesk2.example/scim/v2",
    ] {
        assert_ne!(of(other).0, one.0, "{other}");
    }
}

#[test]
fn outcomes_name_the_whole_policy_of_the_target() {
    let unit = |text: &str| {
        let policy = read(&[("policy/helpdesk.yaml", text)]).unwrap();
        policy.targets.values().next().unwrap().policy.unit
    };
    let changed = [
        GOOD.replace("mode: enforce", "mode: link"),
        format!("{GOOD}pace: {{ perSecond: 1 }}\n"),
        format!("{GOOD}guard: {{ removals: {{ percent: 7 }} }}\n"),
        format!("{GOOD}schedule: {{ reconcile: 12h }}\n"),
        GOOD.replace("constant: Employee", "constant: Contractor"),
    ];
    for text in &changed {
        assert_ne!(unit(GOOD), unit(text), "{text}");
    }
    assert_eq!(
        unit(GOOD),
        unit(&format!("# a comment\n{GOOD}")),
        "not how it is written"
    );
}

#[test]
fn moving_a_line_changes_nobody() {
    let moved = GOOD
        .replace("lifecycle:", "# a comment\n\nlifecycle:")
        .replace("attributes:", "# another\nattributes:");
    assert_eq!(hash(GOOD), hash(&moved));
    let changed = GOOD.replace("constant: Employee", "constant: Contractor");
    assert_ne!(hash(GOOD), hash(&changed));
}
