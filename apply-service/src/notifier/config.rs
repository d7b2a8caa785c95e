//! The mail server and the endpoints of webhooks, as the service's configuration names them. Secrets are named by file.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use usher_runtime::{address::Allowed, secret::SecretRef};

use crate::{connector::http::HttpConfig, logic::ownership::WRITE_ENDS_WITHIN};

/// How the mail server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MailTls {
    /// Encrypted after STARTTLS; a server that does not offer it is not used.
    #[default]
    Starttls,
    /// Encrypted from the first byte (submissions, RFC 8314).
    Implicit,
    /// Not encrypted.
    None,
}

impl MailTls {
    fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

/// The mail server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MailConfig {
    /// Its name; the certificate has to be for it.
    pub server: String,
    /// Default 587 for STARTTLS, 465 for implicit TLS, 25 without.
    #[serde(default)]
    pub port: Option<u16>,
    /// Default `starttls`.
    #[serde(default)]
    pub tls: MailTls,
    /// Allow `tls: none` to other hosts than this machine. Default false: people's names and the password would travel in
    /// the clear.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// PEM file of the certificate authority, for servers with a private one; it is believed beside the public ones.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Private, link-local and other special addresses that `server` may lead to, as `10.0.0.0/8`. Default none.
    #[serde(default)]
    pub allow_addresses: Vec<String>,
    /// Who logs in (PLAIN or LOGIN, whichever the server offers); without it nobody does.
    #[serde(default)]
    pub user: Option<String>,
    /// The file that holds the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Who writes: `usher@acme.com` or `Usher <usher@acme.com>`.
    pub from: String,
    /// Where answers go; by default to `from`.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The right side of Message-IDs; by default the domain of `from`. Keep it: mail servers recognize repetitions by it.
    #[serde(default)]
    pub message_id_domain: Option<String>,
    /// Time for one mail, connecting included; default 10s, at most 15s: the lease of a target counts on it.
    #[serde(default = "timeout", with = "usher_runtime::duration")]
    pub timeout: Duration,
}

/// An endpoint that is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where it is; https.
    pub url: String,
    /// Files that hold `whsec_…` secrets; each signs, so that a new one can be given before the old one is taken away.
    pub secret_files: Vec<PathBuf>,
    /// PEM file of the certificate authority, for endpoints with a private one.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Allow `http://` to other hosts than this machine. Default false.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Private, link-local and other special addresses that the host may lead to, as `10.0.0.0/8`. Default none.
    #[serde(default)]
    pub allow_addresses: Vec<String>,
    /// Time for one message; default 10s, at most 15s.
    #[serde(default = "timeout", with = "usher_runtime::duration")]
    pub timeout: Duration,
}

fn timeout() -> Duration {
    Duration::from_secs(10)
}

fn fits(timeout: Duration) -> bool {
    (Duration::from_millis(1)..=WRITE_ENDS_WITHIN).contains(&timeout)
}

impl MailConfig {
    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.tls.port())
    }

    /// The sender's mailbox; `None` when it is none.
    #[must_use]
    pub fn sender(&self) -> Option<Mailbox> {
        mailbox(&self.from)
    }

    /// The right side of Message-IDs.
    #[must_use]
    pub fn domain(&self) -> String {
        let own = self.sender().map(|sender| sender.email.domain().to_owned());
        self.message_id_domain.clone().or(own).unwrap_or_default()
    }

    /// Everything that is wrong, in words; empty when nothing is. Files are not looked at.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let plain =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !"<>@/\"".contains(c));
        if !plain(&self.server) {
            problems.push(
                "mail.server is the name of a host, such as smtp.acme.com; the port is a key of its own".to_owned(),
            );
        }
        match Allowed::parse(&self.allow_addresses) {
            Err(wrong) => problems.push(format!("mail.{wrong}")),
            Ok(allowed) => problems.extend(allowed.literal_refusal(&self.server).map(|why| {
                format!("mail.server names an address of {why}; list it under mail.allowAddresses if it is meant")
            })),
        }
        if self.sender().is_none() {
            problems.push("mail.from is an address such as usher@acme.com or \"Usher <usher@acme.com>\"".to_owned());
        }
        if self
            .reply_to
            .as_deref()
            .is_some_and(|reply_to| mailbox(reply_to).is_none())
        {
            problems.push("mail.replyTo is an address such as it@acme.com".to_owned());
        }
        if self.message_id_domain.as_deref().is_some_and(|domain| !plain(domain)) {
            problems.push("mail.messageIdDomain is a domain such as usher.acme.com".to_owned());
        }
        if self.user.is_some() != self.password_file.is_some() {
            problems.push("mail.user and mail.passwordFile belong together: say both or neither".to_owned());
        }
        if self.tls == MailTls::None && !self.allow_plaintext && !is_loopback(&self.server) {
            problems.push(
                "mail.tls: none sends mail to another machine in the clear; use starttls or implicit, or set \
                 mail.allowPlaintext: true"
                    .to_owned(),
            );
        }
        if !fits(self.timeout) {
            problems.push("mail.timeout is at most 15s: the lease of a target counts on it".to_owned());
        }
        problems
    }
}

