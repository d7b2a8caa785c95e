//! Described interfaces in policy files: what the presets say, and mistakes word for word at their place.

use usher_runtime::secret::SecretRef;

use super::{tests::read, *};
use crate::logic::policy::MatchKey;

const GOOD: &str = r#"target: desk
preset: rest
mode: enforce
sources: ["00D000000000001EAA"]
scope: { filter: all }
match: { by: [externalId, userName] }
attributes:
  userName: { from: email }
  badge: { from: employeeNumber, write: onCreate }
features: { reactivate: false }
connection:
  baseUrl: https://desk.example/api
  rest:
    settings: { method: off }
    secrets: { key: /secrets/key }
    headers: { x-key: "{{ secret.key }}" }
    answers:
      - { is: exists, status: 409 }
    account:
      id: $.id
      fields:
        userName: { read: $.login, send: login }
        badge: { send: badge, createOnly: true }
        seen: { read: $.seen }
        active: { read: $.on }
    operations:
      list: { method: GET, path: /users, accounts: $.users, paging: { style: page }, query: { page: "{{ page.number }}" } }
      create: { method: POST, path: /users, json: {}, sendFields: true }
      update: { method: PATCH, path: "/users/{{ account.id }}", json: {}, sendFields: true }
      deactivate: { method: POST, path: "/users/{{ account.id }}/{{ settings.method }}" }
"#;

#[test]
fn an_application_without_any_rust_is_a_file() {
    let policy = read(&[("desk.yaml", GOOD)]).unwrap_or_else(|error| panic!("{error}"));
    let target = policy.targets.values().next().unwrap();
    assert!(matches!(target.connection.dialect, Dialect::Rest(_)));
    assert_eq!(target.policy.matching.by, [MatchKey::ExternalId, MatchKey::UserName]);
    assert!(!target.policy.matching.keeps_external_ids);
    assert_eq!(target.policy.pace.concurrency, 4);
}

#[test]
fn the_example_of_the_document_is_read() {
    let document = include_str!("../../../docs/rest.md");
    let example = document
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let policy = read(&[("desk.yaml", example.unwrap_or_default())]).unwrap_or_else(|error| panic!("{error}"));
    let target = policy.targets.values().next().unwrap();
    assert!(target.policy.matching.keeps_external_ids);
}

