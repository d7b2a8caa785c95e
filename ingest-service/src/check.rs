//! `check`: configuration, credentials, permissions, report columns, topics. Writes nothing.
//!
//! Everything is looked at in one run, also when another part fails, as far as that makes sense: without a log-in or without
//! API Enabled every further answer would be the same refusal. Permissions are judged by what they do, not by what
//! permission sets say: there are many ways to grant one, and only the effect counts.

use usher_runtime::shutdown::chain;

use crate::{pipeline::Parts, topics};

mod access;
mod reading;

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// What is fine, or what is wrong and the way out.
    pub result: Result<String, String>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, subject: &'static str, words: impl Into<String>) {
        let result = Ok(words.into());
        self.0.push(Finding { subject, result });
    }
    /// It works, but not as well as it could.
    fn warn(&mut self, subject: &'static str, words: impl std::fmt::Display) {
        self.fine(subject, format!("warning: {words}"));
    }
    fn problem(&mut self, subject: &'static str, words: impl Into<String>) {
        let result = Err(words.into());
        self.0.push(Finding { subject, result });
    }
}

/// Looks at everything.
pub async fn check(parts: &Parts) -> Vec<Finding> {
    let mut findings = Findings::default();
    for warning in parts.config.warnings() {
        findings.warn("configuration", warning);
    }
    let kafka = &parts.config.kafka;
    let problems = topics::topics(kafka).problems().await;
    if problems.is_empty() {
        findings.fine(
            "kafka",
            format!("{} answers and its topics fit", kafka.bootstrap_servers),
        );
    }
    for problem in problems {
        findings.problem("kafka", chain(&problem));
    }
    if let Some(token) = access::log_in(parts, &mut findings).await
        && access::fields(parts, &mut findings).await
    {
        access::people(parts, &mut findings).await;
        access::stream(parts, &token, &mut findings).await;
        reading::limits(parts, &mut findings).await;
        reading::polled_objects(parts, &mut findings).await;
        reading::reports(parts, &mut findings).await;
    }
    findings.0
}

#[cfg(test)]
mod tests {
    use crate::logic::place;

    const GUIDE: &str = include_str!("../../docs/salesforce-setup.md");

    #[test]
    fn the_administrators_guide_names_every_place_that_a_finding_can_send_to() {
        for place in place::ALL {
            assert!(
                GUIDE.contains(place),
                "docs/salesforce-setup.md does not mention {place}"
            );
        }
    }
}
