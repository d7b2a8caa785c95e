//! Computed headers, on the request as it is sent. The expected values were made with Python's hashlib and hmac.

use super::*;

/// The request that creates somebody, under these headers.
fn signed(headers: Value) -> Completed {
    let connector = with(|description| description["headers"] = headers);
    let mut exchange = connector.begin(Operation::Create {
        values: values(&[("externalId", json!("005A")), ("userName", json!("ada"))]),
    });
    let Step::Complete(draft) = exchange.step(None) else {
        panic!("a request")
    };
    draft.complete(&moment()).unwrap()
}

#[test]
fn a_request_carries_hashes_of_secret_and_time_in_both_encodings() {
    let text = "'POST /users ' ~ now_ms";
    let request = signed(json!({
        "X-Time": "{{ now_s }}",
        "X-Date": "{{ now_iso }}",
        "X-Sha512": "{{ sha512(secret.key ~ now_ms) }}",
        "X-Sha512-Base64": "{{ sha512_base64(secret.key ~ now_ms) }}",
        "X-Hmac256": format!("{{{{ hmac_sha256(secret.key, {text}) }}}}"),
        "Authorization": format!("HMAC t={{{{ now_s }}}},v1={{{{ hmac_sha256_base64(secret.key, {text}) }}}}"),
        "X-Hmac512": format!("{{{{ hmac_sha512(secret.key, {text}) }}}}"),
        "X-Hmac512-Base64": format!("{{{{ hmac_sha512_base64(secret.key, {text}) }}}}"),
    }));
    for (name, expected) in [
        ("x-time", "1700000000"),
        ("x-date", "2023-11-14T22:13:20Z"),
        (
            "x-sha512",
            "02046cf0ce6d8a40ad0a05e590090d5c2850201e45f241747a01d9566a0e41bb6f8f5e48d795ae795458ef003dab12ca171aadafea235b344908ee429623c341",
        ),
        (
            "x-sha512-base64",
            "AgRs8M5tikCtCgXlkAkNXChQIB5F8kF0egHZVmoOQbtvj15I15WueVRY7wA9qxLKFxqtr+ojWzRJCO5CliPDQQ==",
        ),
        (
            "x-hmac256",
            "19d1ccdbf9391e0d0a70036321e7d87bc22965fd890b7597c5e4eb9e95dd5130",
        ),
        (
            "authorization",
            "HMAC t=1700000000,v1=GdHM2/k5Hg0KcANjIefYe8IpZf2JC3WXxeTrnpXdUTA=",
        ),
        (
            "x-hmac512",
            "5abb4fe1d62edfc91bc0aebbf9aa47cb631afea0c5d42a71e98ef8de04091eaa7074389f293b1c00ed716a71a315e017516bd319984ba0c470bad8cef6a17396",
        ),
        (
            "x-hmac512-base64",
            "WrtP4dYu38kbwK67+apHy2Ma/qDF1Cpx6Y743gQJHqpwdDifKTscAO1xanGjFeAXUWvTGZhLoMRwutjO9qFzlg==",
        ),
    ] {
        let held: Vec<&str> = request
            .headers
            .iter()
            .filter(|(held, _)| held == name)
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(held, [expected], "{name}");
    }
}

#[test]
fn a_function_that_is_not_there_is_named_with_those_that_are() {
    let mut wrong = description();
    wrong["headers"]["x-sign"] = json!("{{ hmac_sha1(secret.key, now_ms) }}");
    let config: RestConfig = serde_json::from_value(wrong).unwrap();
    let Err(mistakes) = RestConnector::try_new(&config, "https://h.example/api/") else {
        panic!("it was taken")
    };
    let words = &mistakes[0].1;
    assert!(
        words.contains("`hmac_sha1` is not known here") && words.contains("hmac_sha512(), each also as _base64"),
        "{words}"
    );
}
