//! The token source with an endpoint in memory: one renewal at a time, rotation that survives crashes at every step.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::{ProptestConfig, any as anything, proptest};
use tempfile::TempDir;

use super::*;

/// A provider with refresh tokens that rotate.
#[derive(Default)]
struct Provider {
    asked: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    /// Which refresh token works; none: any.
    current: Mutex<Option<String>>,
    /// The one before works as well until its successor was used.
    grace: bool,
    previous: Mutex<Option<String>>,
    rotates: bool,
    lifetime: Option<Duration>,
    delay: Duration,
    /// Answers that come first.
    failures: Mutex<VecDeque<TokenFailure>>,
    /// Takes the grant down and never answers.
    swallows: Mutex<bool>,
    forms: Mutex<Vec<Vec<(String, String)>>>,
    /// How far the clock was moved.
    passed: Mutex<Duration>,
}

struct Shared(Arc<Provider>);

impl Endpoint for Shared {
    fn ask(&self, request: TokenRequest) -> Asked {
        let provider = Arc::clone(&self.0);
        Box::pin(async move {
            let under_way = provider.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            provider.most_under_way.fetch_max(under_way, Ordering::SeqCst);
            tokio::time::sleep(provider.delay).await;
            let number = provider.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let answer = provider.answer(number, &request);
            provider.forms.lock().unwrap().push(request.form);
            provider.under_way.fetch_sub(1, Ordering::SeqCst);
            if *provider.swallows.lock().unwrap() {
                std::future::pending::<()>().await;
            }
            answer
        })
    }
}

impl Provider {
    fn answer(&self, number: usize, request: &TokenRequest) -> Result<Grant, TokenFailure> {
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        let given = request
            .form
            .iter()
            .find(|(key, _)| key == "refresh_token")
            .map(|(_, value)| value.clone());
        let mut refresh = None;
        if let Some(given) = given {
            let (mut current, mut previous) = (self.current.lock().unwrap(), self.previous.lock().unwrap());
            let known = current.as_ref().is_none_or(|current| *current == given);
            let late = self.grace && previous.as_ref() == Some(&given);
            if !known && !late {
                return Err(lasting("invalid_grant".to_owned()));
            }
            if self.rotates {
                let next = format!("refresh-{number}");
                *previous = Some(given);
                *current = Some(next.clone());
                refresh = Some(Secret::new(next));
            }
        }
        Ok(Grant {
            organization: None,
            access: Secret::new(format!("access-{number}")),
            lifetime: self.lifetime,
            refresh,
            refresh_lifetime: None,
        })
    }

    fn advance(&self, by: u64) {
        *self.passed.lock().unwrap() += Duration::from_secs(by);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn source(provider: &Arc<Provider>, auth: AuthConfig) -> TokenSource {
    let url = "https://login.example/token".parse().unwrap();
    let endpoint = Arc::new(Shared(Arc::clone(provider)));
    let (start, clock) = (tokio::time::Instant::now().into_std(), Arc::clone(provider));
    let clock = Arc::new(move || start + *clock.passed.lock().unwrap());
    TokenSource::new(
        auth,
        OAuthConfig::default(),
        url,
        endpoint,
        clock,
        Duration::from_secs(5),
    )
}

fn refreshing(folder: &TempDir, rotates: bool) -> AuthConfig {
    AuthConfig::RefreshToken {
        client_id: "client".to_owned(),
        client_secret_file: None,
        client_secret_env: None,
        token_file: folder.path().join("token"),
        rotates,
    }
}

fn credentials(folder: &TempDir) -> AuthConfig {
    std::fs::write(folder.path().join("secret"), "s3cret").unwrap();
    AuthConfig::ClientCredentials {
        client_id: "client".to_owned(),
        client_secret_file: Some(folder.path().join("secret")),
        client_secret_env: None,
    }
}

fn folder_with(token: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), token).unwrap();
    folder
}

fn saved(folder: &TempDir) -> String {
    let held = TokenFile::new(folder.path().join("token")).read().unwrap().unwrap();
    held.refresh.expose().to_owned()
}

fn passing() -> TokenFailure {
    TokenFailure {
        lasts: false,
        refusal: Refusal {
            code: TOKEN_UNAVAILABLE.to_owned(),
            reason: "503".to_owned(),
        },
        wait: None,
    }
}

async fn any(source: &TokenSource) -> Result<String, Refusal> {
    source.token(Wish::Any).await.map(|token| token.expose().to_owned())
}

