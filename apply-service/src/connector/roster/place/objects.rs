//! S3, Google Cloud Storage and Azure Blob Storage, by the `object_store` crate: one PUT is all or nothing, and conditional.
//!
//! Guarantees: no redirects, no proxy of the environment, plain HTTP only to this machine or with `allowPlaintext`,
//! `caFile` for private authorities, addresses as for every connection (`carrier`). Whatever is asked ends within
//! `connection.timeouts.request`, credentials and repetitions included. Only the configured host is called, and with
//! `ambient: true` those that the platform names for credentials (`ambient`). Secret files are read for each use, so a rotated one counts.

use std::{
    fmt,
    path::{Path as FilePath, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
    aws::{AmazonS3Builder, S3ConditionalPut},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    path::Path,
};

use super::{
    Answer, Gate, Place, PlaceError, Stored, Version, ambient,
    carrier::{Carrier, unanswered},
    now,
};
use crate::connector::{
    http::{HttpConfig, HttpError, client::Clients},
    roster::config::{AzureConfig, GcsConfig, PlaceConfig, S3Config},
};

/// So often a request is repeated that the store could not serve; the lane repeats the rest.
const RETRIES: usize = 2;

/// See the module.
pub(in super::super) struct Objects {
    config: PlaceConfig,
    carrier: Carrier,
    request_timeout: Duration,
    max_bytes: usize,
    /// The store, as long as the secrets stay the same.
    made: Mutex<Option<Made>>,
}

/// A store, and the secrets that it was made with.
type Made = (Vec<String>, Arc<dyn ObjectStore>);

impl Objects {
    pub(in super::super) fn new(config: PlaceConfig, http: &HttpConfig, max_bytes: usize) -> Result<Self, HttpError> {
        Ok(Self::with_clients(config, Clients::shared(http)?, http, max_bytes))
    }

    fn with_clients(config: PlaceConfig, clients: Arc<Clients>, http: &HttpConfig, max_bytes: usize) -> Self {
        Self {
            config,
            carrier: Carrier::new(clients, max_bytes),
            request_timeout: Duration::from_millis(http.request_timeout_ms),
            max_bytes,
            made: Mutex::new(None),
        }
    }

    /// What the store says within the time of a request: the library sets no limit of its own to a client that it is given.
    async fn in_time<T>(&self, doing: &str, asked: impl Future<Output = T>) -> Result<T, PlaceError> {
        tokio::time::timeout(self.request_timeout, asked).await.map_err(|_| {
            let (place, limit) = (self.words(), self.request_timeout.as_millis());
            let why = format!("the store did not answer within {limit} ms (connection.timeouts.request)");
            PlaceError::failed("timeout", format!("{doing} {place} failed: {why}"))
        })
    }

    fn store(&self) -> Result<Arc<dyn ObjectStore>, PlaceError> {
        let secrets = self.secrets()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((with, store)) = &*made
            && *with == secrets
        {
            return Ok(Arc::clone(store));
        }
        let built = match &self.config {
            PlaceConfig::S3(config) => self.s3(config, &secrets),
            PlaceConfig::Gcs(config) => self.gcs(config, &secrets),
            PlaceConfig::Azure(config) => self.azure(config, &secrets),
            PlaceConfig::Folder { .. } | PlaceConfig::Webdav { .. } => {
                return Err(PlaceError::failed("place", "no bucket is configured"));
            }
        };
        // Not the text: it may repeat a key that could not be read.
        let store = built.map_err(|_| {
            PlaceError::failed(
                "place-settings",
                "bucket, endpoint or credentials cannot be used as they are",
            )
        })?;
        *made = Some((secrets, Arc::clone(&store)));
        Ok(store)
    }

    fn secrets(&self) -> Result<Vec<String>, PlaceError> {
        let files: Vec<&PathBuf> = match &self.config {
            PlaceConfig::S3(s3) => [
                &s3.access_key_id_file,
                &s3.secret_access_key_file,
                &s3.session_token_file,
            ]
            .into_iter()
            .flatten()
            .collect(),
            PlaceConfig::Gcs(gcs) => gcs.service_account_file.iter().collect(),
            PlaceConfig::Azure(azure) => [&azure.access_key_file, &azure.sas_file]
                .into_iter()
                .flatten()
                .collect(),
            PlaceConfig::Folder { .. } | PlaceConfig::Webdav { .. } => vec![],
        };
        files.into_iter().map(|file| secret(file)).collect()
    }

    fn retry(&self) -> RetryConfig {
        RetryConfig {
            max_retries: RETRIES,
            retry_timeout: self.request_timeout,
            ..RetryConfig::default()
        }
    }

    fn s3(&self, config: &S3Config, secrets: &[String]) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut builder = of_platform(config.ambient, ambient::S3)
            .into_iter()
            .fold(AmazonS3Builder::new(), |base, (key, value)| {
                base.with_config(key, value)
            })
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_virtual_hosted_style_request(config.virtual_hosted_style)
            .with_disable_bulk_delete(true)
            .with_conditional_put(if config.conditional {
                S3ConditionalPut::ETagMatch
            } else {
                S3ConditionalPut::Disabled
            })
            .with_allow_http(true)
            .with_retry(self.retry())
            .with_http_connector(self.carrier.clone());
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let [id, key, more @ ..] = secrets {
            builder = builder.with_access_key_id(id).with_secret_access_key(key);
            if let [token] = more {
                builder = builder.with_token(token);
            }
        }
        Ok(Arc::new(builder.build()?))
    }

    fn gcs(&self, config: &GcsConfig, secrets: &[String]) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut builder = of_platform(config.ambient, ambient::GCS)
            .into_iter()
            .fold(GoogleCloudStorageBuilder::new(), |base, (key, value)| {
                base.with_config(key, value)
            })
            .with_bucket_name(&config.bucket)
            .with_retry(self.retry())
            .with_http_connector(self.carrier.clone());
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        if let [key] = secrets {
            builder = builder.with_service_account_key(key);
        }
        Ok(Arc::new(builder.build()?))
    }

    fn azure(&self, config: &AzureConfig, secrets: &[String]) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut builder = of_platform(config.ambient, ambient::AZURE)
            .into_iter()
            .fold(MicrosoftAzureBuilder::new(), |base, (key, value)| {
                base.with_config(key, value)
            })
            .with_account(&config.account)
            .with_container_name(&config.container)
            .with_allow_http(true)
            .with_retry(self.retry())
            .with_http_connector(self.carrier.clone());
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        if let [secret] = secrets {
            builder = if config.access_key_file.is_some() {
                builder.with_access_key(secret)
            } else {
                builder.with_sas_authorization(pairs(secret))
            };
        }
        Ok(Arc::new(builder.build()?))
    }

    fn path(&self, name: &str) -> Path {
        let prefix = match &self.config {
            PlaceConfig::S3(config) => &config.prefix,
            PlaceConfig::Gcs(config) => &config.prefix,
            PlaceConfig::Azure(config) => &config.prefix,
            PlaceConfig::Folder { .. } | PlaceConfig::Webdav { .. } => "",
        };
        Path::from(format!("{}/{name}", prefix.trim_matches('/')))
    }

    fn conditional(&self) -> bool {
        !matches!(&self.config, PlaceConfig::S3(config) if !config.conditional)
    }

    fn failed(&self, doing: &str, error: &Error) -> PlaceError {
        let place = self.words();
        if let Some((code, why)) = unanswered(error) {
            return PlaceError::failed(code, format!("{doing} {place} failed: {why}"));
        }
        let (code, why) = match error {
            Error::Precondition { .. } | Error::AlreadyExists { .. } => return PlaceError::Changed,
            Error::NotFound { .. } => ("place-missing", "there is no such bucket or container"),
            Error::PermissionDenied { .. } => (
                "place-forbidden",
                "the credentials do not allow it: reading and writing the file is needed",
            ),
            Error::Unauthenticated { .. } => ("place-forbidden", "the credentials are not accepted"),
            Error::NotImplemented { .. } | Error::NotSupported { .. } => (
                "place-unable",
                "the store cannot do this; for S3 without conditional writes say conditional: false",
            ),
            _ => ("place-failed", "the store did not answer as it should"),
        };
        let said = said(&error.to_string()).map_or_else(String::new, |word| format!(" ({word})"));
        PlaceError::failed(code, format!("{doing} {place} failed: {why}{said}"))
    }
}

