//! The machine against answers as values. Whole runs against servers: `tests/scim_probe.rs`.

use serde_json::json;

use super::*;

fn answer(status: u16, body: Value) -> HttpAnswer {
    HttpAnswer::Response {
        status,
        headers: vec![("content-type".to_owned(), "application/scim+json".to_owned())],
        body: body.to_string().into_bytes(),
    }
}

fn probe() -> Probe {
    Probe::new(ScimConfig::default(), "m4rk", "acme.com")
}

/// Steps until the end, with answers made from requests; the lines of what was sent.
fn run(probe: &mut Probe, mut reply: impl FnMut(&Request) -> HttpAnswer) -> Vec<String> {
    let (mut lines, mut next) = (Vec::new(), None);
    loop {
        match probe.step(next.take()) {
            Move::Send(request) => {
                lines.push(format!(
                    "{} {}",
                    request.method,
                    request.path.split('?').next().unwrap_or_default()
                ));
                assert!(lines.len() < 100, "it ends");
                next = Some(reply(&request));
            }
            Move::Wait(_) => {}
            Move::Done => return lines,
        }
    }
}

#[test]
fn a_refused_create_ends_it_and_leaves_nothing() {
    let mut probe = probe();
    let lines = run(&mut probe, |request| match request.method {
        "POST" => answer(403, json!({})),
        _ => answer(404, json!({})),
    });
    assert_eq!(
        lines,
        [
            "GET /ServiceProviderConfig",
            "GET /ServiceProviderConfigs",
            "POST /Users"
        ]
    );
    let report = probe.report();
    assert!(report.refused.is_some_and(|words| words.contains("http-403")));
    assert!(report.keys.is_empty() && report.left.is_empty());
}

#[test]
fn a_create_without_an_answer_is_searched_for_and_removed_and_never_repeated() {
    let mut probe = probe();
    let name = probe.user_name();
    let mut deleted = false;
    let lines = run(&mut probe, |request| match request.method {
        "POST" => answer(500, json!({})),
        "DELETE" => {
            deleted = true;
            answer(204, Value::Null)
        }
        _ if request.path.contains("filter=") => answer(
            200,
            json!({"totalResults": 1, "Resources": [{"id": "7", "userName": name}]}),
        ),
        _ => answer(404, json!({})),
    });
    assert!(deleted);
    assert_eq!(
        lines[2..],
        ["POST /Users", "GET /Users", "DELETE /Users/7", "GET /Users/7"]
    );
    assert!(probe.report().left.is_empty());
}

#[test]
fn an_account_that_nobody_can_find_is_named() {
    let mut probe = probe();
    run(&mut probe, |request| match request.method {
        "POST" => answer(504, json!({})),
        _ if request.path.contains("filter=") => answer(200, json!({"totalResults": 0})),
        _ => answer(404, json!({})),
    });
    assert_eq!(
        probe.report().left,
        [format!("perhaps an account named {}", probe.user_name())]
    );
}

#[test]
fn stopping_goes_straight_to_the_removal() {
    let mut probe = probe();
    let mut sent = 0;
    let lines = {
        let mut lines = Vec::new();
        let mut next = None;
        loop {
            match probe.step(next.take()) {
                Move::Send(request) => {
                    lines.push(request.method);
                    sent += 1;
                    if sent == 3 {
                        probe.stop();
                    }
                    next = Some(match request.method {
                        "POST" => answer(201, json!({"id": "7"})),
                        "DELETE" => answer(204, Value::Null),
                        _ => answer(404, json!({})),
                    });
                }
                Move::Wait(_) => {}
                Move::Done => break lines,
            }
        }
    };
    assert_eq!(lines, ["GET", "GET", "POST", "DELETE", "GET"]);
    assert!(probe.report().left.is_empty());
}

#[test]
fn what_cannot_be_deleted_is_switched_off_and_named() {
    let mut probe = probe();
    probe.made.push(RemoteId("7".to_owned()));
    probe.stop();
    let mut off = false;
    run(&mut probe, |request| match request.method {
        "DELETE" => answer(405, json!({})),
        "PATCH" => {
            off = true;
            answer(204, Value::Null)
        }
        _ => answer(200, json!({"id": "7", "active": true})),
    });
    assert!(off);
    assert_eq!(probe.report().left, ["account 7"]);
}

