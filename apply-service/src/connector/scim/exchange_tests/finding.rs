//! Look-ups: order of keys, lying filters, proof of absence, the index.

use super::*;

fn find(external_id: &str, by: &[(&str, &str)]) -> Operation {
    let by = by
        .iter()
        .map(|(name, value)| (path(name), (*value).to_owned()))
        .collect();
    Operation::Find {
        external_id: external_id.to_owned(),
        by,
    }
}

fn trusted() -> ScimConnector {
    with(|config| config.filter = FilterMode::Trusted)
}

#[test]
fn the_external_id_comes_first_and_the_first_key_with_hits_decides() {
    let script = vec![on(
        r#"GET /Users?filter=externalId eq "x"&count=10"#,
        list(&[user("1", "x", "ada")]),
    )];
    assert_eq!(ids(&run(&scim(), find("x", &[("userName", "ada")]), script)), ["1"]);
    let script = vec![
        on(r#"GET /Users?filter=externalId eq "x"&count=10"#, list(&[])),
        on(r#"GET /Users?filter=userName eq "Ada"&count=10"#, list(&[])),
        on(r#"GET /Users?filter=userName eq "ada"&count=10"#, list(&[])),
        on(
            r#"GET /Users?filter=emails.value eq "ada@acme.com"&count=10"#,
            list(&[user("2", "", "ada")]),
        ),
    ];
    assert_eq!(
        ids(&run(
            &trusted(),
            find("x", &[("userName", "Ada"), (WORK, "ada@acme.com")]),
            script
        )),
        ["2"]
    );
}

#[test]
fn several_true_hits_are_all_reported() {
    let hits = [user("1", "", "Ada"), user("2", "", "ada")];
    let script = vec![on(r#"GET /Users?filter=userName eq "ada"&count=10"#, list(&hits))];
    assert_eq!(
        ids(&run(&trusted(), find("", &[("userName", "ada")]), script)),
        ["1", "2"]
    );
}

#[test]
fn a_server_that_ignores_the_filter_is_found_out_and_listed_once() {
    let connector = scim();
    let everyone = [user("1", "a", "ann"), user("2", "b", "bob"), user("3", "c", "cy")];
    let script = vec![
        on(r#"GET /Users?filter=externalId eq "b"&count=10"#, page(&everyone, 3)),
        on("GET /Users?count=100", page(&everyone[..2], 3)),
        on("GET /Users?startIndex=3&count=100", page(&everyone[2..], 3)),
        on("GET /Users/2", ok(everyone[1].clone())),
    ];
    assert_eq!(ids(&run(&connector, find("b", &[]), script)), ["2"]);
    // From now on the listing answers; a hit is read again, a miss costs one small request.
    let script = vec![time(), on("GET /Users/3", ok(everyone[2].clone()))];
    assert_eq!(ids(&run(&connector, find("c", &[]), script)), ["3"]);
    assert!(ids(&run(&connector, find("z", &[]), vec![time()])).is_empty());
    Connector::forget_listing(&connector);
    let script = vec![on("GET /Users?count=100", page(&everyone, 3))];
    assert!(ids(&run(&connector, find("z", &[]), script)).is_empty());
}

#[test]
fn an_empty_result_is_proven_with_an_account_of_the_first_page() {
    let connector = scim();
    let people = [user("1", "a", "ann"), user("2", "b", "bob")];
    let script = vec![
        on(r#"GET /Users?filter=externalId eq "x"&count=10"#, list(&[])),
        on(r#"GET /Users?filter=userName eq "ada"&count=10"#, list(&[])),
        on("GET /Users?count=100", page(&people, 500)),
        on(r#"GET /Users?filter=externalId eq "a"&count=10"#, list(&people[..1])),
        on(r#"GET /Users?filter=userName eq "ANN"&count=10"#, list(&people[..1])),
    ];
    assert!(ids(&run(&connector, find("x", &[("userName", "ada")]), script)).is_empty());
    // Proven: the next absence needs no further request.
    let script = vec![
        on(r#"GET /Users?filter=externalId eq "y"&count=10"#, list(&[])),
        on(r#"GET /Users?filter=userName eq "eve"&count=10"#, list(&[])),
    ];
    assert!(ids(&run(&connector, find("y", &[("userName", "eve")]), script)).is_empty());
}

#[test]
fn a_blind_filter_is_found_out_and_the_list_is_read_to_its_end() {
    let people = [user("1", "a", "ann"), user("2", "x", "bob")];
    let script = vec![
        on(r#"GET /Users?filter=externalId eq "x"&count=10"#, list(&[])),
        on("GET /Users?count=100", page(&people[..1], 2)),
        on(r#"GET /Users?filter=externalId eq "a"&count=10"#, list(&[])),
        on("GET /Users?startIndex=2&count=100", page(&people[1..], 2)),
        on("GET /Users/2", ok(people[1].clone())),
    ];
    assert_eq!(ids(&run(&scim(), find("x", &[]), script)), ["2"]);
}

#[test]
fn a_filter_that_minds_the_case_does_not_prove_absence() {
    let connector = scim();
    let people = [user("1", "", "ann"), user("2", "", "aDa")];
    let by_name = |name: &str, hits: &[Value]| {
        on(
            &format!(r#"GET /Users?filter=userName eq "{name}"&count=10"#),
            list(hits),
        )
    };
    // A hit in the very case that was asked for says little.
    let hit = vec![by_name("ann", &people[..1])];
    assert_eq!(ids(&run(&connector, find("", &[("userName", "ann")]), hit)), ["1"]);
    let script = vec![
        by_name("Ada", &[]),
        by_name("ada", &[]),
        on("GET /Users?count=100", page(&people[..1], 2)),
        by_name("ANN", &[]),
        on("GET /Users?startIndex=2&count=100", page(&people[1..], 2)),
        on("GET /Users/2", ok(people[1].clone())),
    ];
    assert_eq!(ids(&run(&connector, find("", &[("userName", "Ada")]), script)), ["2"]);
}

#[test]
fn an_empty_target_proves_absence_by_itself() {
    let script = vec![
        on(r#"GET /Users?filter=externalId eq "x"&count=10"#, list(&[])),
        on("GET /Users?count=100", list(&[])),
    ];
    assert!(ids(&run(&scim(), find("x", &[]), script)).is_empty());
}

#[test]
fn a_refused_filter_tries_the_other_form_and_then_the_list() {
    let connector = trusted();
    let ada = user("1", "", "ada");
    let script = vec![
        on(
            r#"GET /Users?filter=emails.value eq "ada@acme.com"&count=10"#,
            scim_error(400, "invalidFilter"),
        ),
        on(
            r#"GET /Users?filter=emails[type eq "work" and value eq "ada@acme.com"]&count=10"#,
            list(std::slice::from_ref(&ada)),
        ),
    ];
    assert_eq!(
        ids(&run(&connector, find("", &[(WORK, "ada@acme.com")]), script)),
        ["1"]
    );
    let script = vec![
        on(
            r#"GET /Users?filter=emails[type eq "work" and value eq "eve@acme.com"]&count=10"#,
            answer(501, ""),
        ),
        on(
            r#"GET /Users?filter=emails.value eq "eve@acme.com"&count=10"#,
            answer(501, ""),
        ),
        on("GET /Users?count=100", list(&[ada])),
    ];
    assert!(ids(&run(&connector, find("", &[(WORK, "eve@acme.com")]), script)).is_empty());
}

#[test]
fn a_home_address_is_no_work_address_and_the_filter_is_no_liar() {
    let mut other = user("1", "", "bob");
    other["emails"] = json!([{"type": "home", "value": "ada@acme.com"}]);
    let script = vec![on(
        r#"GET /Users?filter=emails.value eq "ada@acme.com"&count=10"#,
        list(&[other]),
    )];
    assert!(ids(&run(&trusted(), find("", &[(WORK, "ada@acme.com")]), script)).is_empty());
}

#[test]
fn a_stale_listing_is_healed_by_reading_each_candidate() {
    let connector = with(|config| config.filter = FilterMode::None);
    let people = [user("1", "a", "ann"), user("2", "b", "bob")];
    let script = vec![
        on("GET /Users?count=100", list(&people)),
        on("GET /Users/1", answer(404, "")),
    ];
    assert!(ids(&run(&connector, find("a", &[]), script)).is_empty());
    let script = vec![time(), on("GET /Users/2", ok(user("2", "other", "bob")))];
    assert!(ids(&run(&connector, find("b", &[]), script)).is_empty());
    assert!(
        ids(&run(&connector, find("b", &[]), vec![time()])).is_empty(),
        "both are forgotten now"
    );
}

#[test]
fn a_listing_that_grew_old_while_the_target_was_not_ours_is_not_believed() {
    let connector = with(|config| config.filter = FilterMode::None);
    let at = |time: &str, answer: HttpAnswer| match answer {
        HttpAnswer::Response { status, body, .. } => {
            let headers = vec![("date".to_owned(), format!("Sun, 22 Nov 2026 {time} GMT"))];
            HttpAnswer::Response { status, headers, body }
        }
        other => other,
    };
    let pages = |time, users: &[Value]| on("GET /Users?count=100", at(time, list(users)));
    let small = |time| on("GET /Users?count=1", at(time, list(&[])));
    assert!(ids(&run(&connector, find("x", &[]), vec![pages("10:00:00", &[])])).is_empty());
    assert!(ids(&run(&connector, find("x", &[]), vec![small("10:10:00")])).is_empty());
    let ada = user("7", "x", "ada");
    let script = vec![
        small("10:10:01"),
        pages("10:10:01", std::slice::from_ref(&ada)),
        on("GET /Users/7", ok(ada.clone())),
    ];
    assert_eq!(ids(&run(&connector, find("x", &[]), script)), ["7"]);
    let script = vec![on("GET /Users?count=1", answer(500, ""))];
    assert_eq!(failure(run(&connector, find("y", &[]), script)).0, "retry");
}

#[test]
fn nothing_is_called_absent_because_it_could_not_be_read() {
    for (answer, verdict) in [
        (answer(500, ""), "retry"),
        (answer(429, ""), "retry"),
        (broken(), "retry"),
        (answer(401, ""), "halt"),
        (answer(403, ""), "reject"),
        (html(200), "halt"),
        (answer(404, ""), "halt"),
        (ok(json!({"hits": []})), "halt"),
    ] {
        let script = vec![on(r#"GET /Users?filter=externalId eq "x"&count=10"#, answer)];
        assert_eq!(failure(run(&scim(), find("x", &[]), script)).0, verdict);
    }
    let cut = with(|config| {
        config.filter = FilterMode::None;
        config.scan_pages_max = 1;
    });
    let script = vec![on("GET /Users?count=100", page(&[user("1", "a", "ann")], 500))];
    assert_eq!(
        failure(run(&cut, find("x", &[]), script)),
        ("halt", "list-too-long".to_owned())
    );
}

#[test]
fn a_list_that_ends_too_early_proves_nobodys_absence() {
    let connector = with(|config| config.filter = FilterMode::None);
    let script = vec![
        on("GET /Users?count=100", page(&[user("1", "a", "ann")], 2)),
        on("GET /Users?startIndex=2&count=100", page(&[], 2)),
    ];
    let result = run(&connector, find("x", &[]), script);
    assert_eq!(failure(result), ("retry", "list-incomplete".to_owned()));
    // Nor does an index come of it.
    let script = vec![on("GET /Users?count=100", list(&[]))];
    assert!(ids(&run(&connector, find("x", &[]), script)).is_empty());
}

#[test]
fn a_listing_from_before_an_unanswered_write_does_not_answer() {
    let named = || Operation::Update {
        id: id("7"),
        values: values(&[("externalId", json!("x"))]),
        etag: None,
    };
    let create = || Operation::Create {
        values: values(&[("externalId", json!("x")), ("userName", json!("ada"))]),
    };
    for write in [named(), create()] {
        let connector = with(|config| config.filter = FilterMode::None);
        let listed = || vec![on("GET /Users?count=100", list(&[]))];
        assert!(ids(&run(&connector, find("x", &[]), listed())).is_empty());
        let mut exchange = connector.begin(write);
        assert!(matches!(exchange.step(None), Step::Send(_)));
        drop(exchange);
        assert!(ids(&run(&connector, find("x", &[]), listed())).is_empty());
    }
    // The same when the answer itself leaves it open.
    let connector = with(|config| config.filter = FilterMode::None);
    let listed = || vec![on("GET /Users?count=100", list(&[]))];
    assert!(ids(&run(&connector, find("x", &[]), listed())).is_empty());
    assert_eq!(
        failure(run(&connector, named(), vec![on("PATCH /Users/7", broken())])).0,
        "retry"
    );
    assert!(ids(&run(&connector, find("x", &[]), listed())).is_empty());
}

#[test]
fn a_target_without_external_ids_is_not_asked_for_them() {
    let connector = with(|config| {
        config.external_id = false;
        config.filter = FilterMode::Trusted;
    });
    let script = vec![on(r#"GET /Users?filter=userName eq "ada"&count=10"#, list(&[]))];
    assert!(ids(&run(&connector, find("x", &[("userName", "ada")]), script)).is_empty());
}

#[test]
fn hostile_values_stay_values() {
    let hostile = r#"x" or userName pr or "a+b&count=9%22"#;
    let mut exchange = trusted().begin(find("", &[("userName", hostile)]));
    let Step::Send(request) = exchange.step(None) else {
        panic!("a request")
    };
    let query = request.path.strip_prefix("/Users?").unwrap();
    let pairs: Vec<(&str, &str)> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    assert_eq!(pairs.len(), 2, "{query}");
    let filter = percent_encoding::percent_decode_str(pairs[0].1).decode_utf8().unwrap();
    let parsed = crate::connector::scim::filter::Filter::parse(&filter).unwrap();
    assert_eq!(
        parsed,
        crate::connector::scim::filter::Filter::equal("userName", hostile)
    );
}
