//! Tests of reading and checking a configuration.

use super::*;

fn all(text: &str) -> Result<Deployment, ConfigError> {
    Deployment::decode(Layers::merge(DEFAULTS, Some(("usher.yaml", text)), &[], Some(&ORGS))?)
}

fn with(text: &str) -> Result<Config, ConfigError> {
    all(text).map(|mut all| all.orgs.remove(0).config)
}

const GOOD: &str = "salesforce: { url: 'https://acme.my.salesforce.com', auth: { clientId: x, username: u, privateKey: { file: /k } } }\n";

#[test]
fn the_defaults_name_every_key_and_lack_only_the_org() {
    let problems = with("").unwrap_err().0;
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(with(GOOD).is_ok(), "{:?}", with(GOOD));
}

#[test]
fn all_mistakes_are_named_with_the_way_out() {
    let text = format!(
        "{GOOD}publish: {{ fields: [emial] }}\nsnapshot: {{ schedule: nightly, timeZone: Mars/Base, source: report }}\n"
    );
    let shown = with(&text).unwrap_err().to_string();
    for part in [
        "did you mean `email`?",
        "snapshot.schedule",
        "snapshot.timeZone",
        "snapshot.report",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn an_org_inside_has_to_be_listed() {
    let inside = GOOD.replace("acme.my.salesforce.com", "10.1.2.3");
    let shown = with(&inside).unwrap_err().to_string();
    assert!(
        shown.contains("list it under salesforce.allowAddresses if it is meant"),
        "{shown}"
    );
    let listed = inside.replace("salesforce: {", "salesforce: { allowAddresses: [10.0.0.0/8],");
    assert!(with(&listed).is_ok(), "{:?}", with(&listed));
    let stream = "pubsub: { endpoint: 'https://[fd12::1]:7443' }\n";
    let shown = with(&format!("{GOOD}{stream}")).unwrap_err().to_string();
    assert!(shown.contains("pubsub.endpoint: a private"), "{shown}");
    let wrong = GOOD.replace("salesforce: {", "salesforce: { allowAddresses: [ten],");
    assert!(
        with(&wrong)
            .unwrap_err()
            .to_string()
            .contains("ranges such as 10.0.0.0/8")
    );
}

#[test]
fn a_channel_of_every_object_is_refused() {
    let shown = with(&format!("{GOOD}pubsub: {{ channel: /data/ChangeEvents }}\n"))
        .unwrap_err()
        .to_string();
    assert!(shown.contains("carries every object"), "{shown}");
    assert!(with(&format!("{GOOD}pubsub: {{ channel: /data/People__chn }}\n")).is_ok());
}

#[test]
fn a_typo_is_shown_with_file_line_caret_and_nearest_name() {
    let shown = with("salesforce:\n  urll: x\n").unwrap_err().to_string();
    assert!(
        shown.starts_with("usher.yaml:2:3: salesforce.urll: unknown key; did you mean `url`?\n  |   urll: x\n  |   ^"),
        "{shown}"
    );
}

#[test]
fn an_entry_of_orgs_is_merged_over_the_top_level() {
    let text = format!(
        "{GOOD}snapshot: {{ timeZone: Europe/Zurich }}\norgs:\n  - name: production\n  - name: sandbox\n    salesforce: {{ url: 'https://acme--t.sandbox.my.salesforce.com' }}\n    snapshot: {{ schedule: '0 4 * * *' }}\n"
    );
    let all = all(&text).unwrap();
    let seen: Vec<_> = all
        .orgs
        .iter()
        .map(|org| {
            let (salesforce, snapshot) = (&org.config.salesforce, &org.config.snapshot);
            (
                org.label(),
                salesforce.auth.client_id.as_str(),
                snapshot.schedule.as_str(),
                snapshot.time_zone.as_str(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("production".to_owned(), "x", "0 2 * * *", "Europe/Zurich"),
            ("sandbox".to_owned(), "x", "0 4 * * *", "Europe/Zurich")
        ]
    );
    assert!(all.shown().unwrap().contains("\"sandbox\": {"));
}

#[test]
fn mistakes_in_an_entry_of_orgs_are_shown_where_they_stand() {
    let id = "00D000000000001EAA";
    let text = format!(
        "{GOOD}orgs:\n  - name: one\n    salesforce: {{ url: nowhere }}\n  - name: two\n    snapshot: {{ sourcee: report }}\n    http: {{}}\n"
    );
    let shown = all(&text).unwrap_err().to_string();
    for part in [
        "usher.yaml:4:19: orgs[0].salesforce.url: give the org's address",
        "usher.yaml:6:17: orgs[1].snapshot.sourcee: unknown key; did you mean `source`?\n  |     snapshot: { sourcee: report }\n  |                 ^",
        "usher.yaml:7:5: orgs[1].http: it holds for the whole process",
    ] {
        assert!(shown.contains(part), "{part}\nin\n{shown}");
    }
    let twice = format!(
        "{GOOD}orgs: [{{ name: one, salesforce: {{ orgId: {id} }} }}, {{ name: two, salesforce: {{ orgId: {id} }} }}]"
    );
    assert!(all(&twice).unwrap_err().to_string().contains("orgs[0] is the same org"));
}

#[test]
fn an_address_for_nobody_is_refused_with_the_way_out() {
    let text = format!("{GOOD}http: {{ bind: '0.0.0.0:8081' }}");
    assert!(with(&text).unwrap_err().to_string().contains("USHER__HTTP__ADVERTISE"));
}

#[test]
fn client_credentials_are_refused_at_the_login_host() {
    let text = "salesforce: { url: 'https://login.salesforce.com', auth: { method: clientCredentials, clientId: x, clientSecret: { env: S } } }";
    assert!(with(text).unwrap_err().to_string().contains("My Domain"));
}

#[test]
fn the_user_that_logs_in_is_left_out_unless_the_configuration_says_otherwise() {
    let own = "005ZL000000M0x1YAC".parse().unwrap();
    let count = |text: &str, user| {
        with(&format!("{GOOD}{text}"))
            .unwrap()
            .population
            .population(user)
            .query_count()
    };
    assert!(
        count("", Some(own)).ends_with("AND (Id != '005ZL000000M0x1YAC')"),
        "{}",
        count("", Some(own))
    );
    assert!(!count("", None).contains("Id !="));
    let include = "population: { includeIntegrationUser: true }\n";
    assert!(!count(include, Some(own)).contains("Id !="));
}
