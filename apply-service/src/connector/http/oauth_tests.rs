//! The token machine by tables: margins, waits, refusals, answers.

use proptest::prelude::*;

use super::*;

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn grant(access: &str, seconds: Option<u64>) -> Grant {
    Grant {
        organization: None,
        access: Secret::new(access),
        lifetime: seconds.map(Duration::from_secs),
        refresh: None,
        refresh_lifetime: None,
    }
}

fn holding(seconds: Option<u64>, now: Instant) -> Tokens {
    let mut tokens = Tokens::default();
    tokens.granted(&grant("one", seconds), Duration::ZERO, now, 0.0);
    tokens
}

fn use_of(value: &str) -> Next {
    Next::Use(Secret::new(value))
}

fn passing() -> TokenFailure {
    read_answer(503, None, b"").unwrap_err()
}

#[test]
fn a_token_is_used_until_its_margin_and_renewed_before_its_end() {
    let now = start();
    let at = |seconds| now + Duration::from_secs(seconds);
    // Life, then from when on it is renewed without jitter.
    for (life, renewed_from) in [(3600, 3450), (600, 540), (100, 90)] {
        let tokens = holding(Some(life), now);
        assert_eq!(tokens.next(Wish::Any, at(renewed_from - 1)), use_of("one"), "{life}");
        assert_eq!(tokens.next(Wish::Any, at(renewed_from)), Next::Renew, "{life}");
        assert_eq!(tokens.next(Wish::Any, at(life + 1)), Next::Renew, "{life}");
    }
    // Salesforce says nothing about the end.
    assert_eq!(holding(None, now).next(Wish::Any, at(1_000_000)), use_of("one"));
    let mut assumed = Tokens::default();
    assumed.granted(&grant("one", None), Duration::from_secs(100), now, 0.0);
    assert_eq!(assumed.next(Wish::Any, at(95)), Next::Renew);
    assert_eq!(Tokens::default().next(Wish::Any, now), Next::Renew);
}

#[test]
fn a_failed_renewal_does_no_harm_while_the_token_works() {
    let now = start();
    let mut tokens = holding(Some(600), now);
    let late = now + Duration::from_secs(550);
    assert_eq!(tokens.next(Wish::Any, late), Next::Renew);
    tokens.failed(passing(), None, late, 0.0);
    assert_eq!(tokens.next(Wish::Any, late), use_of("one"));
    assert_eq!(
        tokens.next(Wish::Any, late + Duration::from_secs(1)),
        Next::Renew,
        "tried again soon"
    );
    tokens.failed(passing(), None, now + Duration::from_secs(600), 0.0);
    let Next::Refused(refusal) = tokens.next(Wish::Any, now + Duration::from_secs(600)) else {
        panic!("an ended token is not used")
    };
    assert_eq!(refusal.code, TOKEN_UNAVAILABLE);
    assert!(tokens.trouble().is_some());
    tokens.granted(&grant("two", None), Duration::ZERO, now, 0.0);
    assert_eq!((tokens.next(Wish::Any, now), tokens.trouble()), (use_of("two"), None));
}

