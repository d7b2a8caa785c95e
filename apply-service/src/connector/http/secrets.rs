//! Secrets that requests name, read from files or variables and kept fresh like the credential.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use usher_runtime::secret::SecretRef;

use super::{credential::FRESH, token::read_secret};
use crate::connector::Refusal;

type Values = Arc<BTreeMap<String, String>>;

/// The secrets of one target, by name.
pub(crate) struct Secrets {
    places: BTreeMap<String, SecretRef>,
    last: Mutex<Option<(Values, Instant)>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    pub(crate) fn new(places: BTreeMap<String, SecretRef>) -> Self {
        Self {
            places,
            last: Mutex::new(None),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// A file cannot be read or is empty, or a variable is not set; the message names it.
    pub(crate) async fn values(&self, now: Instant) -> Result<Values, Refusal> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((values, read)) = last
            && now.saturating_duration_since(read) < FRESH
        {
            return Ok(values);
        }
        self.read(now).await
    }

    /// Reads them again after a 401; the values only when they are others than `used`.
    pub(crate) async fn renewed(&self, used: &Values, now: Instant) -> Option<Values> {
        let values = self.read(now).await.ok()?;
        (values != *used).then_some(values)
    }

    async fn read(&self, now: Instant) -> Result<Values, Refusal> {
        let mut values = BTreeMap::new();
        for (name, place) in &self.places {
            values.insert(name.clone(), read_secret(place).await?.expose().to_owned());
        }
        let values = Arc::new(values);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&values), now));
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_are_read_anew_after_a_while_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let secrets = Secrets::new([("key".to_owned(), SecretRef::File(file.path().to_owned()))].into());
        let now = tokio::time::Instant::now().into_std();
        let used = secrets.values(now).await.unwrap();
        assert_eq!(used["key"], "s3cret");
        assert!(!format!("{secrets:?}").contains("s3cret"));
        assert_eq!(secrets.renewed(&used, now).await, None, "the same is not tried again");
        std::fs::write(file.path(), "next").unwrap();
        assert_eq!(secrets.values(now).await.unwrap(), used);
        assert_eq!(secrets.values(now + FRESH).await.unwrap()["key"], "next");
        std::fs::write(file.path(), "").unwrap();
        let refusal = secrets.values(now + FRESH * 3).await.unwrap_err();
        assert!(refusal.reason.contains(&file.path().display().to_string()), "{refusal}");
    }

    #[tokio::test]
    async fn a_variable_is_as_good_as_a_file() {
        let of = |name: &str| Secrets::new([("key".to_owned(), SecretRef::Env(name.to_owned()))].into());
        let now = tokio::time::Instant::now().into_std();
        // Cargo sets it for every test.
        let values = of("CARGO_PKG_NAME").values(now).await.unwrap();
        assert_eq!(values["key"], "apply-service");
        let refusal = of("USHER_TEST_NOT_SET").values(now).await.unwrap_err();
        assert!(refusal.reason.contains("variable USHER_TEST_NOT_SET"), "{refusal}");
    }
}
