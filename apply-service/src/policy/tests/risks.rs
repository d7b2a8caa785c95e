//! Options that are off by default and said while they are on; names that nobody can map; the organization itself as a target.

use super::*;

/// Without any option that is warned of.
const PLAIN: &str = r#"
target: helpdesk
preset: scim
mode: enforce
sources: ["00D000000000001EAA"]
connection: { baseUrl: "https://helpdesk.example/scim/v2", auth: { bearerTokenFile: /secrets/token } }
scope: { filter: all }
"#;

fn warnings(more: &str) -> Vec<String> {
    let policy =
        read(&[("policy/helpdesk.yaml", &format!("{PLAIN}{more}\n"))]).unwrap_or_else(|error| panic!("{error}"));
    policy.warnings
}

#[test]
fn advanced_and_risky_options_are_off_by_default_and_said_while_they_are_on() {
    assert_eq!(warnings(""), Vec::<String>::new());
    let capture = "settings: { calls: { attribute: nickName, capture: true } }\nset: { calls: \"on\" }";
    assert_eq!(warnings(capture), Vec::<String>::new());
    let ends = "termination: { field: terminationDate }";
    for (more, key) in [
        ("lifecycle: { inactive: keep }", "lifecycle.inactive"),
        ("lifecycle: { removed: keep }", "lifecycle.removed"),
        ("lifecycle: { outOfScope: keep }", "lifecycle.outOfScope"),
        (
            &format!("lifecycle: {{ terminated: keep, {ends} }}"),
            "lifecycle.terminated",
        ),
        ("lifecycle: { keepActive: true }", "lifecycle.keepActive"),
        (
            "gate: { domains: { primary: acme.com, additional: [acme.io] } }",
            "gate.domains.additional",
        ),
        (
            "gate: { domains: { primary: acme.com, convertToPrimary: true } }",
            "gate.domains.convertToPrimary",
        ),
        ("organization: { managers: false }", "organization.managers"),
        (
            &format!("{capture}\norganization: {{ managersControlCapture: true }}"),
            "organization.managersControlCapture",
        ),
        ("match: { inactiveAccount: adopt }", "match.inactiveAccount"),
        ("features: { deactivate: false }", "features.deactivate"),
        (
            "features: { delete: true }\nlifecycle: { deleteAfter: 90d }",
            "lifecycle.deleteAfter",
        ),
    ] {
        let said = warnings(more);
        assert_eq!(said.len(), 1, "{more}: {said:#?}");
        let shown = said[0].starts_with("policy/helpdesk.yaml:") && said[0].contains(&format!(": {key}: "));
        assert!(shown && said[0].contains("\n  | "), "{more}: {}", said[0]);
    }
    for plain in [
        "lifecycle: { inactive: deactivate, removed: deactivate, outOfScope: deactivate }",
        "lifecycle: { frozen: keep, unlisted: keep }",
        "gate: { domains: { primary: acme.com } }",
        "match: { inactiveAccount: reject }",
    ] {
        assert_eq!(warnings(plain), Vec::<String>::new(), "{plain}");
    }
}

