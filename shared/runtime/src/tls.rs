//! TLS of the HTTP server, with certificates of clients as a way to say who asks.
//!
//! Files are looked at once a minute, so that a renewed certificate counts without a restart. A client without a
//! certificate is let in and has to show a token: probes and scrapers have neither.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router, extract::connect_info::IntoMakeServiceWithConnectInfo, middleware::AddExtension};
use axum_server::{
    Handle,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use jiff::Timestamp;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_layer::Layer;
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{
    access::Role,
    shutdown::{CancellationToken, chain},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long connections may take to end at a shutdown.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Certificate, key, and which clients are known by their certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file: the server's certificate and what leads to its authority.
    pub cert_file: PathBuf,
    /// PEM file: its private key.
    pub key_file: PathBuf,
    /// PEM file: authorities of clients' certificates. Without it clients show tokens.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Role by the name of a client's certificate: common name, DNS name or URI.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
}

/// What cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file.
    #[error("http.tls.{key}: cannot read {}", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is something else.
    #[error("http.tls.{key}: {} is not a PEM file with a {what}", path.display())]
    Pem {
        /// The key that names it.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The parts do not fit.
    #[error("http.tls: certificate, key and authorities do not fit together")]
    Unfit(#[source] rustls::Error),
    /// The authorities.
    #[error("http.tls.clientCaFile: the authorities cannot be used: {0}")]
    Authorities(String),
}

impl TlsConfig {
    /// What is wrong although each value fits by itself.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        (self.client_ca_file.is_none() && !self.roles.is_empty())
            .then(|| "http.tls.roles: nobody can be known by a certificate without http.tls.clientCaFile".to_owned())
    }

    fn read(&self) -> Result<[Vec<u8>; 3], TlsError> {
        let read = |key: &'static str, path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::File {
                key,
                path: path.to_owned(),
                source,
            })
        };
        let authorities = self.client_ca_file.as_deref();
        Ok([
            read("certFile", &self.cert_file)?,
            read("keyFile", &self.key_file)?,
            authorities.map_or(Ok(Vec::new()), |path| read("clientCaFile", path))?,
        ])
    }

    fn server(&self, [cert, key, authorities]: &[Vec<u8>; 3]) -> Result<ServerConfig, TlsError> {
        let pem = |key: &'static str, path: &Path, what: &'static str| TlsError::Pem {
            key,
            path: path.to_owned(),
            what,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|_| pem("certFile", &self.cert_file, "certificate"))?;
        if chain.is_empty() {
            return Err(pem("certFile", &self.cert_file, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| pem("keyFile", &self.key_file, "private key"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unfit)?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let found = CertificateDer::pem_slice_iter(authorities).collect::<Result<Vec<_>, _>>();
                roots.add_parsable_certificates(found.map_err(|_| pem("clientCaFile", path, "certificate"))?);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| TlsError::Authorities(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut server = builder.with_single_cert(chain, key).map_err(TlsError::Unfit)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(server)
    }
}

/// The names of a client's certificate, verified by the handshake: common name, DNS names, URIs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientNames(pub Vec<String>);

/// The names that a certificate carries; none when it cannot be read.
fn names_of(certificate: &CertificateDer<'_>) -> ClientNames {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return ClientNames::default();
    };
    let common = parsed
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok());
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|names| &names.value.general_names);
    let alternatives = alternatives.filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    ClientNames(common.chain(alternatives).map(str::to_owned).collect())
}

/// When the first certificate of a PEM text ends; `None` when there is none that can be read.
#[must_use]
pub fn not_after(pem: &[u8]) -> Option<Timestamp> {
    let first = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, parsed) = X509Certificate::from_der(&first).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

/// Puts [`ClientNames`] beside every request of a connection.
#[derive(Debug, Clone)]
struct Named(RustlsAcceptor);

impl<I, S> Accept<I, S> for Named
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = tokio_rustls::server::TlsStream<I>;
    type Service = AddExtension<S, ClientNames>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepting = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let (_, session) = stream.get_ref();
            let own = session.peer_certificates().and_then(<[_]>::first);
            let names = own.map(names_of).unwrap_or_default();
            Ok((stream, Extension(names).layer(service)))
        })
    }
}

/// A server's TLS, ready to serve.
#[derive(Debug)]
pub(crate) struct Tls {
    config: TlsConfig,
    read: [Vec<u8>; 3],
    live: RustlsConfig,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn new(config: &TlsConfig) -> Result<Self, TlsError> {
        let read = config.read()?;
        let live = RustlsConfig::from_config(Arc::new(config.server(&read)?));
        Ok(Self {
            config: config.clone(),
            read,
            live,
        })
    }

    /// Serves until `stop` is cancelled.
    pub(crate) async fn serve(
        mut self,
        listener: std::net::TcpListener,
        service: IntoMakeServiceWithConnectInfo<Router, SocketAddr>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let handle = Handle::new();
        let acceptor = Named(RustlsAcceptor::new(self.live.clone()));
        let serving = axum_server::from_tcp(listener)?
            .acceptor(acceptor)
            .handle(handle.clone())
            .serve(service);
        let mut serving = std::pin::pin!(serving);
        loop {
            tokio::select! {
                ended = &mut serving => return ended,
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
        handle.graceful_shutdown(Some(END_WITHIN));
        serving.await
    }

    /// Takes renewed files; what does not fit leaves the old ones in use.
    fn look(&mut self) {
        let renewed = self.config.read().and_then(|read| {
            if read == self.read {
                return Ok(None);
            }
            Ok(Some((self.config.server(&read)?, read)))
        });
        match renewed {
            Ok(None) => {}
            Ok(Some((server, read))) => {
                self.live.reload_from_config(Arc::new(server));
                self.read = read;
                info!("the renewed TLS certificate is in use");
            }
            Err(error) => warn!(
                error = chain(&error),
                "the TLS files cannot be used; the old ones stay in use"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> TlsConfig {
        TlsConfig {
            cert_file: folder.join("cert.pem"),
            key_file: folder.join("key.pem"),
            client_ca_file: None,
            roles: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_missing_is_named_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let error = Tls::new(&config).unwrap_err().to_string();
        assert!(error.starts_with("http.tls.certFile: cannot read "), "{error}");
        std::fs::write(&config.cert_file, "no certificate").unwrap();
        std::fs::write(&config.key_file, "no key").unwrap();
        let error = Tls::new(&config).unwrap_err().to_string();
        assert!(error.contains("is not a PEM file with a certificate"), "{error}");
    }

    #[test]
    fn roles_without_an_authority_are_a_mistake() {
        let mut config = config(Path::new("/"));
        assert_eq!(config.problem(), None);
        config.roles.insert("ops".to_owned(), Role::Operator);
        assert!(config.problem().unwrap().contains("clientCaFile"));
    }

    #[test]
    fn a_client_is_known_by_every_name_of_its_certificate() {
        let mut parameters = rcgen::CertificateParams::new(vec!["ops.acme.example".to_owned()]).unwrap();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "night shift");
        let uri = rcgen::string::Ia5String::try_from("spiffe://acme/usher").unwrap();
        parameters.subject_alt_names.push(rcgen::SanType::URI(uri));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        assert_eq!(
            names_of(certificate.der()).0,
            ["night shift", "ops.acme.example", "spiffe://acme/usher"]
        );
        let ends = not_after(certificate.pem().as_bytes()).unwrap();
        assert_eq!(ends.as_second(), parameters.not_after.unix_timestamp());
        assert_eq!(not_after(b"no certificate"), None);
    }
}
