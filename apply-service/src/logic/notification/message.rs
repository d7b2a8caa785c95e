//! What is said: mails as text and HTML from templates, and the event of a webhook.
//!
//! Templates are those of the mapping (`logic::template`), sandboxed and bounded, over more names: the new user's fields,
//! `manager.<field>` and `target`. In the HTML part every value is escaped, and nothing switches that off. A field that is
//! unknown is blank here: a mail writes nothing that would be wrong afterwards.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use minijinja::{AutoEscape, Environment, value::Serde};
use serde_json::{Map, Value, json};
use usher_contract::{AccountCreated, Known, TargetName, User, UserKey};

use crate::logic::{
    account::RemoteId,
    source::SourceField,
    template::{in_words, is_name, place, refuse_statements, render_bounded},
};

/// Characters of a template of a mail: a page with some style.
const TEXT_MAX: usize = 50_000;
/// Bytes that may come out.
const OUTPUT_MAX: usize = 200_000;
/// Instructions of one rendering.
const FUEL: u64 = 100_000;
/// Characters of a subject; longer ones are cut.
const SUBJECT_MAX: usize = 200;
/// RFC 5321 section 4.5.3.1: a path has at most 256 octets with its brackets.
const ADDRESS_MAX: usize = 254;

/// A mail, ready to be sent. Not shown: it is about people.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Of the notice; the Message-ID is made of it.
    pub id: String,
    /// The one recipient.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: Option<String>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A template of a part of a mail, checked.
#[derive(Clone)]
pub struct Text {
    text: String,
    names: Vec<Name>,
    environment: Arc<Environment<'static>>,
}

/// What a template reads.
#[derive(Debug, Clone)]
enum Name {
    Target,
    Of(SourceField),
    OfManager(SourceField),
}

impl Name {
    fn named(name: &str) -> Option<Self> {
        let field = |name: &str| SourceField::named(name).filter(|field| !matches!(field, SourceField::Manager));
        match name.strip_prefix("manager.") {
            Some(below) => field(below).map(Self::OfManager),
            None if name == "target" => Some(Self::Target),
            None => field(name).map(Self::Of),
        }
    }
}

impl Text {
    /// Checks a template: its grammar, its names, its filters. In `html` values are escaped.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, html: bool) -> Result<Self, String> {
        if text.chars().count() > TEXT_MAX {
            return Err(format!("has more than {TEXT_MAX} characters"));
        }
        if text.trim().is_empty() {
            return Err("is empty".to_owned());
        }
        refuse_statements(text)?;
        let mut environment = crate::logic::template::environment();
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(move |_| if html { AutoEscape::Html } else { AutoEscape::None });
        environment
            .add_template_owned("row", text.to_owned())
            .map_err(|error| in_words(&error))?;
        let compiled = environment.get_template("row").map_err(|error| in_words(&error))?;
        let mut found: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
        found.sort();
        let mut names = Vec::new();
        for name in found {
            names.push(Name::named(&name).ok_or_else(|| {
                let near = usher_runtime::yaml::nearest(
                    name.trim_start_matches("manager."),
                    SourceField::names().chain(["target"]),
                );
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                format!("`{name}` is no field, no manager.<field> and not target{hint}")
            })?);
        }
        drop(compiled);
        let template = Self {
            text: text.to_owned(),
            names,
            environment: Arc::new(environment),
        };
        // Names of filters are only looked up when they are used.
        for sample in ["", "x"] {
            let values = template.values(|_| Value::String(sample.to_owned()));
            if let Err(error) = template.run(values)
                && is_name(error.kind())
            {
                return Err(in_words(&error));
            }
        }
        Ok(template)
    }

    fn values(&self, value: impl Fn(&Name) -> Value) -> Map<String, Value> {
        let mut values = Map::new();
        for name in &self.names {
            let shown = match name {
                Name::Target => "target".to_owned(),
                Name::Of(field) => field.to_string(),
                Name::OfManager(field) => format!("manager.{field}"),
            };
            place(&mut values, &shown, value(name));
        }
        values
    }

    fn run(&self, values: Map<String, Value>) -> Result<String, minijinja::Error> {
        let context = minijinja::Value::from(Serde(values));
        render_bounded(&self.environment, &context, OUTPUT_MAX)
    }

    /// The text for somebody.
    ///
    /// # Errors
    /// Why it does not work for this person, in words without values.
    fn render(&self, target: &TargetName, user: &User, manager: Option<&User>) -> Result<String, String> {
        let read = |field: &SourceField, user: &User| match field.read(user) {
            Known::Value(value) => value,
            Known::Empty | Known::Unknown => Value::String(String::new()),
        };
        let values = self.values(|name| match (name, manager) {
            (Name::Target, _) => Value::String(target.to_string()),
            (Name::Of(field), _) => read(field, user),
            (Name::OfManager(field), Some(manager)) => read(field, manager),
            (Name::OfManager(_), None) => Value::String(String::new()),
        });
        self.run(values).map_err(|error| in_words(&error))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text {:?}", self.text)
    }
}
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// The templates of one kind of mail.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The subject.
    pub subject: Text,
    /// The plain part.
    pub text: Text,
    /// The HTML part; without it the mail is plain.
    pub html: Option<Text>,
}

