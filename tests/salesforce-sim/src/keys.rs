//! An RSA key pair for JWT bearer assertions, for tests and for the binary's `--jwt-private-key-out`.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Both halves in PEM: `PRIVATE KEY` (PKCS #8) and `PUBLIC KEY`.
#[derive(Clone)]
pub struct JwtKeyPair {
    /// For the client.
    pub private_pem: String,
    /// For [`crate::SimConfig::jwt_public_key_pem`].
    pub public_pem: String,
}

impl std::fmt::Debug for JwtKeyPair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JwtKeyPair")
            .field("public_pem", &self.public_pem)
            .finish_non_exhaustive()
    }
}

/// Generates a 2048-bit pair.
///
/// # Panics
/// Never in practice: generation fails only without a source of randomness.
pub fn generate_jwt_key_pair() -> JwtKeyPair {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("the system has a source of randomness");
    let private: Pkcs8V1Der<'_> = pair.as_der().expect("a generated key can be encoded");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a generated key can be encoded");
    JwtKeyPair {
        private_pem: pem("PRIVATE KEY", private.as_ref()),
        public_pem: pem("PUBLIC KEY", public.as_ref()),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