/// What the environment says of our credentials, where the policy wants it.
#[expect(
    clippy::disallowed_methods,
    reason = "the platform gives credentials in the environment, in no other place"
)]
fn of_platform<K: FromStr>(wanted: bool, names: &[&str]) -> Vec<(K, String)> {
    if wanted {
        ambient::named(names, std::env::vars_os())
    } else {
        vec![]
    }
}

/// The store's own word for the error, which holds no value: `NoSuchBucket`, `SlowDown`, `SignatureDoesNotMatch`.
fn said(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (word, _) = rest.split_once("</Code>")?;
    (word.len() < 60 && word.chars().all(|c| c.is_ascii_alphanumeric())).then(|| word.to_owned())
}

fn secret(file: &FilePath) -> Result<String, PlaceError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        PlaceError::failed(
            "credential-unreadable",
            format!("the secret file {} cannot be read: {error}", file.display()),
        )
    })?;
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(PlaceError::failed(
            "credential-unreadable",
            format!("the secret file {} is empty", file.display()),
        ));
    }
    Ok(text)
}

/// The pairs of a shared access signature, as Azure shows it: `?sv=…&sig=…`.
fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.trim_start_matches('?').as_bytes())
        .into_owned()
        .collect()
}

/// What a store calls a version, whole: ETag and generation.
fn version(e_tag: Option<String>, generation: Option<String>) -> Version {
    Version(format!(
        "{}\n{}",
        e_tag.unwrap_or_default(),
        generation.unwrap_or_default()
    ))
}

