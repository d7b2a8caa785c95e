//! SMTP: one connection per mail, encrypted, with a log-in where one is configured.
//!
//! Says what of a failure concerns everybody (the server, the log-in, the sender) and what the one recipient. What the server
//! says in words is not repeated: it quotes addresses. Deliberately left out: a pool of connections, because an operator
//! with a thousand mails is rare and a connection that hangs is not; DKIM, which is the server's business.

use std::{fmt, net::SocketAddr, time::Duration};

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt},
        extension::{ClientId, Extension, MailParameter},
    },
};
use usher_runtime::{
    address::{AddressRefused, Allowed, Resolver},
    shutdown::chain,
};

use super::config::{MailConfig, MailTls, mailbox};
use crate::{
    connector::{Refusal, http::client::distrust},
    logic::notification::{Mail, Undelivered},
};

/// RFC 3834 section 5: nobody's vacation answers to it.
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");

/// Sends mails to one server.
pub(crate) struct Mailer {
    config: MailConfig,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    tls: Option<TlsParameters>,
    resolver: Resolver,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("server", &self.config.server)
            .finish_non_exhaustive()
    }
}

impl Mailer {
    /// Sets up; connects nowhere. The password is read with each connection, so a rotated one counts at once.
    ///
    /// # Errors
    /// In words: settings that cannot work, or certificates that cannot be read.
    pub(crate) fn new(config: MailConfig) -> Result<Self, String> {
        let problems = config.problems();
        let Some(from) = config.sender().filter(|_| problems.is_empty()) else {
            return Err(problems.join("; "));
        };
        let tls = match config.tls {
            MailTls::None => None,
            MailTls::Starttls | MailTls::Implicit => {
                let mut tls = TlsParameters::builder(config.server.clone());
                if let Some(file) = &config.ca_file {
                    let unusable =
                        |why: &dyn fmt::Display| format!("mail.caFile {} cannot be used: {why}", file.display());
                    let pem = std::fs::read(file).map_err(|error| unusable(&error.kind()))?;
                    let certificate = Certificate::from_pem(&pem).map_err(|error| unusable(&chain(&error)))?;
                    tls = tls.add_root_certificate(certificate);
                }
                let built = tls.build_rustls();
                Some(built.map_err(|error| format!("mail: TLS cannot be set up: {}", chain(&error)))?)
            }
        };
        let allowed = Allowed::parse(&config.allow_addresses).map_err(|wrong| format!("mail.{wrong}"))?;
        Ok(Self {
            resolver: Resolver::new(allowed),
            reply_to: config.reply_to.as_deref().and_then(mailbox),
            from,
            tls,
            config,
        })
    }

    /// How long one mail may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// Connects and logs in, and sends nothing.
    ///
    /// # Errors
    /// Why it does not work.
    pub(crate) async fn check(&self) -> Result<(), Refusal> {
        let mut connection = self.connect().await?;
        let _ = connection.quit().await;
        Ok(())
    }

    /// Sends one mail to one recipient.
    ///
    /// # Errors
    /// [`Undelivered`], with whom it concerns.
    pub(crate) async fn send(&self, mail: &Mail) -> Result<(), Undelivered> {
        let to = mail.to.parse::<Address>().map_err(|_| {
            Undelivered::Refused(Refusal {
                code: "no-address".to_owned(),
                reason: "the e-mail address is none that a mail can be sent to".to_owned(),
            })
        })?;
        let message = self.message(mail, to.clone()).map_err(|why| {
            Undelivered::Refused(Refusal {
                code: "mail-unmade".to_owned(),
                reason: format!("the mail cannot be made: {why}"),
            })
        })?;
        let mut connection = self
            .connect()
            .await
            .map_err(|refusal| Undelivered::Down(refusal, None))?;
        let mut parameters = Vec::new();
        if !AsRef::<str>::as_ref(&to).is_ascii() {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Undelivered::Refused(Refusal {
                    code: "smtputf8".to_owned(),
                    reason: "the address has letters that this mail server does not take (RFC 6531)".to_owned(),
                }));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let sender = MailFrom::new(Some(self.from.email.clone()), parameters);
        // Who may not send as `from` may send to nobody.
        connection
            .command(sender)
            .await
            .map_err(|error| Undelivered::Down(self.refusal("the sender", &error), None))?;
        let recipient = Rcpt::new(to, vec![]);
        if let Err(error) = connection.command(recipient).await {
            return Err(self.concerns_one("the recipient", &error));
        }
        if let Err(error) = connection.command(Data).await {
            return Err(self.concerns_one("the mail", &error));
        }
        if let Err(error) = connection.message(&message.formatted()).await {
            return Err(self.concerns_one("the mail", &error));
        }
        // It was taken: how the connection ends does not matter any more.
        let _ = connection.quit().await;
        Ok(())
    }

