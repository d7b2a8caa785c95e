//! How an org is set up: size, seed, listeners, the vendor's limits, and what an administrator may have changed.
//!
//! Defaults are the vendor's figures. Tests make the limits small instead of the data large. Leaves out misbehaviour: that
//! is switched on while the org runs, see `faults.rs`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{field::FieldDef, objects};

/// Settings of one simulated org.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Listener of REST and OAuth; port 0 takes a free one.
    pub http: SocketAddr,
    /// Listener of the Pub/Sub API.
    pub grpc: SocketAddr,
    /// Number of people, of all user types.
    pub users: usize,
    /// Everything about people and ids follows from it.
    pub seed: u64,
    /// The id of the org, 15 or 18 characters; `None`: it follows from the seed. A sandbox copy has the record ids of
    /// production under another id.
    pub org_id: Option<String>,
    /// TLS on both listeners, or plaintext.
    pub tls: Option<TlsConfig>,
    /// The address that tokens name as `instance_url`; by default that of the listener. For tests behind a proxy.
    pub instance_url: Option<String>,
    /// An empty answer goes out on a stream that is owed events after this long. The vendor's figure is 270 s.
    pub keepalive: Duration,
    /// A stream that is owed nothing is closed after this long. The vendor's figure is 60 s.
    pub idle_close: Duration,
    /// How long events stay on the bus. The vendor's figure is 72 h.
    pub retention: Duration,
    /// A session ends after this long without use. The vendor's default is 2 h.
    pub session_timeout: Duration,
    /// Detail rows of one report run. The vendor's figure is 2,000.
    pub max_report_rows: usize,
    /// Records in one query answer. The vendor's figure is 2,000.
    pub query_batch: usize,
    /// Daily API calls; beyond them `REQUEST_LIMIT_EXCEEDED`.
    pub daily_api_requests: u64,
    /// Events that may be delivered in 24 h; beyond them streams are disconnected.
    pub daily_delivered_events: u64,
    /// Synchronous report runs an hour. The vendor's figure is 500.
    pub hourly_report_runs: u64,
    /// How long that hour is.
    pub report_hour: Duration,
    /// Custom fields of User.
    pub custom_fields: Vec<FieldDef>,
    /// How far the org's clock is ahead of this machine's; negative is behind.
    pub clock_skew_ms: i64,
    /// Whether reports show ids in 15 characters, as real ones do, or in 18.
    pub report_ids: IdForm,
    /// Whether report labels are in German, so that nobody parses them.
    pub localized_labels: bool,
    /// The certificate's public key that JWT bearer assertions are checked with (PEM, `PUBLIC KEY`).
    pub jwt_public_key_pem: Option<String>,
    /// Accepted `aud` of assertions, beside the org's own address.
    pub jwt_audiences: Vec<String>,
    /// Channels beside `/data/UserChangeEvent` and `/data/ChangeEvents`, for example `/data/People__chn`.
    pub channels: Vec<String>,
}

/// TLS with a certificate authority made at start.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// Where to write the authority's certificate (PEM) for clients to trust.
    pub ca_out: Option<PathBuf>,
}

/// The two lengths of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    /// 15 characters, case-sensitive.
    Short,
    /// 18 characters.
    Long,
}

impl Default for SimConfig {
    fn default() -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            http: any_port,
            grpc: any_port,
            users: 200,
            seed: 1,
            org_id: None,
            tls: None,
            instance_url: None,
            keepalive: Duration::from_secs(270),
            idle_close: Duration::from_secs(60),
            retention: Duration::from_secs(72 * 3600),
            session_timeout: Duration::from_secs(2 * 3600),
            max_report_rows: 2000,
            query_batch: 2000,
            daily_api_requests: 5_000_000,
            daily_delivered_events: 50_000_000,
            hourly_report_runs: 500,
            report_hour: Duration::from_secs(3600),
            custom_fields: objects::default_custom_fields(),
            clock_skew_ms: 0,
            report_ids: IdForm::Short,
            localized_labels: true,
            jwt_public_key_pem: None,
            jwt_audiences: vec![
                "https://login.salesforce.com".to_owned(),
                "https://test.salesforce.com".to_owned(),
            ],
            channels: Vec::new(),
        }
    }
}