/// A mailbox whose address may stand in a header as it is.
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    let clean = !text.chars().any(char::is_control);
    text.trim().parse::<Mailbox>().ok().filter(|_| clean)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl WebhookConfig {
    /// Where it is, as the sender takes it: the host, and the path with its query.
    ///
    /// # Errors
    /// Why it cannot be used, in words without the address: its path may be a secret.
    pub fn parts(&self) -> Result<(HttpConfig, String), String> {
        let url = Url::parse(self.url.trim()).map_err(|error| format!("url is no URL ({error})"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("url holds credentials or a fragment; messages are signed, take them out".to_owned());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => format!("[{address}]"),
            None => return Err("url names no host; it looks like https://host/path".to_owned()),
        };
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let path = url
            .query()
            .map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let millis = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        let names = (0..).map(|number: u32| format!("{number:03}"));
        let config = HttpConfig {
            connect_timeout_ms: millis,
            request_timeout_ms: millis,
            // Nothing of the answer is looked at but its status.
            max_body_bytes: 1024 * 1024,
            ca_file: self.ca_file.clone(),
            allow_plaintext: self.allow_plaintext,
            allow_addresses: self.allow_addresses.clone(),
            secrets: names
                .zip(self.secret_files.iter().cloned().map(SecretRef::File))
                .collect::<BTreeMap<_, _>>(),
            ..HttpConfig::new(format!("{}://{host}{port}", url.scheme()))
        };
        let wrong = config.validate();
        if wrong.is_empty() {
            Ok((config, path))
        } else {
            Err(wrong
                .join("; ")
                .replace("baseUrl", "url")
                .replace("`allowPlaintext: true`", "allowPlaintext: true"))
        }
    }

    /// Everything that is wrong, in words; empty when nothing is. Files are not looked at.
    #[must_use]
    pub fn problems(&self, name: &str) -> Vec<String> {
        let mut problems: Vec<String> = self.parts().err().into_iter().collect();
        if self.secret_files.is_empty() {
            problems.push("secretFiles names no file: messages are signed".to_owned());
        }
        if !fits(self.timeout) {
            problems.push("timeout is at most 15s: the lease of a target counts on it".to_owned());
        }
        problems
            .into_iter()
            .map(|problem| format!("webhooks.{name}.{problem}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mail(more: serde_json::Value) -> MailConfig {
        let mut config = json!({"server": "smtp.acme.example", "from": "Usher <usher@acme.example>"});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn a_mail_server_has_safe_defaults_and_every_problem_is_said() {
        let config = mail(json!({}));
        assert_eq!(
            (config.tls, config.port(), config.domain().as_str()),
            (MailTls::Starttls, 587, "acme.example")
        );
        assert!(config.problems().is_empty());
        assert_eq!(mail(json!({"tls": "implicit"})).port(), 465);
        for (more, words) in [
            (
                json!({"server": "smtp.acme.example:587\r\n"}),
                "the port is a key of its own",
            ),
            (json!({"server": ""}), "name of a host"),
            (
                json!({"server": "10.0.0.25"}),
                "mail.server names an address of a private network",
            ),
            (json!({"allowAddresses": ["ten"]}), "mail.allowAddresses `ten`"),
            (json!({"from": "nobody"}), "mail.from is an address"),
            (
                json!({"from": "Usher\r\nBcc: x@y.z <usher@acme.example>"}),
                "mail.from is an address",
            ),
            (json!({"replyTo": "it"}), "mail.replyTo"),
            (json!({"messageIdDomain": "a b"}), "mail.messageIdDomain"),
            (json!({"user": "usher"}), "say both or neither"),
            (json!({"tls": "none"}), "in the clear"),
            (json!({"timeout": "16s"}), "at most 15s"),
        ] {
            let problems = mail(more.clone()).problems();
            assert!(
                problems.len() == 1 && problems[0].contains(words),
                "{more}: {problems:?}"
            );
        }
        assert!(
            mail(json!({"tls": "none", "server": "127.0.0.1"}))
                .problems()
                .is_empty()
        );
        assert!(
            mail(json!({"tls": "none", "allowPlaintext": true}))
                .problems()
                .is_empty()
        );
    }

    #[test]
    fn an_endpoint_is_held_to_the_rules_of_connectors() {
        let of = |url: &str| WebhookConfig {
            url: url.to_owned(),
            secret_files: vec!["/secrets/new".into(), "/secrets/old".into()],
            ca_file: None,
            allow_plaintext: false,
            allow_addresses: vec![],
            timeout: timeout(),
        };
        let (config, path) = of("https://hooks.acme.example:8443/in/7?tenant=a").parts().unwrap();
        assert_eq!(
            (config.base_url.as_str(), path.as_str()),
            ("https://hooks.acme.example:8443", "/in/7?tenant=a")
        );
        assert_eq!(config.secrets.len(), 2);
        for (url, words) in [
            ("http://hooks.acme.example/s3cret", "http to another machine"),
            ("https://u:s3cret@hooks.acme.example/", "holds credentials"),
            ("hooks/s3cret", "is no URL"),
            ("ftp://hooks.acme.example/s3cret", "scheme"),
        ] {
            let problems = of(url).problems("hr");
            assert!(
                problems[0].starts_with("webhooks.hr.url") && problems[0].contains(words),
                "{problems:?}"
            );
            assert!(!problems[0].contains("s3cret"), "{problems:?}");
        }
        assert!(of("http://127.0.0.1:9/x").problems("hr").is_empty());
        let inside = |ranges: &[&str]| WebhookConfig {
            allow_addresses: ranges.iter().map(|range| (*range).to_owned()).collect(),
            ..of("https://10.0.0.8/x")
        };
        assert!(inside(&[]).problems("hr")[0].contains("list it under `allowAddresses`"));
        assert!(inside(&["10.0.0.0/8"]).problems("hr").is_empty());
        let unsigned = WebhookConfig {
            secret_files: vec![],
            ..of("https://h.example/")
        };
        assert!(unsigned.problems("hr")[0].contains("messages are signed"));
    }
}
