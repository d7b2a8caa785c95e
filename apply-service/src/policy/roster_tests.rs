//! Lists in policy files: what the presets say, and mistakes at their place.

use super::{tests::read, *};
use crate::{
    connector::roster::{PlaceConfig, RosterConfig, config::Leavers},
    logic::account::AttributePath,
};

const GOOD: &str = r#"target: list
preset: spinify-csv
mode: enforce
sources: ["00D000000000001EAA"]
scope: { filter: all }
connection:
  roster:
    place: { folder: { path: /lists } }
"#;

fn list(text: &str) -> (Target, RosterConfig) {
    let policy = read(&[("list.yaml", text)]).unwrap_or_else(|error| panic!("{error}"));
    let target = policy.targets.into_values().next().unwrap();
    let Dialect::Roster(config) = &target.connection.dialect else {
        panic!("no list")
    };
    let config = (**config).clone();
    (target, config)
}

fn refused(text: &str) -> String {
    read(&[("list.yaml", text)]).unwrap_err().to_string()
}

#[test]
fn a_list_is_a_preset_and_a_place() {
    let (target, config) = list(GOOD);
    assert_eq!(config.leavers, Leavers::Stay);
    let names: Vec<&str> = config.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        names,
        ["First Name", "Last Name", "Email", "Active", "Time Zone", "User ID"]
    );
    assert!(target.policy.keeps_values && target.policy.matching.keeps_external_ids);
    // Everybody can be on the way at once, or the list would never be whole.
    assert!(target.policy.pace.concurrency > 10_000_000);

    let (_, config) = list(&GOOD.replace("spinify", "skyprep"));
    let required = ["email", "first_name", "last_name", "user_identifier", "active"];
    assert!(
        required
            .iter()
            .all(|name| config.columns.iter().any(|column| column.name == *name))
    );
    assert!(matches!(config.place, PlaceConfig::Folder { .. }));
}

#[test]
fn the_columns_of_a_template_take_the_place_of_the_presets() {
    let columns = "    columns:\n    - { name: E-mail, attribute: userName }\n    - { name: Start, attribute: start, date: '%d/%m/%Y' }\n    \
                   leavers: leave\n";
    let text = format!("{GOOD}{columns}attributes: {{ start: {{ from: custom.Start__c }} }}\n");
    let (target, config) = list(&text);
    assert_eq!(config.columns.len(), 2);
    let rows: Vec<&str> = target.policy.attributes.iter().map(|row| row.path.0.as_str()).collect();
    assert_eq!(
        rows,
        ["start", "userName"],
        "rows that no column shows are no part of it"
    );
    let problems = refused(&text.replace("{ start:", "{ stat:"));
    assert!(
        problems.contains("shows `stat`; did you mean `start`?")
            && problems.contains("nothing fills the column `Start`"),
        "{problems}"
    );
}

#[test]
fn mistakes_are_told_with_their_way_out() {
    let place = "place: { folder: { path: /lists } }";
    let with = |more: &str| GOOD.replace(place, &format!("{place}\n    {more}"));
    for (text, words) in [
        (GOOD.replace(place, "file: a.csv"), "is required: where the list lies"),
        (GOOD.replace(place, "place: { ftp: {} }"), "place"),
        (GOOD.replace(place, "place: { folder: {} }"), "missing field `path`"),
        (with("file: ../users.csv"), "a name such as users.csv"),
        (with("fiel: users.csv"), "unknown field `fiel`"),
        (with("previous: 21"), "between 0 and 20"),
        (with("quiet: 1h"), "longer than atMost"),
        (with("key: Nobody"), "there is no column `Nobody`"),
        (with("orderBy: Nobody"), "there is no column `Nobody`"),
        (with("format: { csv: { separator: '\"' } }"), "one ASCII character"),
        (with("columns: []"), "names no column"),
        (
            with("columns: [{ name: A, attribute: userName }, { name: A, attribute: active }]"),
            "`A` stands twice",
        ),
        (
            with("columns: [{ name: A, attribute: userName }]"),
            "stay needs a column of the attribute active",
        ),
        (
            with("columns: [{ name: A, attribute: userName, date: '%d/%' }, { name: B, attribute: active }]"),
            "no form of a date",
        ),
        (
            with(
                "columns: [{ name: A, attribute: userName, date: '%Y', timeZone: Moon }, { name: B, attribute: active }]",
            ),
            "no time zone `Moon`",
        ),
        (
            with(
                "columns: [{ name: A, attribute: userName, date: '%Y', words: [a, b] }, { name: B, attribute: active }]",
            ),
            "both date and words",
        ),
        (
            format!("{GOOD}attributes: {{ phone: {{ from: phone }} }}\n"),
            "no column of connection.roster.columns shows `phone`",
        ),
        (
            with(
                "columns: [{ name: A, attribute: userName }, { name: B, attribute: active }, { name: C, attribute: city }]",
            ),
            "nothing fills the column `C`",
        ),
        (format!("{GOOD}pace: {{ perSecond: 3 }}\n"), "has no use for a list"),
        (
            GOOD.replace("connection:\n", "connection:\n  baseUrl: https://x.example\n"),
            "only a list on WebDAV",
        ),
        (
            GOOD.replace("connection:\n", "connection:\n  scim: {}\n"),
            "take scim out",
        ),
        (
            GOOD.replace(place, "place: { s3: { bucket: b } }"),
            "needs either accessKeyIdFile and secretAccessKeyFile, or ambient",
        ),
        (
            GOOD.replace(
                place,
                "place: { s3: { bucket: b, ambient: true, accessKeyIdFile: /a, secretAccessKeyFile: /b } }",
            ),
            "needs either",
        ),
        (
            GOOD.replace(place, "place: { s3: { bucket: b, accessKeyIdFile: /a } }"),
            "needs both",
        ),
        (
            GOOD.replace(
                place,
                "place: { s3: { bucket: b, ambient: true, endpoint: 'http://s3.example' } }",
            ),
            "endpoint is http to another machine",
        ),
        (
            GOOD.replace(place, "place: { gcs: { bucket: b } }"),
            "needs either serviceAccountFile or ambient",
        ),
        (
            GOOD.replace(place, "place: { azure: { account: a, container: c } }"),
            "exactly one of accessKeyFile",
        ),
        (
            GOOD.replace(place, "place: { webdav: {} }"),
            "the folder on the WebDAV server",
        ),
    ] {
        let problems = refused(&text);
        assert!(problems.contains(words), "{words:?} is not in\n{problems}");
        assert!(problems.contains("list.yaml:"), "no place in\n{problems}");
    }
}