impl Letter {
    /// The mail about this person to an address that [`address`] has passed.
    ///
    /// # Errors
    /// Why a template does not work, in words without values.
    pub fn write(
        &self,
        id: &str,
        to: String,
        target: &TargetName,
        user: &User,
        manager: Option<&User>,
    ) -> Result<Mail, String> {
        let part = |part: &str, text: &Text| {
            text.render(target, user, manager)
                .map_err(|why| format!("the template of {part} {why}"))
        };
        Ok(Mail {
            id: id.to_owned(),
            to,
            subject: single_line(&part("subject", &self.subject)?),
            text: part("text", &self.text)?,
            html: self.html.as_ref().map(|html| part("html", html)).transpose()?,
        })
    }
}

/// The bundled mails: to the new user and to the manager.
///
/// **Invariant**: they are templates; a test parses them.
#[must_use]
pub fn bundled() -> (Letter, Letter) {
    let letter = |subject: &str, text: &str, html: &str| {
        let parse = |text: &str, html| Text::parse(text, html).expect("the bundled mails are templates");
        Letter {
            subject: parse(subject, false),
            text: parse(text, false),
            html: Some(parse(html, true)),
        }
    };
    (
        letter(
            "Your account at {{ target }}",
            include_str!("../../../mails/new-user.txt"),
            include_str!("../../../mails/new-user.html"),
        ),
        letter(
            "{{ displayName }} has an account at {{ target }}",
            include_str!("../../../mails/manager.txt"),
            include_str!("../../../mails/manager.html"),
        ),
    )
}

/// A subject: whatever a value holds, it stays one line. So no value begins another header.
#[must_use]
pub fn single_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(SUBJECT_MAX).collect()
}

/// Why nobody can be written to. In words without the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// It may become known.
    #[error("the e-mail address is unknown")]
    Unknown,
    /// There is none.
    #[error("there is no e-mail address")]
    Blank,
    /// It could be more than an address.
    #[error("the e-mail address is none that a mail can be sent to")]
    Unfit,
    /// As Salesforce makes them in sandboxes, so that nobody is written to from there.
    #[error("the e-mail address ends with .invalid, as in a sandbox")]
    Sandbox,
}

/// The address of a person, when it is one that a mail can be sent to.
///
/// # Errors
/// [`NoAddress`].
pub fn address(email: &Known<String>) -> Result<String, NoAddress> {
    let text = match email {
        Known::Unknown => return Err(NoAddress::Unknown),
        Known::Empty => return Err(NoAddress::Blank),
        Known::Value(text) => text.trim(),
    };
    if text.is_empty() {
        return Err(NoAddress::Blank);
    }
    // Quoted local parts are legal and nobody has one; whatever could become syntax is refused instead of escaped.
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[]\\,;:\"".contains(c);
    let (local, domain) = text.rsplit_once('@').unwrap_or_default();
    let fits = !local.is_empty() && !local.contains('@') && domain.contains('.') && text.len() <= ADDRESS_MAX;
    if !fits || !text.chars().all(plain) || domain.starts_with('.') || domain.ends_with('.') {
        return Err(NoAddress::Unfit);
    }
    // RFC 2606 section 2: the domain exists nowhere.
    if domain.to_ascii_lowercase().ends_with(".invalid") {
        return Err(NoAddress::Sandbox);
    }
    Ok(text.to_owned())
}

