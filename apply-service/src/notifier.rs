//! The sender of notices: mails by SMTP, webhooks by the sender of connectors. The only I/O of notification.
//!
//! Decides nothing but what a failure concerns. Whether and when something is sent is the lane's (`logic::lane`); a
//! delivery starts only under a valid lease and is dropped when the lease ends, so that two owners never send at once.

mod config;
mod mail;

use std::{collections::BTreeMap, time::Instant};

pub use self::config::{MailConfig, MailTls, WebhookConfig};
use self::mail::Mailer;
use crate::{
    Config,
    connector::{Failure, Refusal, http::HttpSender, lease::Lease, webhook::Webhook},
    logic::notification::{Delivery, Undelivered},
    policy::Policy,
};
use usher_runtime::shutdown::chain;

/// The sender's word for a write that came too late after the last commit.
const LEASE_OVER: &str = "lease-expired";

/// Sends notices. One for the process; cheap to share.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    mailer: Option<Mailer>,
    webhooks: BTreeMap<String, Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    sender: HttpSender,
    path: String,
}

impl Notifier {
    /// Sets up; connects nowhere.
    ///
    /// # Errors
    /// In words: what cannot work.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let mailer = config.mail.clone().map(Mailer::new).transpose()?;
        let mut webhooks = BTreeMap::new();
        for (name, webhook) in &config.webhooks {
            let wrong = |why: String| format!("webhooks.{name}.{why}");
            let (http, path) = webhook.parts().map_err(wrong)?;
            let sender = HttpSender::new(http).map_err(|error| wrong(chain(&error)))?;
            webhooks.insert(name.clone(), Endpoint { sender, path });
        }
        Ok(Self { mailer, webhooks })
    }

    /// Connects to the mail server and logs in, where there is one; sends nothing.
    pub(crate) async fn check_mail(&self) -> Option<Result<(), Refusal>> {
        let mailer = self.mailer.as_ref()?;
        let checked = tokio::time::timeout(mailer.timeout(), mailer.check()).await;
        Some(checked.unwrap_or_else(|_| Err(late())))
    }

    /// Sends one notice.
    ///
    /// # Errors
    /// [`Undelivered`].
    pub(crate) async fn deliver(&self, delivery: &Delivery, lease: &Lease) -> Result<(), Undelivered> {
        match delivery {
            Delivery::Mail(mail) => {
                let Some(mailer) = &self.mailer else {
                    return Err(Undelivered::Down(
                        Refusal {
                            code: "no-mail-server".to_owned(),
                            reason: "the service's configuration has no `mail`".to_owned(),
                        },
                        None,
                    ));
                };
                let start = now();
                if !lease.may_start_write(start) {
                    return Err(Undelivered::LeaseOver);
                }
                let deadline = start + mailer.timeout();
                let deadline = lease.must_end_by().map_or(deadline, |end| deadline.min(end));
                // Dropping the future closes the connection: nothing of it outlives the deadline.
                match tokio::time::timeout_at(deadline.into(), mailer.send(mail)).await {
                    Ok(result) => result,
                    Err(_elapsed) => Err(Undelivered::Down(late(), None)),
                }
            }
            Delivery::Webhook { endpoint, id, body } => {
                let Some(known) = self.webhooks.get(endpoint) else {
                    return Err(Undelivered::Down(
                        Refusal {
                            code: "no-endpoint".to_owned(),
                            reason: format!("the service's configuration has no `webhooks.{endpoint}`"),
                        },
                        None,
                    ));
                };
                let exchange = Webhook::new(&known.path, id, body);
                let (result, _) = known.sender.run(Box::new(exchange), lease).await;
                match result {
                    Ok(_) => Ok(()),
                    Err(Failure::Retry(refusal, _)) if refusal.code == LEASE_OVER => Err(Undelivered::LeaseOver),
                    Err(Failure::Reject(refusal)) => Err(Undelivered::Refused(refusal)),
                    Err(Failure::Retry(refusal, asked)) => Err(Undelivered::Down(refusal, asked)),
                    Err(Failure::Halt(refusal)) => Err(Undelivered::Down(refusal, None)),
                }
            }
        }
    }
}

fn late() -> Refusal {
    Refusal {
        code: "timeout".to_owned(),
        reason: "the mail server did not answer in time".to_owned(),
    }
}

/// Tokio's clock, as leases are counted by.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What targets want and the service's configuration does not have, each in words with its file.
#[must_use]
pub(crate) fn lacking(policy: &Policy, config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for target in policy.targets.values() {
        let (notify, spot) = (&target.policy.notify, &target.spots.notify);
        if notify.mails() && config.mail.is_none() {
            problems.push(spot.say(
                "notify sends mail, and the service's configuration has no mail server; see `mail` in `apply-service \
                 print-config --defaults`",
            ));
        }
        for endpoint in notify
            .webhooks
            .iter()
            .filter(|name| !config.webhooks.contains_key(*name))
        {
            let known: Vec<&str> = config.webhooks.keys().map(String::as_str).collect();
            let hint = usher_runtime::yaml::nearest(endpoint, known.iter().copied()).map_or_else(
                || "name it there under `webhooks` with its url and secretFiles".to_owned(),
                |name| format!("did you mean `{name}`?"),
            );
            problems.push(spot.say(&format!(
                "notify tells the webhook `{endpoint}`, which the service's configuration does not have; {hint}"
            )));
        }
    }
    problems
}
