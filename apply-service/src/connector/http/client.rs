//! The HTTP client of one target: TLS, authorities, the certificate we show, addresses.
//!
//! TLS 1.2 at least, no redirects, no proxy of the environment. The PEM files are looked at once a minute and a changed one
//! makes a new client, so that a renewed certificate counts without a restart; connections under way end as they began.

use std::{
    error::Error,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::{Certificate, Client, Identity, redirect::Policy, tls::Version};
use tracing::{info, warn};
use usher_contract::StateHash;
use usher_runtime::address::{AddressRefused, Allowed, Lookup, Resolver, system};

use super::{HttpError, config::HttpConfig};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Headers of an answer, by number and, over HTTP/2, by size. Larger ones end the connection.
const HEADERS_MAX: usize = 100;
/// All names and values of an answer's headers, in bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Makes clients and keeps the newest.
pub(crate) struct Clients {
    connect_timeout: Duration,
    authorities: Option<PathBuf>,
    /// Certificate and key.
    identity: Option<(PathBuf, PathBuf)>,
    resolver: Resolver,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    files: StateHash,
    looked: Instant,
    certificate_ends: Option<Timestamp>,
}

impl Clients {
    /// As the sender's, for a library that sends by itself.
    ///
    /// # Errors
    /// Ranges of addresses that are none, certificates that cannot be used.
    pub(crate) fn shared(config: &HttpConfig) -> Result<Arc<Self>, HttpError> {
        Self::new(config, system(), tokio::time::Instant::now().into_std()).map(Arc::new)
    }

    pub(crate) fn new(config: &HttpConfig, lookup: Lookup, now: Instant) -> Result<Self, HttpError> {
        let allowed = Allowed::parse(&config.allow_addresses).map_err(|wrong| HttpError::Settings(vec![wrong]))?;
        let identity = config.client_cert_file.clone().zip(config.client_key_file.clone());
        let mut made = Self {
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            authorities: config.ca_file.clone(),
            identity,
            resolver: Resolver { allowed, lookup },
            current: Mutex::new(Current {
                client: Client::new(),
                files: StateHash::of_text(""),
                looked: now,
                certificate_ends: None,
            }),
        };
        let files = made.read()?;
        let current = made.build(&files, now)?;
        made.current = Mutex::new(current);
        Ok(made)
    }

    /// The client to use now.
    pub(crate) fn get(&self, now: Instant) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let has_files = self.authorities.is_some() || self.identity.is_some();
        if has_files && now.saturating_duration_since(current.looked) >= LOOK_EVERY {
            current.looked = now;
            let next = self.read().and_then(|files| {
                if hash(&files) == current.files {
                    return Ok(None);
                }
                self.build(&files, now).map(Some)
            });
            match next {
                Ok(None) => {}
                Ok(Some(next)) => {
                    info!("the certificates of a target have changed; new connections use them");
                    *current = next;
                }
                // The old ones may well work; when they do not, the target says so.
                Err(error) => {
                    warn!(
                        error = usher_runtime::shutdown::chain(&error),
                        "changed certificates cannot be used; the ones before stay in use"
                    );
                }
            }
        }
        current.client.clone()
    }

    /// When the certificate that we show ends.
    pub(crate) fn certificate_ends(&self) -> Option<Timestamp> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .certificate_ends
    }

    /// Authorities, certificate, key; empty where none is configured.
    fn read(&self) -> Result<[Vec<u8>; 3], HttpError> {
        let read = |file: Option<&PathBuf>, key: &'static str| match file {
            None => Ok(Vec::new()),
            Some(file) => fs::read(file).map_err(|error| failed(key, file, error)),
        };
        let (cert, key) = self
            .identity
            .as_ref()
            .map_or((None, None), |(cert, key)| (Some(cert), Some(key)));
        Ok([
            read(self.authorities.as_ref(), "caFile")?,
            read(cert, "clientCertFile")?,
            read(key, "clientKeyFile")?,
        ])
    }

    fn build(&self, files: &[Vec<u8>; 3], now: Instant) -> Result<Current, HttpError> {
        let [authorities, cert, key] = files;
        let mut builder = Client::builder()
            .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            // A proxy of the environment would be a host that the policy does not name.
            .no_proxy()
            .tls_version_min(Version::TLS_1_2)
            .http1_max_headers(HEADERS_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX as u32)
            .dns_resolver(self.resolver.clone())
            .connect_timeout(self.connect_timeout);
        if let Some(file) = &self.authorities {
            let certificates =
                Certificate::from_pem_bundle(authorities).map_err(|error| failed("caFile", file, error))?;
            if certificates.is_empty() {
                return Err(failed("caFile", file, "it holds no PEM certificate"));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let mut certificate_ends = None;
        if let Some((cert_file, key_file)) = &self.identity {
            certificate_ends = usher_runtime::tls::not_after(cert);
            if certificate_ends.is_none() {
                return Err(failed("clientCertFile", cert_file, "it holds no PEM certificate"));
            }
            let pem = [cert.as_slice(), b"\n", key.as_slice()].concat();
            let identity = Identity::from_pem(&pem)
                .map_err(|_| failed("clientKeyFile", key_file, "it holds no PEM private key"))?;
            builder = builder.identity(identity);
        }
        let client = builder.build().map_err(|error| match &self.identity {
            // The library's own words may quote the file.
            Some((_, key)) if error.is_builder() => failed("clientKeyFile", key, "it does not fit to the certificate"),
            _ => HttpError::Client(error),
        })?;
        Ok(Current {
            client,
            files: hash(files),
            looked: now,
            certificate_ends,
        })
    }
}

fn hash(files: &[Vec<u8>; 3]) -> StateHash {
    let parts: Vec<_> = files.iter().map(|file| String::from_utf8_lossy(file)).collect();
    StateHash::of_text(&parts.join("\0"))
}

fn failed(key: &'static str, file: &std::path::Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> HttpError {
    HttpError::Certificates {
        key,
        file: file.to_owned(),
        source: source.into(),
    }
}

/// Why no complete answer came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nothing was sent: the address is not allowed.
    Address(AddressRefused),
    /// Nothing was sent: certificate or protocol.
    Tls(String),
    /// Nothing was sent: no connection.
    Connect(String),
    /// Perhaps sent.
    Lost(String),
}

/// Reads it out of an error. The text of the whole error is not used: it holds the URL, and so the value that was looked
/// up. That of the system's error to connect holds neither.
pub(crate) fn broken(error: &reqwest::Error) -> Broken {
    if let Some(refused) = AddressRefused::within(error) {
        return Broken::Address(refused.clone());
    }
    let cause = root_io(error);
    let said = || cause.map_or_else(|| "no reason given".to_owned(), ToString::to_string);
    if !error.is_connect() {
        return Broken::Lost(cause.map_or_else(|| "no reason given".to_owned(), |cause| cause.kind().to_string()));
    }
    match distrust(error) {
        Some(why) => Broken::Tls(why),
        None => Broken::Connect(said()),
    }
}

/// Why no trusted TLS connection came about, in the words of the TLS library, which reports a certificate or protocol that it
/// refuses as invalid data.
pub(crate) fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let cause = root_io(error).filter(|cause| cause.kind() == io::ErrorKind::InvalidData);
    cause.map(ToString::to_string)
}

/// The innermost I/O error of a chain.
fn root_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut found = None;
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        found = io.or(found);
        next = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    found
}