#[test]
fn what_passes_is_tried_soon_and_what_lasts_rarely_unless_a_secret_changes() {
    let now = start();
    let waits = |failure: &TokenFailure, random| {
        let mut tokens = Tokens::default();
        let mut all = Vec::new();
        for _ in 0..8 {
            tokens.failed(failure.clone(), None, now, random);
            let not_before = tokens.trouble.as_ref().unwrap().not_before;
            all.push((not_before - now).as_secs_f64());
        }
        all
    };
    assert_eq!(waits(&passing(), 1.0), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    assert_eq!(waits(&passing(), 0.0)[0], 0.5);
    let lasting = read_answer(400, None, br#"{"error":"invalid_grant"}"#).unwrap_err();
    assert_eq!(waits(&lasting, 1.0)[..5], [60.0, 120.0, 240.0, 480.0, 900.0]);
    let asked = read_answer(429, Some(Duration::from_secs(30)), b"").unwrap_err();
    assert_eq!(waits(&asked, 0.0)[0], 30.0);

    let (old, new) = (StateHash::of_text("old"), StateHash::of_text("new"));
    let mut tokens = Tokens::default();
    tokens.failed(lasting, Some(old), now, 0.0);
    assert!(!tokens.forgive(old), "the same secrets would be refused again");
    assert!(matches!(tokens.next(Wish::Any, now), Next::Refused(_)));
    assert!(tokens.forgive(new));
    assert_eq!(tokens.next(Wish::Any, now), Next::Renew);
    tokens.failed(passing(), Some(old), now, 0.0);
    assert!(!tokens.forgive(new), "other secrets do not bring a provider back");
}

#[test]
fn a_refused_token_is_renewed_at_once_but_not_for_ever() {
    let now = start();
    let mut tokens = holding(None, now);
    let (one, older) = (Secret::new("one"), Secret::new("zero"));
    assert_eq!(
        tokens.next(Wish::Another(&older), now),
        use_of("one"),
        "somebody else has renewed it"
    );
    for _ in 0..FORCED_MAX {
        assert_eq!(tokens.next(Wish::Another(&one), now), Next::Renew);
        tokens.force(now);
    }
    let Next::Refused(refusal) = tokens.next(Wish::Another(&one), now) else {
        panic!("no end")
    };
    assert_eq!(refusal.code, TOKEN_REFUSED);
    assert_eq!(tokens.next(Wish::Any, now), use_of("one"), "others try it once each");
    assert_eq!(tokens.next(Wish::Another(&one), now + FORCED_WITHIN), Next::Renew);
}

#[test]
fn answers_of_token_endpoints_are_read_leniently() {
    let read = |body: &str| read_answer(200, None, body.as_bytes()).unwrap();
    let salesforce = read(r#"{"access_token":"a","token_type":"Bearer","issued_at":"1767312000000","id":"x"}"#);
    assert_eq!((salesforce.access.expose(), salesforce.lifetime), ("a", None));
    let rotated = read(r#"{"access_token":"a","expires_in":"3600","refresh_token":"r","refresh_token_expires_in":7}"#);
    assert_eq!(rotated.lifetime, Some(Duration::from_secs(3600)));
    assert_eq!(rotated.refresh.unwrap().expose(), "r");
    assert_eq!(rotated.refresh_lifetime, Some(Duration::from_secs(7)));
    assert_eq!(
        read(r#"{"access_token":"a","expires_in":0,"refresh_token":""}"#).lifetime,
        None
    );
    assert_eq!(
        read(r#"{"access_token":"a","expires_in":0,"refresh_token":""}"#).refresh,
        None
    );
}

#[test]
fn refusals_are_told_from_troubles_and_repeat_nothing_but_the_code() {
    for (status, body, lasts, word) in [
        (
            400,
            r#"{"error":"invalid_grant","error_description":"ada@acme.com"}"#,
            true,
            "invalid_grant",
        ),
        (401, r#"{"error":"invalid_client"}"#, true, "clientId"),
        (400, r#"{"error":"unsupported_grant_type"}"#, true, "flow"),
        (400, r#"{"error":"rate_limit_exceeded"}"#, false, "rate_limit_exceeded"),
        (400, r#"{"error":"s3cret: Ada"}"#, true, "400"),
        (429, "", false, "429"),
        (500, "<html>", false, "500"),
        (503, r#"{"error":"invalid_grant"}"#, false, "503"),
        (302, "", true, "redirects"),
        (404, "<html>", true, "tokenUrl"),
        (200, "<html>s3cret</html>", true, "tokenUrl"),
        (200, r#"{"access_token":"s3cret","token_type":"mac"}"#, true, "bearer"),
        (200, r#"{"access_token":""}"#, true, "tokenUrl"),
    ] {
        let failure = read_answer(status, None, body.as_bytes()).unwrap_err();
        assert_eq!(failure.lasts, lasts, "{status} {body}");
        let said = failure.refusal.reason;
        assert!(said.contains(word), "{said}");
        assert!(
            !said.contains("s3cret") && !said.to_lowercase().contains("ada"),
            "{said}"
        );
    }
}

proptest! {
    /// Whatever the life and the jitter: there is time to use a token and time to renew it before it ends.
    #[test]
    fn the_margin_lies_within_the_life(seconds in 1_u64..10_000_000, random in 0.0..1.0_f64) {
        let now = start();
        let mut tokens = Tokens::default();
        tokens.granted(&grant("one", Some(seconds)), Duration::ZERO, now, random);
        let access = tokens.access.clone().unwrap();
        let (until, from) = (access.until.unwrap(), access.renew_from.unwrap());
        let (life, lead) = (Duration::from_secs(seconds), until - from);
        prop_assert!(lead <= life / 5 && lead <= LEAD_MAX * 2);
        prop_assert!(lead >= (life / LEAD_PART).min(LEAD_MAX));
        prop_assert_eq!(tokens.next(Wish::Any, now), use_of("one"));
        prop_assert_eq!(tokens.next(Wish::Any, from), Next::Renew);
    }

    /// Any bytes are an answer: nothing panics, and what was answered is not shown.
    #[test]
    fn no_answer_breaks_it(status in 100_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(failure) = read_answer(status, None, &body) {
            prop_assert!(failure.refusal.reason.len() < 400);
        }
    }
}
