//! `notify` and `organization.notifyManagers`: who is told, and what is said when it does not fit.

use super::*;
use crate::logic::notification::{Audience, Notify};

const CAPTURE: &str = "settings: { calls: { attribute: nickName, capture: true } }\nset: { calls: \"on\" }\n";

fn told(text: &str) -> Result<Notify, Vec<String>> {
    let policy = read(&[("policy/helpdesk.yaml", &format!("{GOOD}{text}"))]).map_err(|error| error.0)?;
    Ok(policy.targets.values().next().unwrap().policy.notify.clone())
}

fn audience(text: &str) -> Option<Audience> {
    let notify = told(text).unwrap_or_else(|problems| panic!("{text}: {problems:#?}"));
    notify.manager.map(|(audience, _)| audience)
}

#[test]
fn nobody_is_told_unless_the_policy_says_so() {
    let notify = told("").unwrap();
    assert_eq!(notify, Notify::default());
    assert!(!notify.mails() && !notify.looks_at_teams());
    assert_eq!(
        told("notify: { onCreate: { user: false, manager: false } }\n").unwrap(),
        notify
    );
    assert_eq!(told("notify:\n").unwrap(), notify);
    // Whom it concerns changes nobody's account.
    let with = format!("{GOOD}notify: {{ onCreate: {{ user: true }} }}\n");
    assert_eq!(hash(GOOD), hash(&with));
}

#[test]
fn mails_are_bundled_or_have_texts_of_their_own() {
    let notify = told("notify: { onCreate: { user: true, webhook: [it, hr, it] }, firstImport: true }\n").unwrap();
    let letter = notify.user.clone().unwrap();
    assert!(letter.html.is_some());
    assert_eq!(notify.webhooks, ["hr", "it"]);
    assert!(notify.first_import);
    let own =
        "notify: { onCreate: { user: { subject: 'Welcome {{ givenName }}', text: 'Hello {{ custom.Nick__c }}' } } }\n";
    let own = told(own).unwrap().user.unwrap();
    assert_ne!(own.subject, letter.subject);
    assert!(own.html.is_none(), "a bundled half would be another mail");
    let subject = told("notify: { onCreate: { user: { subject: 'Welcome' } } }\n")
        .unwrap()
        .user
        .unwrap();
    assert_eq!((subject.text, subject.html), (letter.text, letter.html));
    let retry = told("notify: { retry: { base: 1s, max: 1m, giveUpAfter: 7d } }\n")
        .unwrap()
        .retry;
    assert_eq!((retry.base.as_secs(), retry.give_up_after.as_secs()), (1, 7 * 86_400));
}

#[test]
fn which_managers_are_told() {
    for (organization, notify, expected) in [
        ("", "", None),
        ("notifyManagers: recordedTeams", "", Some(Audience::RecordedTeams)),
        ("notifyManagers: always", "", Some(Audience::Always)),
        ("notifyManagers: true", "", Some(Audience::Always)),
        ("notifyManagers: never", "", None),
        ("notifyManagers: false", "", None),
        ("", "manager: true", Some(Audience::RecordedTeams)),
        ("notifyManagers: always", "manager: true", Some(Audience::Always)),
        (
            "notifyManagers: recordedTeams",
            "manager: { subject: x }",
            Some(Audience::RecordedTeams),
        ),
    ] {
        let text = format!("{CAPTURE}organization: {{ {organization} }}\nnotify: {{ onCreate: {{ {notify} }} }}\n");
        assert_eq!(audience(&text), expected, "{text}");
    }
    assert_eq!(
        audience("organization: { notifyManagers: always }\n"),
        Some(Audience::Always)
    );
}

#[test]
fn what_does_not_fit_is_shown_at_its_place() {
    for (text, place, words) in [
        (
            "organization: { notifyManagers: sometimes }\n",
            16,
            "is recordedTeams, always or never",
        ),
        (
            "organization: { notifyManagers: recordedTeams }\n",
            16,
            "no setting that is marked capture: true",
        ),
        (
            "notify: { onCreate: { manager: true } }\n",
            16,
            "say organization.notifyManagers: always",
        ),
        (
            "organization: { notifyManagers: always }\nnotify: { onCreate: { manager: false } }\n",
            17,
            "take one of them out",
        ),
        (
            "organization: { notifyManagers: never }\nnotify: { onCreate: { manager: true } }\n",
            16,
            "take one of them out",
        ),
        ("notify: { onCreat: { user: true } }\n", 16, "did you mean `onCreate`?"),
        ("notify: { onCreate: { users: true } }\n", 16, "did you mean `user`?"),
        (
            "notify: { onCreate: { user: yes please } }\n",
            16,
            "expected true, false or { subject, text, html }",
        ),
        ("notify: { onCreate: { user: { titel: x } } }\n", 16, "unknown key"),
        (
            "notify:\n  onCreate:\n    user:\n      subject: \"{{ givenNam }}\"\n",
            19,
            "`givenNam` is no field, no manager.<field> and not target; did you mean `givenName`?",
        ),
        (
            "notify: { onCreate: { user: { html: '<p>' } } }\n",
            16,
            "is needed beside html",
        ),
        (
            "notify: { onCreate: { user: { text: '{% set x = 1 %}' } } }\n",
            16,
            "`set` is not supported here",
        ),
        (
            "notify: { onCreate: { webhook: 'https://hooks.example.com/s3cret' } }\n",
            16,
            "names an endpoint by a word",
        ),
        ("notify: { retry: { base: 2h } }\n", 16, "must not be shorter"),
        ("notify: { retry: { base: soon } }\n", 16, "must be a duration"),
        (
            "features: { invite: true }\n",
            16,
            "has no activation or password-reset mail of its own that is known",
        ),
    ] {
        let found = told(text).unwrap_err();
        assert!(
            found
                .iter()
                .any(|problem| problem.contains(words) && problem.contains(&format!("helpdesk.yaml:{place}:"))),
            "{text}: {found:#?}"
        );
    }
}