#[tokio::test]
async fn callers_that_come_together_share_one_renewal() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Arc::new(Provider {
        delay: Duration::from_millis(20),
        ..Provider::default()
    });
    let source = source(&provider, credentials(&folder));
    let together = futures::future::join_all((0..50).map(|_| any(&source))).await;
    assert!(together.iter().all(|token| token.as_deref() == Ok("access-1")));
    // All of them are refused with the same token.
    let used = Secret::new("access-1");
    let again = futures::future::join_all((0..50).map(|_| source.token(Wish::Another(&used)))).await;
    assert!(again.iter().all(|token| *token == Ok(Secret::new("access-2"))));
    assert_eq!(
        (provider.asked(), provider.most_under_way.load(Ordering::SeqCst)),
        (2, 1)
    );
    assert_eq!(source.shown().renewals, 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_break_the_renewal_off() {
    let folder = folder_with("refresh-0");
    let provider = Arc::new(Provider {
        rotates: true,
        delay: Duration::from_millis(100),
        ..Provider::default()
    });
    let source = source(&provider, refreshing(&folder, true));
    let gone = async {
        while provider.under_way.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = any(&source) => panic!("answered while it was asked"),
        () = gone => {}
    }
    assert_eq!(
        any(&source).await.as_deref(),
        Ok("access-1"),
        "the next caller waits for the same one"
    );
    assert_eq!((provider.asked(), saved(&folder)), (1, "refresh-1".to_owned()));
}

#[tokio::test]
async fn a_rotated_token_is_saved_before_the_access_token_is_used() {
    let folder = folder_with("refresh-0");
    let provider = Arc::new(Provider {
        rotates: true,
        current: Mutex::new(Some("refresh-0".to_owned())),
        ..Provider::default()
    });
    let auth = || refreshing(&folder, true);
    let first = source(&provider, auth());
    assert_eq!(any(&first).await.as_deref(), Ok("access-1"));
    assert_eq!(saved(&folder), "refresh-1");
    // A crash between writing and using: the next start has what it needs.
    drop(first);
    let second = source(&provider, auth());
    assert_eq!(any(&second).await.as_deref(), Ok("access-2"));
    assert_eq!(saved(&folder), "refresh-2");
    // Another process has renewed and rotated meanwhile: what counts is in the file.
    let other = source(&provider, auth());
    assert_eq!(any(&other).await.as_deref(), Ok("access-3"));
    let refused = Secret::new("access-2");
    assert_eq!(second.token(Wish::Another(&refused)).await, Ok(Secret::new("access-4")));
}

#[tokio::test]
async fn a_crash_between_answer_and_write_is_healed_by_grace_and_otherwise_named() {
    for grace in [true, false] {
        let folder = folder_with("refresh-0");
        let provider = Arc::new(Provider {
            rotates: true,
            grace,
            current: Mutex::new(Some("refresh-0".to_owned())),
            ..Provider::default()
        });
        *provider.swallows.lock().unwrap() = true;
        let crashed = source(&provider, refreshing(&folder, true));
        let granted = async {
            while provider.asked() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = any(&crashed) => panic!("the answer never comes"),
            () = granted => {}
        }
        assert_eq!(saved(&folder), "refresh-0", "the old one is still there");
        *provider.swallows.lock().unwrap() = false;
        // The crashed process does not hold its turn any longer.
        std::fs::remove_file(folder.path().join(".token.lock")).unwrap();
        let next = source(&provider, refreshing(&folder, true));
        let token = any(&next).await;
        if grace {
            assert_eq!(token.as_deref(), Ok("access-2"));
            assert_eq!(saved(&folder), "refresh-2");
        } else {
            assert_eq!(token.unwrap_err().code, TOKEN_REFUSED);
            assert_eq!(provider.asked(), 2);
            let again = any(&next).await;
            assert_eq!(
                (again.unwrap_err().code.as_str(), provider.asked()),
                (TOKEN_REFUSED, 2),
                "not asked again"
            );
            // `connect` has been called: the new token counts at once.
            *provider.current.lock().unwrap() = Some("consented".to_owned());
            std::fs::write(folder.path().join("token"), "consented").unwrap();
            assert_eq!(any(&next).await.as_deref(), Ok("access-3"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_saved_is_not_used_and_not_asked_for_again() {
    let folder = folder_with("refresh-0");
    let inner = folder.path().join("volume");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("token"), "refresh-0").unwrap();
    let provider = Arc::new(Provider {
        rotates: true,
        ..Provider::default()
    });
    let auth = AuthConfig::RefreshToken {
        client_id: "client".to_owned(),
        client_secret_file: None,
        client_secret_env: None,
        token_file: inner.join("token"),
        rotates: true,
    };
    let source = source(&provider, auth);
    // Something is in the way of the file that is written beside.
    std::fs::create_dir(inner.join(".token.new")).unwrap();
    let refusal = any(&source).await.unwrap_err();
    assert_eq!(refusal.code, TOKEN_UNSAVED);
    assert!(!refusal.reason.contains("refresh-1"), "{refusal}");
    provider.advance(120);
    assert_eq!(any(&source).await.unwrap_err().code, TOKEN_UNSAVED);
    std::fs::remove_dir(inner.join(".token.new")).unwrap();
    provider.advance(120);
    assert_eq!(any(&source).await.as_deref(), Ok("access-1"));
    assert_eq!(provider.asked(), 1);
    let held = TokenFile::new(inner.join("token")).read().unwrap().unwrap();
    assert_eq!(held.refresh.expose(), "refresh-1");
    assert_eq!(source.shown().problem, None);
}

#[tokio::test]
async fn an_application_that_rotates_unexpectedly_stops_the_target() {
    let folder = folder_with("refresh-0");
    for (rotates, refused) in [(true, true), (false, false)] {
        let provider = Arc::new(Provider {
            rotates,
            ..Provider::default()
        });
        let token = any(&source(&provider, refreshing(&folder, false))).await;
        assert_eq!(token.is_err(), refused);
        assert!(token.err().is_none_or(|refusal| refusal.reason.contains("rotates")));
        assert_eq!(saved(&folder), "refresh-0");
    }
    let unconnected = source(&Arc::default(), refreshing(&tempfile::tempdir().unwrap(), true));
    let refusal = any(&unconnected).await.unwrap_err();
    assert_eq!(refusal.code, TOKEN_REFUSED);
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_again_soon_and_a_refusal_only_with_a_new_secret() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Arc::new(Provider::default());
    provider
        .failures
        .lock()
        .unwrap()
        .extend([passing(), lasting("invalid_client".to_owned())]);
    let source = source(&provider, credentials(&folder));
    assert_eq!(any(&source).await.unwrap_err().code, TOKEN_UNAVAILABLE);
    assert_eq!(any(&source).await.unwrap_err().code, TOKEN_UNAVAILABLE);
    assert_eq!(provider.asked(), 1, "not in the same moment");
    provider.advance(2);
    assert_eq!(any(&source).await.unwrap_err().code, TOKEN_REFUSED);
    provider.advance(20);
    assert_eq!(any(&source).await.unwrap_err().code, TOKEN_REFUSED);
    assert_eq!(provider.asked(), 2, "the same secret would be refused again");
    std::fs::write(folder.path().join("secret"), "n3xt").unwrap();
    assert_eq!(any(&source).await.as_deref(), Ok("access-3"));
    let forms = provider.forms.lock().unwrap();
    let secret = |form: &[(String, String)]| form.iter().find(|(key, _)| key == "client_secret").unwrap().1.clone();
    assert_eq!(
        (secret(&forms[1]), secret(&forms[2])),
        ("s3cret".to_owned(), "n3xt".to_owned())
    );
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_before_and_the_old_one_serves_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Arc::new(Provider {
        lifetime: Some(Duration::from_secs(1000)),
        ..Provider::default()
    });
    let source = source(&provider, credentials(&folder));
    assert_eq!(any(&source).await.as_deref(), Ok("access-1"));
    provider.advance(799);
    assert_eq!(any(&source).await.as_deref(), Ok("access-1"));
    provider.failures.lock().unwrap().push_back(passing());
    provider.advance(110);
    assert_eq!(
        any(&source).await.as_deref(),
        Ok("access-1"),
        "away, but the token works still"
    );
    assert!(source.shown().problem.is_some());
    provider.advance(10);
    assert_eq!(any(&source).await.as_deref(), Ok("access-3"));
    assert!(source.shown().token_ends.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whoever asks whenever, with or without a refused token, also when callers go away: never two renewals at once, never
    /// more renewals than there were reasons, and everybody who stays is answered.
    #[test]
    fn there_is_one_renewal_at_a_time(
        callers in proptest::collection::vec((0_u64..40, anything::<bool>(), proptest::option::of(0_u64..10)), 1..30),
        delay in 0_u64..12,
        fails in 0_usize..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let provider = Arc::new(Provider { delay: Duration::from_millis(delay), ..Provider::default() });
            provider.failures.lock().unwrap().extend((0..fails).map(|_| passing()));
            let source = source(&provider, credentials(&folder));
            let used = Secret::new("access-1");
            let ends = futures::future::join_all(callers.iter().map(|(start, refused, patience)| {
                let (source, used) = (source.clone(), used.clone());
                async move {
                    tokio::time::sleep(Duration::from_millis(*start)).await;
                    let wish = if *refused { Wish::Another(&used) } else { Wish::Any };
                    let patience = Duration::from_millis(patience.unwrap_or(60_000));
                    tokio::time::timeout(patience, source.token(wish)).await.ok()
                }
            })).await;
            assert!(provider.most_under_way.load(Ordering::SeqCst) <= 1);
            // One for the first token, one because it is refused, and the failures.
            assert!(provider.asked() <= 2 + fails, "{} renewals", provider.asked());
            for ((_, refused, patience), end) in callers.iter().zip(ends) {
                assert!(end.is_some() || patience.is_some());
                if let Some(Ok(token)) = end {
                    assert!(!refused || token != used);
                }
            }
        });
    }
}