fn update(version: &Version) -> UpdateVersion {
    let (e_tag, generation) = version.0.split_once('\n').unwrap_or((&version.0, ""));
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    UpdateVersion {
        e_tag: known(e_tag),
        version: known(generation),
    }
}

impl Place for Objects {
    fn version<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Version>> {
        Box::pin(async move {
            let (store, path) = (self.store()?, self.path(name));
            match self.in_time("looking at", store.head(&path)).await? {
                Ok(meta) => Ok(Some(version(meta.e_tag, meta.version))),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.failed("looking at", &error)),
            }
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Stored>> {
        Box::pin(async move {
            let (store, path) = (self.store()?, self.path(name));
            let found = match self.in_time("reading from", store.get(&path)).await? {
                Ok(found) => found,
                Err(Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(self.failed("reading from", &error)),
            };
            let size = usize::try_from(found.meta.size).unwrap_or(usize::MAX);
            if size > self.max_bytes {
                return Err(PlaceError::failed(
                    "file-too-large",
                    format!("the file has {size} bytes, more than maxBytes ({})", self.max_bytes),
                ));
            }
            let version = version(found.meta.e_tag.clone(), found.meta.version.clone());
            let bytes = self
                .in_time("reading from", found.bytes())
                .await?
                .map_err(|error| self.failed("reading from", &error))?;
            Ok(Some(Stored {
                bytes: bytes.to_vec(),
                version,
            }))
        })
    }

    fn replace<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        expected: Option<&'a Version>,
        gate: &'a Gate,
    ) -> Answer<'a, Version> {
        Box::pin(async move {
            let store = self.store()?;
            let mode = if self.conditional() {
                expected.map_or(PutMode::Create, |expected| PutMode::Update(update(expected)))
            } else {
                if self.version(name).await?.as_ref() != expected {
                    return Err(PlaceError::Changed);
                }
                PutMode::Overwrite
            };
            let options = PutOptions {
                mode,
                ..PutOptions::default()
            };
            let payload = PutPayload::from_bytes(Bytes::copy_from_slice(bytes));
            gate.pass()?;
            let path = self.path(name);
            let put = store.put_opts(&path, payload, options);
            // Dropped at the end of the lease: what was not received whole has no effect.
            let deadline = now() + self.request_timeout;
            let deadline = gate.lease.must_end_by().map_or(deadline, |end| deadline.min(end));
            let put = tokio::time::timeout_at(deadline.into(), put)
                .await
                .map_err(|_| PlaceError::failed("timeout", "the store did not take the file in time"))?;
            let done = put.map_err(|error| self.failed("writing to", &error))?;
            match done.e_tag {
                None if done.version.is_none() => self
                    .version(name)
                    .await?
                    .ok_or_else(|| PlaceError::failed("place-lost", "what was written is not there")),
                e_tag => Ok(version(e_tag, done.version)),
            }
        })
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (store, from, to) = (self.store()?, self.path(from), self.path(to));
            match self
                .in_time("keeping the previous file in", store.copy(&from, &to))
                .await?
            {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.failed("keeping the previous file in", &error)),
            }
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (store, path) = (self.store()?, self.path(name));
            match self.in_time("removing from", store.delete(&path)).await? {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.failed("removing from", &error)),
            }
        })
    }

    fn words(&self) -> String {
        let (at, prefix) = match &self.config {
            PlaceConfig::S3(config) => (&config.bucket, &config.prefix),
            PlaceConfig::Gcs(config) => (&config.bucket, &config.prefix),
            PlaceConfig::Azure(config) => (&config.container, &config.prefix),
            PlaceConfig::Folder { .. } | PlaceConfig::Webdav { .. } => return self.config.kind().to_owned(),
        };
        let below = if prefix.is_empty() {
            String::new()
        } else {
            format!("/{}", prefix.trim_matches('/'))
        };
        format!("{} {at}{below}", self.config.kind())
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("place", &self.words())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "objects_edge_tests.rs"]
mod edge_tests;

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::connector::lease::Lease;

    /// A bucket in memory, which knows conditional writes.
    fn bucket(conditional: bool) -> Objects {
        let config = serde_json::json!({ "s3": { "bucket": "b", "prefix": "/in/it/", "ambient": true, "conditional": conditional } });
        let objects = Objects::new(serde_json::from_value(config).unwrap(), &HttpConfig::new(""), 100).unwrap();
        *objects.made.lock().unwrap() = Some((vec![], Arc::new(InMemory::new())));
        objects
    }

    #[tokio::test]
    async fn nobody_writes_over_what_they_have_not_seen() {
        for conditional in [true, false] {
            let (place, gate) = (bucket(conditional), Gate::new(Lease::unlimited()));
            let first = place.replace("a.csv", b"one", None, &gate).await.unwrap();
            assert_eq!(
                place.replace("a.csv", b"two", None, &gate).await,
                Err(PlaceError::Changed)
            );
            let second = place.replace("a.csv", b"two", Some(&first), &gate).await.unwrap();
            assert_eq!(
                place.replace("a.csv", b"three", Some(&first), &gate).await,
                Err(PlaceError::Changed)
            );
            let stored = place.read("a.csv").await.unwrap().unwrap();
            assert_eq!((stored.bytes.as_slice(), &stored.version), (&b"two"[..], &second));
            assert_eq!(place.version("a.csv").await.unwrap(), Some(second));
            place.copy("a.csv", "b.csv").await.unwrap();
            place.copy("missing.csv", "c.csv").await.unwrap();
            place.remove("a.csv").await.unwrap();
            assert_eq!(
                (place.version("a.csv").await, place.version("c.csv").await),
                (Ok(None), Ok(None))
            );
            assert!(place.version("b.csv").await.unwrap().is_some());
            assert_eq!(place.path("a.csv").as_ref(), "in/it/a.csv");
        }
    }

    #[tokio::test]
    async fn without_a_lease_nothing_is_put_and_what_is_too_large_is_not_read() {
        let place = bucket(true);
        let none = Gate::new(Lease::new(Default::default()));
        assert_eq!(
            place.replace("a.csv", b"one", None, &none).await,
            Err(PlaceError::LeaseOver)
        );
        assert_eq!(place.version("a.csv").await, Ok(None));
        place
            .replace("a.csv", &[b'x'; 101], None, &Gate::new(Lease::unlimited()))
            .await
            .unwrap();
        let Err(PlaceError::Failed(refusal)) = place.read("a.csv").await else {
            panic!("read")
        };
        assert_eq!(refusal.code, "file-too-large");
    }

    #[test]
    fn the_word_of_the_store_is_kept_and_nothing_else() {
        let body = "… <Error><Code>NoSuchBucket</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        assert_eq!(said(body).as_deref(), Some("NoSuchBucket"));
        assert_eq!(said("<Code>a b@c</Code>"), None);
        assert_eq!(said("nothing"), None);
    }

    #[test]
    fn a_version_comes_back_whole() {
        let both = update(&version(Some("\"e\"".into()), Some("7".into())));
        assert_eq!(
            (both.e_tag.as_deref(), both.version.as_deref()),
            (Some("\"e\""), Some("7"))
        );
        let one = update(&version(Some("\"e\"".into()), None));
        assert_eq!((one.e_tag.as_deref(), one.version), (Some("\"e\""), None));
    }

    #[test]
    fn a_signature_is_read_as_azure_shows_it() {
        assert_eq!(
            pairs("?sv=1&sig=a%2Fb"),
            [("sv".into(), "1".into()), ("sig".into(), "a/b".into())]
        );
    }
}