#[test]
fn a_second_account_of_one_name_is_removed_too() {
    let mut probe = probe();
    let (mut made, mut deleted) = (0, Vec::new());
    run(&mut probe, |request| match request.method {
        "POST" => {
            made += 1;
            answer(201, json!({"id": made.to_string(), "userName": probe_name()}))
        }
        "DELETE" => {
            deleted.push(request.path.clone());
            answer(204, Value::Null)
        }
        "PATCH" | "PUT" => answer(400, json!({})),
        _ => answer(404, json!({})),
    });
    assert_eq!((made, deleted), (2, vec!["/Users/1".to_owned(), "/Users/2".to_owned()]));
    let report = probe.report();
    assert!(report.left.is_empty());
    let twin = report
        .rows
        .iter()
        .find(|row| row.question == "create of a name that is taken");
    assert_eq!(
        twin.map(|row| row.answer.as_str()),
        Some("a second account of the same name")
    );
}

fn probe_name() -> String {
    probe().user_name()
}

/// A server with groups: what it holds, and what was sent to it.
#[derive(Default)]
struct Club {
    group: Option<Vec<String>>,
    account: bool,
    hides: bool,
    only_capital: bool,
    only_by_value: bool,
    keeps: bool,
    lines: Vec<String>,
}

impl Club {
    fn reply(&mut self, request: &Request) -> HttpAnswer {
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
        self.lines.push(format!("{} {path}", request.method));
        let operation = request
            .body
            .as_ref()
            .map(|body| body["Operations"][0].clone())
            .unwrap_or_default();
        match (request.method, path.as_str()) {
            ("GET", "/Groups") => {
                let ours = self.group.is_some() && request.path.contains("filter=");
                let found = ours.then(|| json!({"id": "g", "displayName": probe().group_name()}));
                answer(200, json!({"totalResults": 1, "Resources": Vec::from_iter(found)}))
            }
            ("POST", "/Groups") => {
                self.group = Some(vec![]);
                answer(201, json!({"id": "g"}))
            }
            ("GET", "/Groups/g") => match &self.group {
                Some(members) if self.hides => answer(200, json!({"id": "g", "displayName": members.len()})),
                Some(members) => {
                    let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
                    answer(200, json!({"id": "g", "members": members}))
                }
                None => answer(404, json!({})),
            },
            ("PATCH", "/Groups/g") => {
                let op = operation["op"].as_str().unwrap_or_default();
                let by_value = operation["value"].is_array();
                match op {
                    _ if self.only_capital && op.starts_with(char::is_lowercase) => return answer(400, json!({})),
                    "add" | "Add" => self.group = Some(vec!["7".to_owned()]),
                    // A success that does nothing.
                    _ if self.only_by_value && !by_value => {}
                    _ => self.group = Some(vec![]),
                }
                answer(204, Value::Null)
            }
            ("DELETE", "/Groups/g") if self.keeps => answer(403, json!({})),
            ("DELETE", "/Groups/g") => {
                self.group = None;
                answer(204, Value::Null)
            }
            ("POST", "/Users") if !self.account => {
                self.account = true;
                answer(201, json!({"id": "7", "userName": probe_name()}))
            }
            ("POST", "/Users") => answer(409, json!({"scimType": "uniqueness"})),
            ("GET", "/Users/7") if self.account => answer(200, json!({"id": "7", "active": false})),
            ("DELETE", "/Users/7") => {
                self.account = false;
                answer(204, Value::Null)
            }
            ("PATCH" | "PUT", _) => answer(400, json!({})),
            _ => answer(404, json!({})),
        }
    }

    /// A whole probe, and the keys about groups that it finds.
    fn probed(mut self) -> (Self, Report) {
        let mut probe = probe();
        run(&mut probe, |request| self.reply(request));
        (self, probe.report())
    }
}

#[test]
fn a_group_is_made_filled_emptied_and_removed_before_the_account() {
    let (club, report) = Club::default().probed();
    let of_groups: Vec<&str> = club
        .lines
        .iter()
        .filter(|line| line.contains("/Groups"))
        .map(String::as_str)
        .collect();
    let expected = [
        "GET /Groups",
        "POST /Groups",
        "GET /Groups",
        "PATCH /Groups/g",
        "GET /Groups/g",
        "PATCH /Groups/g",
        "GET /Groups/g",
        "DELETE /Groups/g",
        "GET /Groups/g",
    ];
    assert_eq!(of_groups, expected);
    let place = |line: &str| club.lines.iter().position(|found| found == line);
    assert!(place("DELETE /Groups/g") < place("DELETE /Users/7"));
    assert!(
        report.left.is_empty() && !report.keys.contains_key("groups"),
        "{report:#?}"
    );
}

#[test]
fn each_difference_about_groups_becomes_its_key() {
    for (club, keys) in [
        (
            Club {
                hides: true,
                ..Club::default()
            },
            json!({"showsMembers": false}),
        ),
        (
            Club {
                only_capital: true,
                ..Club::default()
            },
            json!({"capitalOperations": true}),
        ),
        (
            Club {
                only_by_value: true,
                ..Club::default()
            },
            json!({"remove": "value"}),
        ),
    ] {
        let (club, report) = club.probed();
        assert_eq!(report.keys["groups"], keys, "{report:#?}");
        assert!(club.group.is_none() && !club.account && report.left.is_empty());
        let config: ScimConfig = serde_json::from_value(Value::Object(report.keys)).unwrap();
        assert_eq!(config.validate(), Vec::<String>::new());
    }
}

