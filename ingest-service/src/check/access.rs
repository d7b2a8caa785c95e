//! Whether the integration user gets in, and whom and what it may see.

use usher_runtime::shutdown::chain;

use super::Findings;
use crate::{
    logic::{classify::Reaction, field::REQUIRED_FIELDS, place},
    pipeline::{
        Parts,
        prepare::{learnt, unreadable},
    },
    salesforce::{
        auth::Token,
        error::{API_DISABLED, ApiError},
    },
};

/// The channel of the standard selection; on others, events of users are left out silently without View All Users.
const STANDARD_CHANNEL: &str = "/data/UserChangeEvent";

/// Logs in. `None` when that fails: nothing else of Salesforce can be looked at then.
pub(super) async fn log_in(parts: &Parts, findings: &mut Findings) -> Option<Token> {
    let token = match parts.rest.tokens().token().await {
        Ok(token) => token,
        Err(error) => {
            findings.problem(
                "salesforce log-in",
                format!("{}; nothing else of Salesforce was looked at", chain(&error)),
            );
            return None;
        }
    };
    findings.fine("salesforce log-in", format!("org {}", token.org));
    let host = |text: &str| {
        let url = url::Url::parse(text).ok()?;
        Some((url.host_str()?.to_owned(), url.port_or_known_default()))
    };
    if host(&token.instance_url) != host(&parts.config.salesforce.url) {
        findings.warn(
            "my domain",
            format!(
                "salesforce.url is {}, and the org answers at {}; put the address from {} into salesforce.url",
                parts.config.salesforce.url,
                token.instance_url,
                place::MY_DOMAIN
            ),
        );
    }
    Some(token)
}

/// The fields that may be read. `false` when the API refuses everything.
pub(super) async fn fields(parts: &Parts, findings: &mut Findings) -> bool {
    let described = match parts.rest.describe_user().await {
        Ok(described) => described,
        Err(ApiError::Operator { code, .. }) if API_DISABLED.contains(&code.as_str()) => {
            findings.problem(
                "api",
                format!(
                    "Salesforce refuses every call ({code}); grant the integration user API Enabled in {}, and see that the org's edition has the \
                     API; nothing else of Salesforce was looked at",
                    place::API_ENABLED
                ),
            );
            return false;
        }
        // A permission for the object User itself is missing, or the answer cannot be read: the rest may work.
        Err(error) => {
            findings.problem("fields", chain(&error));
            return true;
        }
    };
    let learnt = learnt(&parts.config, &described);
    let required: Vec<&str> = REQUIRED_FIELDS
        .iter()
        .filter(|name| !described.contains_key(**name))
        .copied()
        .collect();
    for name in &required {
        findings.problem("fields", chain(&unreadable(name, false)));
    }
    for name in &learnt.missing {
        findings.problem("fields", chain(&unreadable(name, true)));
    }
    let missed = learnt.missed();
    for name in &missed {
        if !required.contains(&name.as_str()) && !learnt.missing.contains(name) {
            findings.warn(
                "fields",
                format!(
                    "{name} is unknown in every message, because the integration user may not read it; grant read access in {}, or take it out of \
                     publish.fields",
                    place::FIELDS
                ),
            );
        }
    }
    if missed.is_empty() && required.is_empty() {
        findings.fine("fields", "all published fields may be read");
    }
    true
}

/// Whether everybody can be seen, and who is in the population.
pub(super) async fn people(parts: &Parts, findings: &mut Findings) {
    let count = async |what: &str, soql: &str| {
        let answer = parts.rest.get(what, &parts.rest.path("query"), &[("q", soql)]).await?;
        Ok::<_, ApiError>(answer.body["totalSize"].as_u64().unwrap_or(0))
    };
    // Every org has an administrator beside the integration user: one person is oneself.
    match count("counting the users", "SELECT COUNT() FROM User").await {
        Ok(0 | 1) => findings.problem(
            "users",
            format!(
                "the integration user sees nobody but itself; grant View All Users in {}",
                place::VIEW_ALL_USERS
            ),
        ),
        Ok(seen) => findings.fine("users", format!("{seen} can be seen")),
        Err(error) => findings.problem("users", chain(&error)),
    }
    let integration_user = parts.rest.tokens().token().await.ok().and_then(|token| token.user);
    let population = parts.config.population.population(integration_user);
    match count("counting the population", &population.query_count()).await {
        Ok(0) => findings.problem("population", "nobody is in it; check population.where"),
        Ok(members) => findings.fine("population", format!("{members} people")),
        Err(error) => findings.problem("population", chain(&error)),
    }
}

/// Whether the change events may be subscribed.
pub(super) async fn stream(parts: &Parts, token: &Token, findings: &mut Findings) {
    let channel = &parts.config.pubsub.channel;
    match parts.pubsub.check(token, channel).await {
        Ok(()) => findings.fine("event stream", format!("{channel} may be subscribed")),
        Err(error) => findings.problem("event stream", error.to_string()),
    }
    if channel == STANDARD_CHANNEL {
        return;
    }
    // Such a channel opens without View All Users and is silent about users. The standard one says so.
    match parts.pubsub.check(token, STANDARD_CHANNEL).await {
        Ok(()) => findings.fine("view all users", "granted"),
        Err(error) if error.reaction == Reaction::Operator && !error.code.ends_with("topic.not.found") => {
            findings.problem("view all users", error.to_string());
        }
        Err(error) => findings.warn(
            "view all users",
            format!(
                "whether it is granted cannot be told from {STANDARD_CHANNEL} ({}); without it {channel} leaves out the events of users and says \
                 nothing; see {}",
                error.code,
                place::VIEW_ALL_USERS
            ),
        ),
    }
}