    fn message(&self, mail: &Mail, to: Address) -> Result<Message, String> {
        let id = format!("<{}@{}>", mail.id, self.config.domain());
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .message_id(Some(id))
            .subject(mail.subject.clone())
            .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        let built = match &mail.html {
            Some(html) => builder.multipart(MultiPart::alternative_plain_html(mail.text.clone(), html.clone())),
            None => builder.singlepart(SinglePart::plain(mail.text.clone())),
        };
        built.map_err(|error| chain(&error))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Refusal> {
        let config = &self.config;
        let hello = ClientId::Domain(config.domain());
        // Resolved here, so that what is connected to is what was looked at; the certificate is for the name all the same.
        let addresses = self.addresses().await?;
        let implicit = self.tls.clone().filter(|_| config.tls == MailTls::Implicit);
        let connected =
            AsyncSmtpConnection::connect_tokio1(addresses.as_slice(), Some(config.timeout), &hello, implicit, None)
                .await;
        let mut connection = connected.map_err(|error| self.refusal("the connection", &error))?;
        if let Some(tls) = self.tls.clone().filter(|_| config.tls == MailTls::Starttls) {
            // Never without: a server that does not offer it may be somebody in between.
            if !connection.can_starttls() {
                connection.abort().await;
                return Err(Refusal {
                    code: "smtp-no-starttls".to_owned(),
                    reason: format!("{} does not offer STARTTLS; see mail.tls", config.server),
                });
            }
            let encrypted = connection.starttls(tls, &hello).await;
            encrypted.map_err(|error| self.refusal("STARTTLS", &error))?;
        }
        if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
            let read = tokio::fs::read_to_string(file).await;
            let password = read.map_err(|error| Refusal {
                code: "credential-unreadable".to_owned(),
                reason: format!("the secret file {} cannot be used: {}", file.display(), error.kind()),
            })?;
            let credentials = Credentials::new(user.clone(), password.trim().to_owned());
            let logged_in = connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await;
            logged_in.map_err(|error| self.refusal("the log-in", &error))?;
        }
        Ok(connection)
    }

    /// Where the server is, as far as it may be connected to.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Refusal> {
        let (server, port) = (&self.config.server, self.config.port());
        let found = self.resolver.addresses(server.clone()).await.map_err(|error| {
            let (code, reason) = match AddressRefused::within(&*error) {
                Some(refused) => (
                    "address-refused",
                    format!("{refused}; list it under mail.allowAddresses if it is meant"),
                ),
                None => ("connect", format!("{server}:{port}: the name leads nowhere")),
            };
            Refusal {
                code: code.to_owned(),
                reason,
            }
        })?;
        Ok(found.iter().map(|found| SocketAddr::new(found.ip(), port)).collect())
    }

    /// By whose doing it failed. 421 is the server that closes (RFC 5321 section 3.8); a connection that breaks is, too.
    fn concerns_one(&self, what: &str, error: &Error) -> Undelivered {
        let refusal = self.refusal(what, error);
        if refusal.code == "smtp-421" {
            Undelivered::Down(refusal, None)
        } else if error.is_permanent() {
            Undelivered::Refused(refusal)
        } else if error.is_transient() {
            Undelivered::Later(refusal)
        } else {
            Undelivered::Down(refusal, None)
        }
    }

    /// Without the server's words.
    fn refusal(&self, what: &str, error: &Error) -> Refusal {
        let server = &self.config.server;
        if let Some(status) = error.status() {
            return Refusal {
                code: format!("smtp-{status}"),
                reason: format!("{server} refuses {what} with {status}"),
            };
        }
        if let Some(why) = distrust(error) {
            return Refusal {
                code: "tls".to_owned(),
                reason: format!(
                    "no trusted TLS connection to {server}:{}: {why}; see mail.tls and mail.caFile",
                    self.config.port()
                ),
            };
        }
        let (code, words) = if error.is_timeout() {
            ("timeout", "no answer in time")
        } else if what == "the log-in" {
            ("smtp-auth", "no way to log in that both sides know")
        } else {
            ("connect", "no connection, or it broke")
        };
        Refusal {
            code: code.to_owned(),
            reason: format!("{server}:{}: {words}", self.config.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    /// A mailer to whom every name leads to this machine, at a port where nobody listens.
    async fn refused(server: &str, more: &Value) -> Refusal {
        let port = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let mut config = json!({ "server": server, "port": port, "from": "usher@acme.example" });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let mut mailer = Mailer::new(serde_json::from_value(config).unwrap()).unwrap();
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        mailer.resolver.lookup = Arc::new(move |_| Box::pin(async move { Ok(vec![here]) }));
        mailer.check().await.unwrap_err()
    }

    #[tokio::test]
    async fn a_mail_server_inside_is_connected_to_only_when_it_is_listed() {
        let refusal = refused("smtp.acme.example", &json!({})).await;
        assert_eq!(refusal.code, "address-refused");
        assert_eq!(
            refusal.reason,
            "smtp.acme.example leads to 127.0.0.1, which is this machine; list it under mail.allowAddresses if it is meant"
        );
        let listed = json!({ "allowAddresses": ["127.0.0.0/8"] });
        assert_eq!(refused("smtp.acme.example", &listed).await.code, "connect");
        for own in ["localhost", "127.0.0.1"] {
            assert_eq!(refused(own, &json!({})).await.code, "connect", "{own}");
        }
    }
}