/// The event that a webhook is told. Ids alone: whoever needs more asks by them.
#[must_use]
pub fn event_of(id: &str, target: &TargetName, user: &UserKey, account: Option<&RemoteId>, at: Timestamp) -> Value {
    let event = AccountCreated {
        id: id.to_owned(),
        kind: AccountCreated::KIND.to_owned(),
        timestamp: at,
        data: usher_contract::AccountCreatedData {
            target: target.clone(),
            user: *user,
            account: account.map(ToString::to_string),
        },
    };
    serde_json::to_value(event).unwrap_or_else(|_| json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{person, user_key};

    fn gong() -> TargetName {
        TargetName::try_new("gong").unwrap()
    }

    #[test]
    fn the_bundled_mails_speak_of_the_person_and_the_target() {
        let (to_user, to_manager) = bundled();
        let mut user = person(1).user;
        user.display_name = Known::Value("Zoë O'Neil".into());
        let mut boss = person(2).user;
        boss.given_name = Known::Value("Grace".into());
        let mail = to_user
            .write("i", "u1@acme.example".into(), &gong(), &user, Some(&boss))
            .unwrap();
        assert_eq!(mail.subject, "Your account at gong");
        assert!(mail.text.contains("Ada") && mail.html.as_ref().unwrap().contains("Ada"));
        let mail = to_manager
            .write("i", "u2@acme.example".into(), &gong(), &user, Some(&boss))
            .unwrap();
        assert_eq!(mail.subject, "Zoë O'Neil has an account at gong");
        assert!(mail.text.contains("Grace") && mail.text.contains("Zoë O'Neil"));
        assert!(mail.html.unwrap().contains("Zoë O&#x27;Neil"));
        // Nobody's values in what is logged.
        let shown = format!(
            "{:?}",
            to_user
                .write("i", "u1@acme.example".into(), &gong(), &user, None)
                .unwrap()
        );
        assert!(!shown.contains("acme") && !shown.contains("Ada"), "{shown}");
    }

    #[test]
    fn values_are_escaped_in_html_and_never_become_another_header() {
        let letter = Letter {
            subject: Text::parse("New: {{ displayName }}", false).unwrap(),
            text: Text::parse("{{ displayName | upper }}", false).unwrap(),
            html: Some(
                Text::parse(
                    "<b title=\"{{ displayName }}\">{{ displayName | replace('x', '<i>') }}</b>",
                    true,
                )
                .unwrap(),
            ),
        };
        let mut user = person(1).user;
        user.display_name = Known::Value("x\"><script>\r\nBcc: all@evil.example\r\n\r\n".into());
        let mail = letter
            .write("i", "u@acme.example".into(), &gong(), &user, None)
            .unwrap();
        assert_eq!(mail.subject, "New: x\"><script> Bcc: all@evil.example");
        let html = mail.html.unwrap();
        assert!(!html.contains("<script>") && !html.contains("<i>"), "{html}");
        assert!(!html.contains("x\">"), "{html}");
        for nasty in ["a\u{85}b", "a\u{2028}b", "a\0b", "a\tb", " a \u{b} b "] {
            assert_eq!(single_line(nasty), "a b", "{nasty:?}");
        }
        assert_eq!(single_line(&"ü".repeat(500)).chars().count(), SUBJECT_MAX);
    }

    #[test]
    fn templates_are_judged_at_load() {
        for (text, words) in [
            ("{{ givenname }}", "did you mean `givenName`?"),
            ("{{ manager.titel }}", "did you mean `title`?"),
            ("{{ manager }}", "is no field"),
            ("{{ password }}", "is no field"),
            ("{{ givenName | shout }}", "shout"),
            ("{{ givenName | safe }}", "safe"),
            ("{% include 'x' %}", "`include` is not supported"),
            (
                "{% autoescape false %}{{ givenName }}{% endautoescape %}",
                "`autoescape` is not supported",
            ),
            ("{{ givenName ", "end of"),
            (" \n", "is empty"),
        ] {
            let said = Text::parse(text, true).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
        assert!(Text::parse("the same for all", false).is_ok());
        assert!(Text::parse(&"x".repeat(TEXT_MAX + 1), false).is_err());
    }

    #[test]
    fn what_is_unknown_is_blank_in_a_mail() {
        let text = Text::parse(
            "[{{ division }}|{{ manager.givenName | default('your manager') }}]",
            false,
        )
        .unwrap();
        let mut user = person(1).user;
        user.division = Known::Unknown;
        assert_eq!(text.render(&gong(), &user, None).unwrap(), "[|your manager]");
    }

    #[test]
    fn only_plain_addresses_are_written_to() {
        let known = |text: &str| address(&Known::Value(text.to_owned()));
        for good in ["u1@acme.example", "zoë.o'neil+x@acme.example", "a@b.c"] {
            assert_eq!(known(&format!(" {good} ")).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("", NoAddress::Blank),
            (" ", NoAddress::Blank),
            ("ada@acme.com.invalid", NoAddress::Sandbox),
            ("ada@acme.INVALID", NoAddress::Sandbox),
        ] {
            assert_eq!(known(bad), Err(why), "{bad}");
        }
        for bad in [
            "nobody",
            "@acme.example",
            "a@",
            "a@localhost",
            "a@.example",
            "a@b.",
            "a b@acme.example",
            "a@acme.example,b@acme.example",
            "a@acme.example\r\nBcc: b@evil.example",
            "<a@acme.example>",
            "\"a b\"@acme.example",
            "a@b@acme.example",
            "a@acme.example\0",
            "a;b@acme.example",
        ] {
            assert_eq!(known(bad), Err(NoAddress::Unfit), "{bad:?}");
        }
        assert!(known(&format!("{}@acme.example", "a".repeat(300))).is_err());
        assert_eq!(address(&Known::Unknown), Err(NoAddress::Unknown));
    }

    #[test]
    fn an_event_holds_ids_alone() {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let event = event_of("abc", &gong(), &user_key(1), Some(&RemoteId("r1".into())), at);
        assert_eq!(
            event,
            json!({"id": "abc", "type": "account.created", "timestamp": "2026-01-02T03:04:05Z",
                "data": {"target": "gong", "user": user_key(1), "account": "r1"}})
        );
    }
}