#[test]
fn no_connector_and_no_preset_carries_a_password() {
    let refused = |text: &str, place: &str| {
        let found = read(&[("a.yaml", text)]).map(|_| ()).unwrap_err().0;
        let said = |problem: &String| problem.contains(&format!("{place}: ")) && problem.contains("no password");
        assert!(found.iter().any(said), "{text}: {found:#?}");
    };
    let extension = "urn:example:2.0:User";
    let scim = PLAIN.replace(
        "auth:",
        &format!("scim: {{ extensionSchemas: ['{extension}'] }}, auth:"),
    );
    for (row, place) in [
        ("password: { from: title }", "attributes.password".to_owned()),
        (
            &format!("'{extension}:initialPassword': {{ from: title }}"),
            format!("attributes.{extension}:initialPassword"),
        ),
        (
            "nickName: { from: custom.Temp_Password__c }",
            "attributes.nickName.from".to_owned(),
        ),
        (
            "nickName: { template: \"{{ custom.Api_Key__c }}\" }",
            "attributes.nickName.template".to_owned(),
        ),
    ] {
        refused(&format!("{scim}attributes:\n  {row}\n"), &place);
    }
    let rest = "target: a\npreset: rest\nmode: enforce\nsources: [00D000000000001EAA]\nscope: { filter: all }\n\
                match: { by: [externalId] }\nattributes: { userName: { from: email }, word: { from: title } }\n\
                features: { update: false, deactivate: false, reactivate: false }\n\
                connection:\n  auth: none\n  baseUrl: https://desk.example/api\n  rest:\n    account: { id: $.id, fields: { \
                externalId: { read: $.ref, send: ref }, userName: { read: $.name, send: name }, word: { send: WORD } } }\n    \
                operations:\n      list: { method: GET, path: /users, accounts: $ }\n      \
                create: { method: POST, path: /users, id: $.id, sendFields: true, json: { kind: KIND } }\n";
    let good = rest.replace("WORD", "word").replace("KIND", "user");
    read(&[("a.yaml", &good)]).unwrap_or_else(|error| panic!("{error}"));
    refused(
        &good.replace(" word: {", " user_password: {"),
        "attributes.user_password",
    );
    refused(
        &good.replace("send: word", "send: user.password"),
        "connection.rest.account.fields.word.send",
    );
    refused(
        &good.replace(
            "json: { kind: user }",
            "json: { user: { passwd: 'x{{ values.word }}' } }",
        ),
        "connection.rest.operations.create.json.user.passwd",
    );
    let list = "target: a\npreset: spinify-csv\nmode: enforce\nsources: [00D000000000001EAA]\nscope: { filter: all }\n\
                connection: { roster: { place: { folder: { path: /lists } } } }\n";
    refused(
        &format!("{list}attributes: {{ password: {{ from: title }} }}\n"),
        "attributes.password",
    );
    // A setting is a way to an attribute as well.
    let settings = format!("{list}settings: {{ pin: {{ attribute: pwd }} }}\nset: {{ pin: x }}\n");
    refused(&settings, "set.pin");
}

#[test]
fn a_setting_cannot_write_what_usher_itself_writes() {
    for attribute in ["active", "externalId", "userName", "USERNAME"] {
        let text = format!("{PLAIN}settings: {{ on: {{ attribute: {attribute} }} }}\nset: {{ on: \"x\" }}\n");
        let found = problems(&text);
        let said = |problem: &String| problem.contains("settings.on.attribute: ") && problem.contains("is no setting");
        assert!(found.iter().any(said), "{attribute}: {found:#?}");
    }
}

#[test]
fn the_organization_whose_people_they_are_is_no_target() {
    let salesforce = |tenant: &str| {
        format!(
            "target: other\npreset: salesforce\nmode: enforce\nsources: ['00D000000000001EAA', '00D000000000002EAA']\n\
             scope: {{ filter: all }}\nconnection: {{ baseUrl: 'https://other.my.salesforce.com/services/scim/v2', \
             tenant: '{tenant}', auth: {{ bearerTokenFile: /secrets/token }} }}\nset: {{ profile: Standard }}\n"
        )
    };
    read(&[("a.yaml", &salesforce("00D000000000003EAA"))]).unwrap_or_else(|error| panic!("{error}"));
    read(&[("a.yaml", &salesforce("acme"))]).unwrap_or_else(|error| panic!("{error}"));
    for own in ["00D000000000002EAA", "00D000000000001"] {
        let found = read(&[("a.yaml", &salesforce(own))]).map(|_| ()).unwrap_err().0;
        assert!(
            found.len() == 1 && found[0].contains("connection.tenant: ") && found[0].contains("its own people"),
            "{found:#?}"
        );
    }
    // What only the credentials say is judged with the first request.
    let policy = read(&[("a.yaml", &salesforce("acme"))]).unwrap();
    let http = &policy.targets.values().next().unwrap().connection.http;
    assert_eq!(http.own_organizations.len(), 2);
}
