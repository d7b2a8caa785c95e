//! What nobody can map, whatever the connector and the preset: names that speak of a password or of another secret. No
//! password is ever carried; activation and reset are actions of the application's own.
//!
//! By the name alone: what a place really holds only its application knows. So a flag like `mustChangePassword` is refused as
//! well; let the application have its own default for it.

use serde_json::Value;

use super::layers::Layers;

/// What is said about it.
pub(super) const REFUSED: &str = "is named as a secret, and no password or other secret is ever carried; take it out (activation and \
                                  reset are actions of the application: features.invite)";

/// How names of passwords end, in small letters and without anything between.
const PASSWORDS: [&str; 6] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwordhash",
    "passwordsalt",
];
/// Other secrets.
const SECRETS: [&str; 8] = [
    "secret",
    "secretkey",
    "privatekey",
    "apikey",
    "accesskey",
    "accesstoken",
    "refreshtoken",
    "sessiontoken",
];
/// Names that are only meant alone: many words end like these.
const ALONE: [&str; 3] = ["pwd", "pass", "pin"];

/// Whether a part of a path, or of the name of a source, names a secret.
pub(super) fn names_secret(path: &str) -> bool {
    parts(path).any(|part| {
        let ends = |known: &&str| part.ends_with(*known);
        PASSWORDS.iter().any(ends) || SECRETS.iter().any(ends) || ALONE.contains(&part.as_str())
    })
}

fn names_password(name: &str) -> bool {
    parts(name).any(|part| PASSWORDS.iter().any(|known| part.ends_with(known)) || ALONE.contains(&part.as_str()))
}

fn parts(path: &str) -> impl Iterator<Item = String> {
    let parts = path.split(['.', ':', '[', ']', '"', '/', ' ', '$', '@', '\'']);
    parts.map(|part| {
        // A field of the org: `Temp_Password__c`.
        let part = part.strip_suffix("__c").unwrap_or(part);
        part.chars()
            .filter(|c| c.is_ascii_alphanumeric())
            .map(|c| c.to_ascii_lowercase())
            .collect()
    })
}

/// Places of a described interface and of a list that would carry one under another name.
pub(super) fn connection(layers: &Layers<'_>, problems: &mut Vec<String>) {
    let fields = layers.get(&["connection", "rest", "account", "fields"]);
    for (name, field) in fields.and_then(Value::as_object).into_iter().flatten() {
        if field.get("send").and_then(Value::as_str).is_some_and(names_secret) {
            let at = ["connection", "rest", "account", "fields", name, "send"];
            problems.push(layers.problem(&at, REFUSED));
        }
    }
    let operations = layers.get(&["connection", "rest", "operations"]);
    if let Some(operations) = operations {
        body(
            layers,
            operations,
            &mut vec!["connection", "rest", "operations"],
            problems,
        );
    }
    let columns = layers.get(&["connection", "roster", "columns"]);
    for (number, column) in columns.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let named = |key: &str| column.get(key).and_then(Value::as_str).is_some_and(names_secret);
        if named("name") || named("attribute") {
            let number = number.to_string();
            problems.push(layers.problem(&["connection", "roster", "columns", &number], REFUSED));
        }
    }
}

/// Texts of bodies under such a name. (Keys of an interface go into forms too: what authorizes is no password of a person.)
fn body<'a>(layers: &Layers<'_>, value: &'a Value, path: &mut Vec<&'a str>, problems: &mut Vec<String>) {
    for (key, below) in value.as_object().into_iter().flatten() {
        path.push(key);
        let in_body = path.iter().any(|step| matches!(*step, "form" | "json"));
        if in_body && below.is_string() && names_password(key) {
            problems.push(layers.problem(path, REFUSED));
        } else {
            body(layers, below, path, problems);
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names_and_other_names_are_left_alone() {
        for secret in [
            "password",
            "PASSWORD",
            "user.password",
            "user_password",
            "userPassword",
            "urn:example:2.0:User:tempPassword",
            "credentials[type eq \"passwd\"].value",
            "custom.Initial_Password__c",
            "pwd",
            "user.pin",
            "client-secret",
            "apiKey",
            "refresh_token",
        ] {
            assert!(names_secret(secret), "{secret}");
        }
        for plain in [
            "title",
            "passport",
            "custom.Passport__c",
            "spin",
            "compass",
            "secretary",
            "custom.Secretary__c",
            "passwordChangedAt",
            "emails[type eq \"work\"].value",
            "key",
            "token_count",
        ] {
            assert!(!names_secret(plain), "{plain}");
        }
    }
}
