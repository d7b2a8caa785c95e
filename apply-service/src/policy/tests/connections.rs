//! `connection`: the ways to authorize, addresses, certificates; mistakes at their places, secrets in none of them.

use super::*;

/// A target with these lines below `connection`.
fn with(connection: &str) -> Result<Policy, PolicyError> {
    let text = format!(
        "target: hub\npreset: scim\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nconnection:\n  \
         baseUrl: https://hub.example/scim\n{connection}"
    );
    read(&[("policy/hub.yaml", &text)])
}

fn mistake(connection: &str) -> String {
    with(connection).unwrap_err().0.join("\n")
}

#[test]
fn every_way_to_authorize_is_read() {
    for (auth, kind) in [
        ("none", "none"),
        ("{ bearerTokenEnv: TOKEN }", "bearer"),
        ("{ basic: { user: u, passwordEnv: P } }", "basic"),
        ("{ header: { name: x-key, valueFile: /v } }", "header"),
        (
            "{ clientCredentials: { clientId: c, clientSecretFile: /s } }",
            "client-credentials",
        ),
        ("{ jwtBearer: { clientId: c, user: u, keyEnv: K } }", "jwt-bearer"),
        (
            "{ refreshToken: { clientId: c, tokenFile: /t, rotates: false } }",
            "refresh-token",
        ),
    ] {
        let policy = with(&format!(
            "  auth: {auth}\n  oauth: {{ tokenUrl: /token, lifetime: 1h }}\n"
        ));
        let policy = policy.unwrap_or_else(|error| panic!("{auth}: {error}"));
        assert_eq!(
            policy.targets.values().next().unwrap().connection.http.auth.kind(),
            kind
        );
    }
    let more = "  auth: none\n  clientCertFile: /c\n  clientKeyFile: /k\n  allowAddresses: [10.0.0.0/8]\n  \
                credentialExpiresAt: 2027-01-31\n";
    let policy = with(more).unwrap();
    let http = &policy.targets.values().next().unwrap().connection.http;
    assert_eq!(http.credential_expires_at.unwrap().to_string(), "2027-01-31T00:00:00Z");
    assert_eq!(http.allow_addresses, ["10.0.0.0/8"]);
}

#[test]
fn mistakes_are_shown_where_they_stand() {
    for (connection, line, words) in [
        (
            "  auth: { clientCredentials: { clientId: c, clientSecretFile: /s } }\n",
            8,
            "needs oauth.tokenUrl",
        ),
        ("  auth: { basic: { user: u } }\n", 8, "passwordFile: is required"),
        ("  auth: { bearerToken: s3cret }\n", 8, "unknown key"),
        (
            "  auth: { refreshToken: { clientId: c, tokenfile: s3cret } }\n",
            8,
            "exactly one of",
        ),
        (
            "  auth: none\n  oauth: { tokenUrl: 'http://other.example/t' }\n",
            9,
            "allowPlaintext",
        ),
        ("  auth: none\n  oauth: { tokenURL: /t }\n", 9, "unknown field"),
        ("  auth: none\n  allowAddresses: [ten]\n", 9, "10.0.0.0/8"),
        ("  auth: none\n  clientCertFile: /c\n", 9, "both or neither"),
        ("  auth: none\n  credentialExpiresAt: soon\n", 9, "2027-01-31"),
        ("  auth: none\n  scim: { userNameSuffix: .x }\n", 9, "userNamesUnique"),
        (
            "  auth: none\n  scim: { catalogues: [{ attribute: title, path: /T }] }\n",
            9,
            "several values",
        ),
    ] {
        let said = mistake(connection);
        assert!(said.contains(&format!("policy/hub.yaml:{line}")), "{connection}{said}");
        assert!(said.contains(words), "{connection}{said}");
        let quoted = said.lines().filter(|line| line.contains("s3cret")).count();
        // The line of the file is shown; the words about it repeat nothing.
        assert!(quoted <= 2, "{said}");
    }
}

#[test]
fn the_account_of_the_credentials_is_known_asked_for_or_has_to_be_named() {
    let with = |auth: &str| {
        let text = GOOD.replace("{ bearerTokenFile: /secrets/token }", auth);
        read(&[("policy/helpdesk.yaml", &format!("{text}protect: {{ owner: true }}\n"))]).unwrap()
    };
    let of = |policy: Policy| policy.targets.into_values().next().unwrap();
    let asks = |target: &Target| match &target.connection.dialect {
        Dialect::Scim(config) => config.ask_owner,
        _ => unreachable!("the preset scim"),
    };
    let basic = of(with("{ basic: { user: Svc-Usher, passwordFile: /secrets/p } }"));
    assert!(basic.policy.protected.contains("svc-usher") && !asks(&basic));
    let bearer = of(with("{ bearerTokenFile: /secrets/token }"));
    assert!(bearer.policy.protected.is_empty() && asks(&bearer));
    let without = of(read(&[("policy/helpdesk.yaml", GOOD)]).unwrap());
    assert!(!asks(&without), "nobody wants to know");
    let described = "target: x\npreset: skyprep\nmode: observe\nsources: [00D000000000001EAA]\nconnection: { rest: { secrets: { apiKey: /a, acctKey: /b } } }\nscope: { filter: all }\nprotect: { owner: true }\n";
    let said = problems(described);
    assert!(
        said.iter()
            .any(|said| said.contains("protect.owner: this application does not say")),
        "{said:#?}"
    );
}