#[test]
fn a_list_is_another_one_at_another_place_and_not_by_another_key_file() {
    let tenant = |text: &str| list(text).0.policy.tenant;
    let s3 = |more: &str| {
        let place = format!("place: {{ s3: {{ bucket: b, accessKeyIdFile: /id, secretAccessKeyFile: /key{more} }} }}");
        GOOD.replace("place: { folder: { path: /lists } }", &place)
    };
    assert_eq!(
        tenant(&s3("")),
        tenant(&s3(", sessionTokenFile: /t, region: eu-west-1"))
    );
    assert_ne!(tenant(&s3("")), tenant(&s3(", prefix: other")));
    assert_ne!(tenant(GOOD), tenant(&GOOD.replace("/lists", "/others")));
    // And two targets do not share one.
    let second = GOOD.replace("target: list", "target: second");
    let problems = read(&[("list.yaml", GOOD), ("second.yaml", &second)])
        .unwrap_err()
        .to_string();
    assert!(problems.contains("writes to the same application"), "{problems}");
}

#[test]
fn an_endpoint_of_this_machine_may_be_plain_and_secrets_are_not_repeated() {
    let text = GOOD.replace(
        "place: { folder: { path: /lists } }",
        "place: { s3: { bucket: b, ambient: true, endpoint: 'http://127.0.0.1:9000' } }",
    );
    list(&text);
    let secret = GOOD.replace(
        "place: { folder: { path: /lists } }",
        "place: { s3: { bucket: b, ambient: s3cret-value } }",
    );
    assert!(!refused(&secret).contains("s3cret-value"));
}

#[test]
fn an_endpoint_inside_has_to_be_listed_and_how_a_bucket_is_reached_is_checked() {
    let text = |place: &str, more: &str| {
        GOOD.replace("place: { folder: { path: /lists } }", place)
            .replace("connection:\n", &format!("connection:\n{more}"))
    };
    let own = "https://10.0.0.5:9000";
    for place in [
        format!("place: {{ s3: {{ bucket: b, ambient: true, endpoint: '{own}' }} }}"),
        format!("place: {{ azure: {{ account: a, container: c, ambient: true, endpoint: '{own}' }} }}"),
        format!("place: {{ gcs: {{ bucket: b, ambient: true, endpoint: '{own}' }} }}"),
    ] {
        let problems = refused(&text(&place, ""));
        assert!(
            problems.contains("endpoint names an address of a private network; list it under `allowAddresses`"),
            "{problems}"
        );
        let (target, _) = list(&text(&place, "  allowAddresses: [10.0.0.0/8]\n"));
        assert_eq!(target.connection.http.allow_addresses, ["10.0.0.0/8"]);
        let wrong = refused(&text(&place, "  allowAddresses: [ten]\n"));
        assert!(wrong.contains("allowAddresses `ten`: an address such as"), "{wrong}");
        let half = refused(&text(
            &place,
            "  allowAddresses: [10.0.0.0/8]\n  clientCertFile: /c.pem\n",
        ));
        assert!(half.contains("both or neither"), "{half}");
    }
}

#[test]
fn the_example_of_the_document_is_read() {
    let document = include_str!("../../../docs/roster.md");
    let example = document
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let (target, config) = list(example.unwrap_or_default());
    assert_eq!(config.file, "people.csv");
    assert!(
        target
            .policy
            .attributes
            .iter()
            .any(|row| row.path == AttributePath("hired".into()))
    );
}