#[test]
fn a_group_that_cannot_be_removed_is_named_and_the_account_is_removed() {
    let (club, report) = Club {
        keeps: true,
        ..Club::default()
    }
    .probed();
    assert_eq!((report.left, club.account), (vec!["group g".to_owned()], false));
    assert_eq!(club.lines.iter().filter(|line| *line == "DELETE /Groups/g").count(), 1);
}

#[test]
fn a_group_that_nobody_can_find_is_looked_for_once_and_named() {
    let (mut club, mut probe) = (Club::default(), probe());
    let lines = run(&mut probe, |request| {
        let heard = club.reply(request);
        match (request.method, request.path.as_str()) {
            ("POST", "/Groups") => answer(504, json!({})),
            _ if request.path.starts_with("/Groups?filter=") => answer(200, json!({"totalResults": 0})),
            _ => heard,
        }
    });
    assert_eq!(
        probe.report().left,
        [format!("perhaps a group named {}", probe.group_name())]
    );
    let place = |line: &str| lines.iter().rposition(|found| found == line);
    assert!(
        place("GET /Groups") < place("DELETE /Users/7"),
        "before the account: {lines:?}"
    );
    assert_eq!(lines.iter().filter(|line| *line == "GET /Groups").count(), 2);
}

#[test]
fn whatever_goes_wrong_about_the_group_nothing_stays() {
    // From every request about the group on, nobody answers until the removal; then it is interrupted there.
    let whole = Club::default().probed().0.lines;
    let about = |line: &String| line.contains("/Groups");
    for (number, line) in whole.iter().enumerate().filter(|(_, line)| about(line)) {
        for interrupted in [false, true] {
            let (mut club, mut probe) = (Club::default(), probe());
            let (mut next, mut sent) = (None, 0);
            loop {
                match probe.step(next.take()) {
                    Move::Send(request) => {
                        let heard = club.reply(&request);
                        let late = sent == number && !interrupted;
                        if sent == number && interrupted {
                            probe.stop();
                        }
                        sent += 1;
                        // It has an effect, and nobody hears of it.
                        next = Some(if late { answer(504, json!({})) } else { heard });
                        assert!(sent < 200, "it ends");
                    }
                    Move::Wait(_) => {}
                    Move::Done => break,
                }
            }
            let report = probe.report();
            assert!(
                club.group.is_none() && !club.account,
                "{line}, interrupted: {interrupted}"
            );
            assert!(
                report.left.is_empty(),
                "{line}, interrupted: {interrupted}: {report:#?}"
            );
        }
    }
}

/// An account whose title is changed by operations in capital letters, or by none.
fn by_operation(takes: &str) -> Report {
    let (mut title, mut there, mut probe) = (json!("made by a probe"), false, probe());
    run(&mut probe, |request| match (request.method, request.path.as_str()) {
        ("POST", "/Users") if !there => {
            there = true;
            answer(201, json!({"id": "7", "userName": probe_name()}))
        }
        ("GET", "/Users/7") if there => answer(
            200,
            json!({"id": "7", "userName": probe_name(), "active": true, "title": title}),
        ),
        ("PATCH", "/Users/7") => {
            let operation = &request.body.as_ref().unwrap()["Operations"][0];
            if operation["op"] != takes || operation["path"] != "title" {
                return answer(400, json!({}));
            }
            title = operation["value"].clone();
            answer(204, Value::Null)
        }
        ("DELETE", "/Users/7") => {
            there = false;
            answer(204, Value::Null)
        }
        ("PUT" | "POST", _) => answer(400, json!({})),
        _ => answer(404, json!({})),
    });
    probe.report()
}

#[test]
fn a_server_that_knows_operations_in_capital_letters_alone_is_found_out() {
    let said = |report: &Report| {
        let row = report.rows.iter().find(|row| row.question.contains("`Replace`"));
        row.map(|row| row.answer.clone())
    };
    let report = by_operation("Replace");
    assert_eq!(report.keys["capitalOperations"], true, "{:?}", report.keys);
    assert_eq!(said(&report).as_deref(), Some("taken"));
    let report = by_operation("replace");
    assert!(!report.keys.contains_key("capitalOperations") && said(&report).is_none());
    let report = by_operation("nothing");
    assert!(!report.keys.contains_key("capitalOperations"));
    assert_eq!(said(&report).as_deref(), Some("refused as well"));
}