#[test]
fn mistakes_are_shown_at_their_place() {
    for (from, to, place, words) in [
        (
            "style: page }",
            "style: pages }",
            "27:",
            "does not fit, expected one of",
        ),
        (
            "{{ page.number }}",
            "1",
            "27:",
            "no template of the request reads page.number: every page would be the first",
        ),
        (
            "{{ page.number }}",
            "{{ page.numbr }}",
            "27:",
            "`page.numbr` is not known here; there are page.number",
        ),
        ("accounts: $.users", "accounts: users", "27:", "is no JSONPath"),
        ("$.login", "'$.['", "22:", "is no JSONPath"),
        (
            "secret.key }}\"",
            "secret.kye }}\"",
            "15:",
            "is required: the path of the file that holds `kye`",
        ),
        (
            "{{ settings.method }}",
            "{{ settings.methd }}",
            "30:",
            "`settings.methd` has no value under `settings`; did you mean `method`?",
        ),
        (
            "{{ settings.method }}",
            "off",
            "14:",
            "nothing of the description reads it",
        ),
        (
            "{{ settings.method }}",
            "{{ secret.key }}",
            "30:",
            "a secret belongs into headers and bodies",
        ),
        (
            "{{ settings.method }}",
            "{{ values.userName }}",
            "30:",
            "`values.userName` is not known here",
        ),
        (
            "{{ settings.method }}",
            "{{ settings.method | uper }}",
            "30:",
            "unknown",
        ),
        (
            "{{ settings.method }}",
            "{{ settings.method",
            "30:",
            "unexpected end of input",
        ),
        (
            "path: /users, json",
            "path: users, json",
            "28:",
            "starts with `/` and is a plain path",
        ),
        (
            "status: 409",
            "status: 4x9",
            "18:",
            "`4x9` is no status; write 404, 4xx or 500-599",
        ),
        (
            "status: 409",
            "body: { at: $.a }",
            "18:",
            "`$.a` needs exactly one of equals, in, matches, exists, says",
        ),
        (
            "status: 409",
            "body: { at: $.a, matches: '(' }",
            "18:",
            "`(` is no regular expression",
        ),
        (", status: 409", "", "18:", "has no condition"),
        ("{ is: exists", "{ is: exist", "18:", "does not fit, expected one of"),
        (
            "{ read: $.seen }",
            "{ clear: never }",
            "24:",
            "is neither shown (`read`) nor written (`send`)",
        ),
        (
            "$.on }",
            "$.on, on: [1], off: [1] }",
            "25:",
            "`1` means both on and off",
        ),
        (
            "json: {}, sendFields: true }\n      update",
            "sendFields: true }\n      update",
            "28:",
            "needs a body: `form: {}` or `json: {}`",
        ),
        ("x-key: \"", "\"x key\": \"", "", "`x key` is not the name of a header"),
        (
            "settings: {",
            "serial: true\n    settings: {",
            "",
            "", /* fine: concurrency follows */
        ),
        (
            "settings: {",
            "retries: 3\n    settings: {",
            "",
            "unknown field `retries`",
        ),
        (
            "reactivate: false",
            "reactivate: true",
            "10:",
            "is on, and this application offers no way to reactivate accounts; set it to false",
        ),
        (
            "reactivate: false",
            "delete: true, reactivate: false",
            "10:",
            "no way to delete accounts",
        ),
        (
            "{ reactivate: false }",
            "{}",
            "",
            "is on unless it is switched off, and this application offers no way to reactivate accounts",
        ),
        (
            "  userName: {",
            "  usrName: {",
            "8:",
            "is no field of this application; did you mean `userName`?",
        ),
        (
            "  userName: { from",
            "  seen: { from: title }\n  userName: { from",
            "8:",
            "is shown by this application and cannot be written",
        ),
        (
            ", write: onCreate",
            "",
            "9:",
            "cannot be changed at this application once the account is there; say write: onCreate",
        ),
        ("  rest:", "  scim: { pageSize: 5 }\n  rest:", "13:", "belongs to SCIM"),
        (
            "by: [externalId, userName]",
            "by: [externalId, email]",
            "6:",
            "neither finds nor shows",
        ),
        (
            "{ read: $.login, send: login }",
            "{ send: login }",
            "6:",
            "has userName, and this application neither finds nor shows `userName`",
        ),
        ("preset: rest", "preset: scim", "13:", "the preset scim speaks SCIM"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let result = read(&[("desk.yaml", &text)]);
        if words.is_empty() {
            assert!(result.is_ok(), "{to}: {result:?}");
            continue;
        }
        let found = match result {
            Err(error) => error.0,
            Ok(_) => panic!("{to}: no problem"),
        };
        let at = format!("desk.yaml:{place}");
        assert!(
            found
                .iter()
                .any(|problem| problem.starts_with(at.trim_end_matches(':')) && problem.contains(words)),
            "{to} at {place}, {words}: {found:#?}"
        );
    }
}

#[test]
fn several_mistakes_are_shown_at_once() {
    let text = GOOD
        .replace("$.login", "login")
        .replace("status: 409", "status: 999")
        .replace("accounts: $.users", "accounts: users");
    assert_eq!(read(&[("desk.yaml", &text)]).unwrap_err().0.len(), 3);
}

#[test]
fn serial_means_one_at_a_time() {
    let serial = GOOD.replace("settings: {", "serial: true\n    settings: {");
    let policy = read(&[("desk.yaml", &serial)]).unwrap();
    assert_eq!(policy.targets.values().next().unwrap().policy.pace.concurrency, 1);
    let several = format!("{serial}pace: {{ concurrency: 2 }}\n");
    let found = read(&[("desk.yaml", &several)]).unwrap_err().0;
    assert!(found[0].contains("must be 1"), "{found:?}");
}

fn preset(name: &str, connection: &str, more: &str) -> Result<Policy, PolicyError> {
    let text = format!(
        "target: x\npreset: {name}\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
         connection: {connection}\n{more}"
    );
    read(&[("x.yaml", &text)])
}

#[test]
fn presets_need_their_secrets_and_nothing_else() {
    for (name, missing, secrets) in [
        ("skyprep", vec!["acctKey", "apiKey"], "apiKey: /a, acctKey: /b"),
        (
            "miniorange",
            vec!["apiKey", "customerKey"],
            "apiKey: /a, customerKey: /b",
        ),
    ] {
        let found = preset(name, "{}", "").unwrap_err().0;
        for secret in &missing {
            let words = format!(
                "connection.rest.secrets.{secret}: is required: the path of the file that holds `{secret}`, or {{ env: NAME }} with the name of a variable"
            );
            assert!(found.iter().any(|problem| problem.contains(&words)), "{found:#?}");
        }
        assert_eq!(found.len(), missing.len(), "{found:#?}");
        let policy = preset(name, &format!("{{ rest: {{ secrets: {{ {secrets} }} }} }}"), "");
        let policy = policy.unwrap_or_else(|error| panic!("{error}"));
        let target = policy.targets.values().next().unwrap();
        assert!(
            !target.policy.features.delete,
            "nothing is deleted unless somebody says so"
        );
    }
    // A file by its path, a file or a variable by name, as every other secret.
    let mixed = "{ rest: { secrets: { apiKey: { env: SKYPREP_KEY }, acctKey: { file: /b } } } }";
    let policy = preset("skyprep", mixed, "").unwrap_or_else(|error| panic!("{error}"));
    let target = policy.targets.values().next().unwrap();
    let expected = [
        ("acctKey".to_owned(), SecretRef::File("/b".into())),
        ("apiKey".to_owned(), SecretRef::Env("SKYPREP_KEY".to_owned())),
    ];
    assert_eq!(target.connection.http.secrets, expected.into());
    for (wrong, words) in [
        ("{ envv: K }", "envv"),
        ("{ file: /a, env: K }", "secrets.apiKey"),
        ("7", "the path of a file, or { env: NAME }"),
    ] {
        let connection = format!("{{ rest: {{ secrets: {{ apiKey: {wrong}, acctKey: /b }} }} }}");
        let found = preset("skyprep", &connection, "").unwrap_err().0;
        assert!(
            found.len() == 1 && found[0].contains(words) && found[0].contains("x.yaml:6"),
            "{wrong}: {found:#?}"
        );
    }
    let misspelt = "{ rest: { secrets: { apiKey: /a, acctKey: /b }, settings: { emailFeild: email } } }";
    let found = preset("skyprep", misspelt, "").unwrap_err().0;
    assert!(
        found[0].contains("nothing of the description reads it; did you mean `emailField`?"),
        "{found:?}"
    );
}

#[test]
fn everybody_is_looked_at_once_a_day_at_skyprep_unless_the_file_says_otherwise() {
    let secrets = "{ rest: { secrets: { apiKey: /a, acctKey: /b } } }";
    let every = |more: &str| {
        let policy = preset("skyprep", secrets, more).unwrap_or_else(|error| panic!("{error}"));
        policy.targets.values().next().unwrap().policy.reconcile.as_secs()
    };
    assert_eq!(every(""), 24 * 3600);
    assert_eq!(every("schedule: { reconcile: 6h }\n"), 6 * 3600);
}

/// 100 calls a minute for each address, one at a time: what the preset says by itself, and what no file can take back unseen.
#[test]
fn skypreps_hundred_calls_a_minute_are_kept_by_the_preset_alone() {
    let secrets = "{ rest: { secrets: { apiKey: /a, acctKey: /b } } }";
    let policy = preset("skyprep", secrets, "").unwrap_or_else(|error| panic!("{error}"));
    let target = policy.targets.values().next().unwrap();
    let per_minute = target.connection.http.requests_per_second.unwrap() * 60.0;
    assert!((50.0..=100.0).contains(&per_minute), "{per_minute}");
    assert!(target.connection.is_serial() && target.policy.pace.concurrency == 1);
    assert!(target.policy.pace.per_second * 60.0 <= 100.0);
    let parallel = preset("skyprep", secrets, "pace: { concurrency: 2 }\n").unwrap_err();
    assert!(parallel.to_string().contains("must be 1"), "{parallel}");
}

#[test]
fn miniorange_begins_with_names_and_company() {
    let secrets = "{ rest: { secrets: { apiKey: /a, customerKey: /b } } }";
    let policy = preset("miniorange", secrets, "").unwrap_or_else(|error| panic!("{error}"));
    let target = policy.targets.values().next().unwrap();
    let rows: Vec<String> = target
        .policy
        .attributes
        .iter()
        .map(|rule| format!("{} {:?}", rule.path, rule.source))
        .collect();
    for (path, field) in [("name.familyName", "familyName"), ("company", "company")] {
        let is_row = |row: &String| row.starts_with(path) && row.contains(field);
        assert!(rows.iter().any(is_row), "{path}: {rows:?}");
    }
}

#[test]
fn spinify_is_for_reading_back_until_the_vendor_offers_a_call() {
    let auth = "{ auth: { header: { name: authorization, valueFile: /k } } }";
    assert!(preset("spinify-api", auth, "").is_ok());
    for feature in ["create", "update", "deactivate", "reactivate", "delete"] {
        let found = preset("spinify-api", auth, &format!("features: {{ {feature}: true }}\n"))
            .unwrap_err()
            .0;
        let words =
            format!("x.yaml:7:13: features.{feature}: is on, and this application offers no way to {feature} accounts");
        assert!(found[0].starts_with(&words), "{found:?}");
    }
    let private =
        "{ auth: none, rest: { operations: { deactivate: { method: POST, path: '/off/{{ account.id }}' } } } }";
    assert!(preset("spinify-api", private, "features: { deactivate: true }\n").is_ok());
}
