//! A message of a webhook, signed as Standard Webhooks 1.0.0 describes it: `webhook-id`, `webhook-timestamp`,
//! `webhook-signature` (`v1,` and the HMAC-SHA256 over id, time and body, in base64; one per secret, so that secrets can
//! be rotated).
//!
//! An exchange like those of connectors, so all limits of the sender hold: the configured host alone, no redirects, deadlines,
//! a lease. A repetition has the same id and body; the time, and with it the signature, is that of the sending.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::{Completed, Draft, Exchange, Failure, HttpAnswer, Moment, Refusal, Reply, Step, answer::retry_after};

/// Secrets come with and without padding.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// What a secret begins with; the rest is base64.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, as Standard Webhooks wants them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The longest wait that a `Retry-After` may ask for, seconds.
const RETRY_AFTER_MAX: u32 = 3600;

/// The key of a secret.
///
/// # Errors
/// What is wrong with it, in words without it.
pub fn key_of(secret: &str) -> Result<Vec<u8>, &'static str> {
    let encoded = secret
        .trim()
        .strip_prefix(PREFIX)
        .ok_or("a webhook's secret begins with whsec_")?;
    let key = STANDARD
        .decode(encoded)
        .map_err(|_| "a webhook's secret is base64 after whsec_")?;
    if SECRET_BYTES.contains(&key.len()) {
        Ok(key)
    } else {
        Err("a webhook's secret has 24 to 64 bytes")
    }
}

/// The signature of one key.
#[must_use]
pub fn signature(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    // HMAC takes keys of every length.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| {
        let mac = mac.chain_update(format!("{id}.{seconds}.").as_bytes());
        mac.chain_update(body).finalize().into_bytes()
    });
    mac.map_or_else(|_| String::new(), |mac| format!("v1,{}", STANDARD.encode(mac)))
}

/// The request, but for time and secrets.
#[derive(Debug, Clone)]
struct Message {
    path: String,
    id: String,
    body: Vec<u8>,
}

impl Draft for Message {
    fn is_write(&self) -> bool {
        true
    }

    fn complete(&self, moment: &Moment) -> Result<Completed, Refusal> {
        let seconds = moment.now_ms.div_euclid(1000);
        let mut signatures = Vec::new();
        for secret in moment.secrets.values() {
            let key = key_of(secret).map_err(|why| Refusal {
                code: "secret-unusable".to_owned(),
                reason: why.to_owned(),
            })?;
            signatures.push(signature(&key, &self.id, seconds, &self.body));
        }
        Ok(Completed {
            method: "POST".to_owned(),
            path: self.path.clone(),
            headers: vec![
                ("webhook-id".to_owned(), self.id.clone()),
                ("webhook-timestamp".to_owned(), seconds.to_string()),
                ("webhook-signature".to_owned(), signatures.join(" ")),
            ],
            body: Some(("application/json", self.body.clone())),
        })
    }
}

/// The exchange: one request, and what its answer means.
#[derive(Debug)]
pub struct Webhook(Message);

impl Webhook {
    /// Tells an endpoint, by its path with query.
    #[must_use]
    pub fn new(path: &str, id: &str, body: &Value) -> Self {
        Self(Message {
            path: path.to_owned(),
            id: id.to_owned(),
            body: body.to_string().into_bytes(),
        })
    }
}

impl Exchange for Webhook {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return Step::Complete(Box::new(self.0.clone()));
        };
        let (status, headers) = match answer {
            HttpAnswer::Response { status, headers, .. } => (status, headers),
            HttpAnswer::NotSent(refusal) | HttpAnswer::Broken(refusal) => {
                return Step::Done(Err(Failure::Retry(refusal, None)));
            }
        };
        let refusal = |words: &str| Refusal {
            code: format!("http-{status}"),
            reason: format!("the endpoint answers {status}: {words}"),
        };
        Step::Done(match status {
            200..=299 => Ok(Reply::Taken),
            // The endpoint is gone and wants nothing more.
            410 => Err(Failure::Reject(refusal("it is gone; take it out of notify"))),
            _ => {
                let asked = retry_after(&headers, RETRY_AFTER_MAX);
                Err(Failure::Retry(refusal("tried again later"), asked))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    fn completed(secrets: &[&str]) -> Result<Completed, Refusal> {
        let mut webhook = Webhook::new("/hooks/1?a=b", "abc", &json!({"type": "x"}));
        let Step::Complete(draft) = webhook.step(None) else {
            panic!("no request")
        };
        assert!(draft.is_write(), "only under a lease");
        let secrets = secrets.iter().enumerate();
        let moment = Moment {
            now_ms: 1_614_265_330_999,
            secrets: Arc::new(
                secrets
                    .map(|(n, secret)| (n.to_string(), (*secret).to_owned()))
                    .collect(),
            ),
        };
        draft.complete(&moment)
    }

    #[test]
    fn every_secret_signs_so_that_they_can_be_rotated() {
        let (old, new) = (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        );
        let request = completed(&[new, old]).unwrap();
        let of = |name: &str| {
            let found = request.headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| value.as_str()).unwrap()
        };
        assert_eq!((of("webhook-id"), of("webhook-timestamp")), ("abc", "1614265330"));
        let signatures: Vec<&str> = of("webhook-signature").split(' ').collect();
        assert_eq!(signatures.len(), 2);
        let body = request.body.clone().unwrap().1;
        assert_eq!(
            signatures[1],
            signature(&key_of(old).unwrap(), "abc", 1_614_265_330, &body)
        );
        assert_ne!(signatures[0], signatures[1]);
        assert_eq!(request.path, "/hooks/1?a=b");
    }

    #[test]
    fn a_secret_that_is_none_is_said_and_not_shown() {
        for wrong in ["s3cret", "whsec_s3cret!", "whsec_czNjcmV0", ""] {
            let refusal = completed(&[wrong]).unwrap_err();
            assert_eq!(refusal.code, "secret-unusable");
            assert!(!refusal.reason.contains("s3cret"), "{refusal}");
        }
    }

    #[test]
    fn what_answers_mean() {
        let answer = |status: u16| {
            let headers = vec![("retry-after".to_owned(), "7".to_owned())];
            let body = Vec::new();
            let Step::Done(result) =
                Webhook::new("/", "i", &json!({})).step(Some(HttpAnswer::Response { status, headers, body }))
            else {
                panic!("one request")
            };
            match result {
                Ok(_) => "taken",
                Err(Failure::Retry(..)) => "later",
                Err(Failure::Reject(_)) => "refused",
                Err(Failure::Halt(_)) => "halt",
            }
        };
        for (status, expected) in [
            (200, "taken"),
            (204, "taken"),
            (301, "later"),
            (400, "later"),
            (401, "later"),
            (410, "refused"),
            (429, "later"),
            (500, "later"),
            (503, "later"),
        ] {
            assert_eq!(answer(status), expected, "{status}");
        }
    }
}
