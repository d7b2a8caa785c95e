//! `connection.readBack`: off until it is switched on, and only ever read.

use std::time::Duration;

use super::*;
use crate::connector::http::AuthConfig;

const ON: &str = "readBack: { baseUrl: 'https://us-1.api.gong.example', auth: { basic: { user: KEY, passwordFile: /secrets/key } } }";

fn text(read_back: &str, more: &str) -> String {
    format!(
        "target: gong\npreset: gong\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nconnection:\n  \
         baseUrl: 'https://gong.example/scim/v2'\n  auth: {{ bearerTokenFile: /secrets/gong }}\n  {read_back}\n{more}"
    )
}

fn gong(read_back: &str, more: &str) -> Result<Policy, PolicyError> {
    read(&[("gong.yaml", &text(read_back, more))])
}

fn only(policy: &Policy) -> &Target {
    policy.targets.values().next().unwrap()
}

#[test]
fn gongs_rest_api_is_read_once_a_file_says_where_it_is_and_how_one_gets_in() {
    let policy = gong("", "").unwrap();
    let target = only(&policy);
    assert!(target.connection.read_back.is_none() && target.policy.read_back.is_none());
    assert!(target.connection.offers_read_back);

    let policy = gong(ON, "").unwrap();
    let target = only(&policy);
    let other = target.connection.read_back.as_ref().unwrap();
    assert_eq!(other.http.base_url, "https://us-1.api.gong.example");
    assert!(matches!(&other.http.auth, AuthConfig::Basic { user, .. } if user == "KEY"));
    assert_eq!(other.http.requests_per_second, Some(3.0));
    let read_back = target.policy.read_back.as_ref().unwrap();
    let compares: Vec<&str> = read_back.compares.iter().map(|path| path.0.as_str()).collect();
    assert_eq!(
        (read_back.by.0.as_str(), compares, read_back.delay),
        (
            "userName",
            vec!["name.familyName", "name.givenName", "title"],
            Duration::from_secs(600)
        )
    );
    // Whoever is planned does not depend on it.
    assert_eq!(target.policy.hash, only(&gong("", "").unwrap()).policy.hash);
    let policy = gong(&ON.replace("} } }", "} }, delay: 1s }"), "").unwrap();
    assert_eq!(
        only(&policy).policy.read_back.as_ref().unwrap().delay,
        Duration::from_secs(1)
    );
    assert!(
        !only(&read(&[("policy/helpdesk.yaml", GOOD)]).unwrap())
            .connection
            .offers_read_back
    );
}

#[test]
fn mistakes_of_the_read_back_are_said_at_their_place() {
    for (read_back, line, words) in [
        (
            "readBack: { baseUrl: 'https://gong.example' }",
            "9:",
            "connection.readBack.auth: is required",
        ),
        (
            "readBack: { auth: none }",
            "9:",
            "connection.readBack.baseUrl: is required",
        ),
        (&*ON.replace("https", "http"), "9:", "allowPlaintext"),
        (
            &*ON.replace("us-1.api.gong.example", "10.0.0.1"),
            "9:",
            "a private network",
        ),
        (&*ON.replace("} } }", "} }, by: title }"), "", ""),
        (
            &*ON.replace("} } }", "} }, by: locale }"),
            "9:",
            "`locale` is not both a row of attributes and a field",
        ),
        (&*ON.replace("} } }", "} }, dely: 1s }"), "9:", "did you mean `delay`?"),
        (
            &*ON.replace("basic: { user: KEY, passwordFile: /secrets/key }", "basic: KEY"),
            "9:",
            "must be exactly one of",
        ),
        (
            &*ON.replace(
                "basic: { user: KEY, passwordFile: /secrets/key }",
                "clientCredentials: { clientId: c, clientSecretFile: /s }",
            ),
            "9:",
            "use basic, a bearer token or a header",
        ),
        (
            &*ON.replace(
                "} } }",
                "} }, rest: { operations: { delete: { method: DELETE, path: /v2/users } } } }",
            ),
            "9:",
            "this interface is only read: it has check and list",
        ),
        (
            &*ON.replace("} } }", "} }, rest: { operations: { list: { path: users } } } }"),
            "9:",
            "starts with `/` and is a plain path",
        ),
    ] {
        let result = gong(read_back, "");
        if words.is_empty() {
            assert!(result.is_ok(), "{read_back}");
            continue;
        }
        let problems = result.unwrap_err().0;
        let fits = |problem: &String| problem.contains(&format!("gong.yaml:{line}")) && problem.contains(words);
        assert!(problems.iter().any(fits), "{words}: {problems:#?}");
        // A secret that stands there by mistake is not repeated.
        assert!(
            !problems.iter().any(|problem| problem.contains("`KEY`")),
            "{problems:#?}"
        );
    }
}

#[test]
fn it_belongs_to_interfaces_that_are_written_to_and_a_look_that_is_taken() {
    let policy = gong(ON, "schedule: { drift: { every: never } }\n").unwrap();
    assert!(
        policy.warnings.iter().any(|warning| warning.contains("is never read")),
        "{:?}",
        policy.warnings
    );
    let list = format!(
        "target: list\npreset: skyprep-csv\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nconnection:\n  \
         roster: {{ place: {{ folder: {{ path: /lists }} }} }}\n  {ON}\n"
    );
    let problems = read(&[("list.yaml", &list)]).unwrap_err().0;
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("a list is looked at where it lies")),
        "{problems:#?}"
    );
}
