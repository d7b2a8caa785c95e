//! A provider of OAuth tokens in front of an empty SCIM list: consent with PKCE, client credentials, refresh tokens that
//! rotate (RFC 6749, RFC 7636). A refresh token that was used up ends the whole grant, as RFC 9700 section 4.14 asks for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Vendor, VendorAnswer, VendorRequest, decoded};

/// The provider and the application behind it.
#[derive(Clone, Debug)]
pub struct TokenProvider {
    pub client_id: String,
    pub client_secret: String,
    /// Seconds that access tokens live; also what `expires_in` says.
    pub lifetime_s: i64,
    /// Whether a refresh gives a new refresh token.
    pub rotates: bool,
    /// Whether whoever is asked consents.
    pub consents: bool,
    /// Codes with redirect and challenge.
    codes: BTreeMap<String, (String, String)>,
    refresh: BTreeSet<String>,
    used_up: BTreeSet<String>,
    /// Access tokens with the time of their end.
    access: BTreeMap<String, i64>,
    next: u32,
    /// How often each kind of grant was given.
    pub grants: BTreeMap<String, usize>,
    /// Secrets that were handed out, for looking where they turn up.
    pub handed_out: Vec<String>,
}

impl Default for TokenProvider {
    fn default() -> TokenProvider {
        TokenProvider {
            client_id: "client".to_owned(),
            client_secret: "client-s3cret".to_owned(),
            lifetime_s: 3600,
            rotates: true,
            consents: true,
            codes: BTreeMap::new(),
            refresh: BTreeSet::new(),
            used_up: BTreeSet::new(),
            access: BTreeMap::new(),
            next: 1,
            grants: BTreeMap::new(),
            handed_out: Vec::new(),
        }
    }
}

impl TokenProvider {
    /// A grant that somebody has consented to before: its refresh token.
    pub fn granted(&mut self) -> String {
        let refresh = self.make("refresh");
        self.refresh.insert(refresh.clone());
        refresh
    }

    /// Ends every access token, as an administrator would.
    pub fn end_sessions(&mut self) {
        self.access.clear();
    }

    /// Whether an access token is good.
    pub fn accepts(&self, token: &str, now_ms: i64) -> bool {
        self.access.get(token).is_some_and(|ends| now_ms < *ends)
    }

    fn make(&mut self, what: &str) -> String {
        let made = format!("{what}-s3cret-{:04}", self.next);
        self.next += 1;
        self.handed_out.push(made.clone());
        made
    }

    fn authorize(&mut self, request: &VendorRequest) -> VendorAnswer {
        let query = pairs(&request.query);
        let of = |name: &str| query.get(name).cloned().unwrap_or_default();
        let fine = of("client_id") == self.client_id
            && of("response_type") == "code"
            && of("code_challenge_method") == "S256"
            && of("code_challenge").len() == 43;
        if !fine {
            return refused(400, "invalid_request");
        }
        let result = if self.consents {
            let code = self.make("code");
            self.codes
                .insert(code.clone(), (of("redirect_uri"), of("code_challenge")));
            format!("code={code}")
        } else {
            "error=access_denied".to_owned()
        };
        let mut answer = VendorAnswer::json(302, &Value::Null);
        let location = format!("{}?{result}&state={}", of("redirect_uri"), of("state"));
        answer.headers.push(("location", location));
        answer
    }

    fn token(&mut self, request: &VendorRequest) -> VendorAnswer {
        let form = pairs(&request.body);
        let of = |name: &str| form.get(name).cloned().unwrap_or_default();
        if of("client_id") != self.client_id || of("client_secret") != self.client_secret {
            return refused(401, "invalid_client");
        }
        let grant = of("grant_type");
        let mut refresh = None;
        match grant.as_str() {
            "client_credentials" => {}
            "authorization_code" => {
                let Some((redirect, challenge)) = self.codes.remove(&of("code")) else {
                    return refused(400, "invalid_grant");
                };
                if redirect != of("redirect_uri") || challenge != challenge_of(&of("code_verifier")) {
                    return refused(400, "invalid_grant");
                }
                refresh = Some(self.make("refresh"));
            }
            "refresh_token" => {
                let given = of("refresh_token");
                if self.used_up.contains(&given) {
                    // Somebody has stolen it: nobody keeps anything.
                    self.refresh.clear();
                    self.access.clear();
                }
                if !self.refresh.contains(&given) {
                    return refused(400, "invalid_grant");
                }
                if self.rotates {
                    self.refresh.remove(&given);
                    self.used_up.insert(given);
                    refresh = Some(self.make("refresh"));
                }
            }
            _ => return refused(400, "unsupported_grant_type"),
        }
        *self.grants.entry(grant).or_default() += 1;
        let access = self.make("access");
        self.access
            .insert(access.clone(), request.now_ms + self.lifetime_s * 1000);
        let mut answer = json!({"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime_s});
        if let Some(refresh) = refresh {
            self.refresh.insert(refresh.clone());
            answer["refresh_token"] = json!(refresh);
        }
        VendorAnswer::json(200, &answer)
    }
}

impl Vendor for TokenProvider {
    fn is_write(path: &str) -> bool {
        path == "/token"
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/authorize") => self.authorize(request),
            ("POST", "/token") => self.token(request),
            ("GET", "/scim/Users") => {
                let token = request
                    .header("authorization")
                    .strip_prefix("Bearer ")
                    .unwrap_or_default();
                if !self.accepts(token, request.now_ms) {
                    return refused(401, "invalid_token");
                }
                VendorAnswer::json(200, &json!({"totalResults": 0, "Resources": []}))
            }
            _ => refused(404, "not_found"),
        }
    }
}

fn refused(status: u16, error: &str) -> VendorAnswer {
    VendorAnswer::json(status, &json!({"error": error}))
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// RFC 7636 section 4.2: base64url without padding, written out here to share nothing with the client.
fn challenge_of(verifier: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digest = Sha256::digest(verifier.as_bytes());
    let mut text = String::new();
    for chunk in digest.chunks(3) {
        let mut bits = 0_u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0));
        }
        for at in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * at)) & 0x3f;
            text.push(char::from(LETTERS[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636 appendix B.
        assert_eq!(
            challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
