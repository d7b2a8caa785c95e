//! Notices in the life of a lane: who is told, that none is lost and none sent twice, and that nobody waits for them.

use serde_json::json;
use usher_contract::{Known, OutcomeResult, UserChange};

use super::super::*;
use super::world::{World, refusal};
use crate::{
    connector::{Failure, Operation},
    logic::{
        account::AttributePath,
        assignments::Assignment,
        notification::{Audience, Delivery, NoticeState, Notify, Undelivered, bundled},
        policy::{AttributeRule, TargetPolicy, ValueSource},
        scope::Everybody,
        testing::{Change, OWNER, Table, person, policy, row, user_key},
    },
};
use usher_contract::StateHash;
use usher_filter::People;

/// A lane behind its first import, with a table of people.
struct Told {
    world: World,
    people: Arc<Table>,
}

fn notify(target: &mut TargetPolicy) -> &mut Notify {
    let (user, manager) = bundled();
    target.notify = Notify {
        user: Some(user),
        manager: Some((Audience::Always, manager)),
        webhooks: vec!["hr".into()],
        ..Notify::default()
    };
    &mut target.notify
}

fn telling() -> TargetPolicy {
    let mut target = policy();
    notify(&mut target);
    target
}

impl Told {
    /// Before its first import.
    fn fresh(target: TargetPolicy) -> Self {
        let people = Arc::new(Table::default());
        let mut world = World::new(target);
        world.lane = {
            let lane = std::mem::replace(
                &mut world.lane,
                Lane::new(Arc::new(policy()), Links::default(), None, OWNER, world.now),
            );
            lane.among(Everybody::new(Arc::clone(&people) as Arc<dyn People + Send + Sync>))
        };
        Self { world, people }
    }

    fn new(target: TargetPolicy) -> Self {
        let mut told = Self::fresh(target);
        // The first import is over when nobody has waited for a while.
        let mut first = person(99);
        first.user.department = Known::Value("Support".into());
        told.change(first);
        told.world.pass(3600);
        assert_eq!(told.world.lane.record.imported, Some(true));
        told.world.outcomes.clear();
        told.world.writes.clear();
        told
    }

    /// The next operation, as soon as the books allow it.
    fn next(&mut self) -> (OperationId, Operation) {
        while self.world.open.is_empty() && self.world.commit() {}
        self.world.pop()
    }

    fn change(&mut self, change: UserChange) {
        let user = change.user.clone();
        self.people.put(user);
        self.world.change(change);
    }

    /// Another owner over what is committed; whatever was under way is gone.
    fn crash(&mut self) {
        let mut links = Links::default();
        for (user, link) in self.world.lane.links.iter() {
            links.put(*user, Some(link.clone()));
        }
        let world = &mut self.world;
        let lane = Lane::new(
            Arc::clone(&world.lane.target),
            links,
            world.record.clone(),
            OWNER,
            world.now,
        );
        world.lane = lane.among(Everybody::new(Arc::clone(&self.people) as Arc<dyn People + Send + Sync>));
        world.open.clear();
        world.deliveries.clear();
        world.batch = None;
        for change in world.people.values().cloned().collect::<Vec<_>>() {
            world.give(Input::User { change, again: false });
        }
        world.give(Input::AllFed);
        world.settle();
    }

    /// What is on its way: `mail-user to`, `webhook hr`.
    fn on_the_way(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .world
            .deliveries
            .iter()
            .map(|(_, delivery)| shown(delivery))
            .collect();
        found.sort();
        found
    }

    fn end(&mut self, which: &str, result: Result<(), Undelivered>) {
        let at = self
            .world
            .deliveries
            .iter()
            .position(|(_, delivery)| shown(delivery).starts_with(which));
        let (delivery, _) = self
            .world
            .deliveries
            .remove(at.unwrap_or_else(|| panic!("no {which}: {:?}", self.on_the_way())));
        self.world.give(Input::Delivered { delivery, result });
    }

    fn end_all(&mut self, result: &Result<(), Undelivered>) -> usize {
        let all = std::mem::take(&mut self.world.deliveries);
        let count = all.len();
        for (delivery, _) in all {
            self.world.give(Input::Delivered {
                delivery,
                result: result.clone(),
            });
        }
        count
    }

    fn states(&self, n: u32) -> Vec<String> {
        let link = self.world.lane.links.get(&user_key(n));
        let notices = link.map(|link| link.notices).unwrap_or_default();
        notices
            .iter()
            .map(|notice| {
                let state = match &notice.state {
                    NoticeState::Intended => "intended".to_owned(),
                    NoticeState::Owed { attempts, .. } => format!("owed {attempts}"),
                    NoticeState::Sent { .. } => "sent".to_owned(),
                    NoticeState::Failed { code, .. } => format!("failed {code}"),
                };
                format!("{} {state}", notice.kind.as_str())
            })
            .collect()
    }

    fn said(&self, action: &str) -> Vec<(OutcomeResult, String)> {
        let outcomes = self.world.outcomes.iter().filter(|outcome| outcome.action == action);
        outcomes
            .map(|outcome| (outcome.result, outcome.reasons.join("; ")))
            .collect()
    }
}

fn shown(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Mail(mail) => format!("mail to {}", mail.to),
        Delivery::Webhook { endpoint, .. } => format!("webhook {endpoint}"),
    }
}

fn id_of(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Mail(mail) => mail.id.clone(),
        Delivery::Webhook { id, .. } => id.clone(),
    }
}

fn under(change: UserChange, manager: u32) -> UserChange {
    let mut change = change;
    change.user.manager_id = Known::Value(user_key(manager).user);
    change
}

fn down() -> Undelivered {
    Undelivered::Down(refusal("connect"), None)
}

#[test]
fn a_new_user_the_direct_manager_and_a_webhook_are_told_once() {
    let mut told = Told::new(telling());
    told.change(person(2));
    told.world.settle();
    told.end_all(&Ok(()));
    told.world.settle();
    told.change(under(person(1), 2));
    assert_eq!(
        told.on_the_way(),
        Vec::<String>::new(),
        "nothing before the account is confirmed"
    );
    told.world.settle();
    let all = ["mail to u1@acme.example", "mail to u2@acme.example", "webhook hr"];
    assert_eq!(told.on_the_way(), all);
    told.end_all(&Ok(()));
    told.world.settle();
    assert_eq!(told.states(1), ["mail-user sent", "mail-manager sent", "webhook sent"]);
    // Edited, gone and made again, off and on again: nobody is told again.
    told.change(under(person(1).version(2).titled("boss"), 2));
    told.world.settle();
    told.world.accounts.remove("r3");
    told.change(under(person(1).version(3).titled("head"), 2));
    told.world.pass(120);
    assert!(
        told.world
            .writes
            .iter()
            .filter(|write| write.starts_with("create"))
            .count()
            > 2,
        "made again"
    );
    told.change(under(person(1).version(4).inactive(), 2));
    told.world.settle();
    told.change(under(person(1).version(5), 2));
    told.world.pass(7 * 24 * 3600);
    assert_eq!(told.on_the_way(), Vec::<String>::new());
    let done = told
        .said("notify")
        .into_iter()
        .filter(|(result, _)| *result == OutcomeResult::Done);
    assert_eq!(done.count(), 2 + 3);
}

#[test]
fn whoever_is_found_or_made_by_a_first_import_is_not_told() {
    let mut world = World::new(telling());
    let values = |n: u32| [(AttributePath("userName".into()), json!(format!("u{n}@acme.example")))].into();
    world.accounts.insert("r1".into(), values(1));
    world.change(person(1));
    world.change(person(2));
    world.pass(60);
    assert_eq!(world.accounts.len(), 2, "one found, one made");
    let owed = |world: &World| {
        world
            .lane
            .links
            .iter()
            .map(|(_, link)| link.notices.len())
            .sum::<usize>()
    };
    assert_eq!((owed(&world), world.deliveries.len()), (0, 0));
    // Later somebody who had an account there already is adopted.
    world.pass(3600);
    world.accounts.insert("r9".into(), values(9));
    world.change(person(9));
    world.settle();
    assert!(
        world
            .lane
            .links
            .get(&user_key(9))
            .is_some_and(|link| link.remote_id.is_some())
    );
    assert_eq!((owed(&world), world.deliveries.len()), (0, 0));
    // Where the policy says so, also the first import.
    let mut target = telling();
    notify(&mut target).first_import = true;
    let mut told = Told::fresh(target);
    told.change(person(2));
    told.world.settle();
    assert_eq!(told.on_the_way(), ["mail to u2@acme.example", "webhook hr"]);
}

#[test]
fn a_failing_mail_server_delays_no_provisioning_and_loses_no_notice() {
    let mut told = Told::new(telling());
    for n in 1..=20 {
        told.change(person(n));
    }
    told.world.settle();
    let created = told
        .world
        .writes
        .iter()
        .filter(|write| write.starts_with("create"))
        .count();
    assert_eq!(created, 20, "everybody has an account while nothing was delivered yet");
    assert_eq!(told.world.lane.status().pending, 0);
    assert_eq!(told.world.lane.status().notices_owed, 40);
    // Four mails and four messages are tried; then both channels are left alone.
    assert_eq!(told.end_all(&Err(down())), 8);
    told.world.settle();
    assert_eq!(told.on_the_way(), Vec::<String>::new());
    // A day without it: one try at a time, further and further apart.
    let mut tries = 0;
    for _ in 0..24 * 60 {
        told.world.pass(60);
        assert!(told.world.deliveries.len() <= 2, "one of each channel");
        tries += told.end_all(&Err(down()));
        told.world.settle();
    }
    assert!((20..200).contains(&tries), "{tries}");
    // Meanwhile provisioning goes on as ever.
    told.change(person(1).version(2).titled("boss"));
    told.world.settle();
    assert!(told.world.writes.last().unwrap().contains("title"));
    // It is back: everybody is told, each once.
    let mut ids = std::collections::BTreeMap::new();
    for _ in 0..300 {
        for (_, delivery) in &told.world.deliveries {
            *ids.entry(id_of(delivery)).or_insert(0) += 1;
        }
        told.end_all(&Ok(()));
        told.world.settle();
        if told.world.deliveries.is_empty() {
            told.world.pass(60);
        }
    }
    assert_eq!((ids.len(), ids.values().max()), (40, Some(&1)));
    assert_eq!(told.world.lane.status().notices_owed, 0);
    assert_eq!(told.world.lane.status().oldest_notice_since, None);
}

#[test]
fn a_crash_between_sending_and_commit_repeats_once_with_the_same_id() {
    let mut target = telling();
    notify(&mut target).webhooks.clear();
    let mut told = Told::new(target);
    told.change(person(1));
    told.world.settle();
    let first = id_of(&told.world.deliveries[0].1);
    // Taken by the server, and the process dies before that is committed.
    told.end("mail", Ok(()));
    assert!(told.world.batch.is_some());
    told.crash();
    assert_eq!(told.world.deliveries.len(), 1, "at least once");
    assert_eq!(
        id_of(&told.world.deliveries[0].1),
        first,
        "and recognizable as the same"
    );
    told.end("mail", Ok(()));
    told.world.settle();
    told.crash();
    told.world.pass(3600);
    assert_eq!(told.world.deliveries.len(), 0, "at most one repeat");
    assert_eq!(told.states(1), ["mail-user sent"]);
}

#[test]
fn an_account_whose_create_was_answered_by_nobody_is_told_of_when_it_is_found() {
    for crashes in [false, true] {
        let mut told = Told::new(telling());
        told.change(person(1));
        // Looked up, intended.
        let (look, operation) = told.next();
        let answer = told.world.answer(&operation);
        told.world.end(look, Ok(answer));
        told.world.commit();
        assert_eq!(told.states(1), ["mail-user intended", "webhook intended"]);
        let (create, operation) = told.next();
        assert!(matches!(operation, Operation::Create { .. }));
        // Made, and the answer is lost.
        told.world.answer(&operation);
        if crashes {
            told.crash();
        } else {
            told.world.end(create, Err(Failure::Retry(refusal("timeout"), None)));
        }
        told.world.pass(120);
        assert_eq!(
            told.world
                .writes
                .iter()
                .filter(|write| write.starts_with("create"))
                .count(),
            1
        );
        assert_eq!(
            told.on_the_way(),
            ["mail to u1@acme.example", "webhook hr"],
            "{crashes}"
        );
    }
}

#[test]
fn an_account_that_somebody_else_made_meanwhile_is_not_ours_to_tell_of() {
    let mut told = Told::new(telling());
    told.change(person(1));
    let (look, operation) = told.next();
    let answer = told.world.answer(&operation);
    told.world.end(look, Ok(answer));
    told.world.commit();
    let (create, _) = told.next();
    let values = [(AttributePath("userName".into()), json!("u1@acme.example"))].into();
    told.world.accounts.insert("r8".into(), values);
    told.world.end(create, Err(Failure::Retry(refusal("timeout"), None)));
    told.world.pass(120);
    assert!(
        told.world
            .lane
            .links
            .get(&user_key(1))
            .is_some_and(|link| link.remote_id.is_some()),
        "adopted"
    );
    assert_eq!((told.states(1), told.on_the_way()), (vec![], vec![]));
}

#[test]
fn what_is_told_of_the_same_person_while_something_is_written_is_kept() {
    let mut told = Told::new(telling());
    told.change(person(1));
    told.world.settle();
    assert_eq!(told.on_the_way().len(), 2);
    // An update is under way when the mail is taken, and ends after that is being committed.
    told.change(person(1).version(2).titled("boss"));
    let (update, operation) = told.next();
    told.end("mail", Ok(()));
    let answer = told.world.answer(&operation);
    told.world.end(update, Ok(answer));
    told.end("webhook", Ok(()));
    told.world.settle();
    assert_eq!(told.states(1), ["mail-user sent", "webhook sent"]);
    let link = told.world.lane.links.get(&user_key(1)).unwrap();
    assert_eq!(link.user_version, 2, "nor is the write lost");
    told.world.pass(3600);
    assert_eq!(told.on_the_way(), Vec::<String>::new());
}

#[test]
fn what_is_refused_is_said_and_sent_again_by_redrive() {
    let mut told = Told::new(telling());
    told.change(person(1));
    told.world.settle();
    told.end("mail", Err(Undelivered::Refused(refusal("smtp-550"))));
    told.end("webhook", Err(Undelivered::Later(refusal("http-400"))));
    told.world.settle();
    assert_eq!(told.states(1), ["mail-user failed smtp-550", "webhook owed 1"]);
    assert_eq!(told.world.lane.status().notices_failed, 1);
    // One message that is deferred does not stop the channel.
    told.change(person(2));
    told.world.settle();
    assert!(told.on_the_way().contains(&"mail to u2@acme.example".to_owned()));
    told.end_all(&Ok(()));
    // Nobody repeats a refusal by itself ...
    told.world.pass(24 * 3600);
    told.end_all(&Ok(()));
    told.world.settle();
    assert_eq!(told.states(1), ["mail-user failed smtp-550", "webhook sent"]);
    told.crash();
    assert_eq!(told.world.lane.status().notices_failed, 1, "also not by a restart");
    // ... but an operator.
    assert_eq!(told.world.lane.redrive_notices(None, told.world.now), 1);
    told.world.give(Input::Tick);
    told.world.settle();
    assert_eq!(told.on_the_way(), ["mail to u1@acme.example"]);
    told.end("mail", Ok(()));
    told.world.settle();
    assert_eq!(
        (told.states(1)[0].as_str(), told.world.lane.status().notices_failed),
        ("mail-user sent", 0)
    );
    let words: Vec<_> = told.said("notify").into_iter().map(|(result, _)| result).collect();
    assert!(words.contains(&OutcomeResult::Rejected) && words.contains(&OutcomeResult::Retry));
}

#[test]
fn what_does_not_get_through_in_its_time_is_given_up() {
    let mut target = telling();
    notify(&mut target).webhooks.clear();
    let mut told = Told::new(target);
    told.change(person(1));
    told.world.settle();
    for hour in 0..100 {
        told.world.pass(3600);
        told.end_all(&Err(down()));
        told.world.settle();
        let gave_up = told.states(1) == ["mail-user failed connect"];
        assert_eq!(gave_up, hour >= 71, "after 72 hours: {hour} {:?}", told.states(1));
    }
    assert_eq!(told.world.lane.next_notice(), None);
}

#[test]
fn nobody_is_told_of_an_account_that_is_off_by_then_nor_what_the_policy_does_not_want_any_more() {
    let mut told = Told::new(telling());
    told.change(under(person(1), 2));
    told.change(person(2));
    told.change(person(3));
    told.world.settle();
    told.end_all(&Err(down()));
    told.world.settle();
    told.change(under(person(1).version(2).inactive(), 2));
    let mut target = telling();
    notify(&mut target).manager = None;
    told.world.lane.target = Arc::new(target);
    told.world.settle();
    told.world.pass(600);
    told.end_all(&Ok(()));
    for _ in 0..10 {
        told.world.settle();
        told.end_all(&Ok(()));
        told.world.pass(60);
    }
    assert_eq!(told.states(1), ["webhook sent"], "a fact stays one");
    assert_eq!(told.states(3), ["mail-user sent", "webhook sent"]);
    let skipped: Vec<String> = told
        .said("notify")
        .into_iter()
        .filter(|(result, _)| *result == OutcomeResult::Skipped)
        .map(|(_, words)| words)
        .collect();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(skipped.iter().any(|words| words.contains("off or gone by now")));
    assert!(skipped.iter().any(|words| words.contains("does not want it any more")));
}

#[test]
fn only_managers_whose_team_is_recorded_are_told() {
    let captured = |name: &str, department: &str, on: bool| Assignment {
        name: name.to_owned(),
        filter: Some(
            usher_filter::Filter::parse(
                &format!("Department = '{department}'"),
                &usher_filter::Fields::default(),
            )
            .unwrap(),
        ),
        manual: false,
        apply_on_change: false,
        rows: vec![AttributeRule {
            source: ValueSource::Constant(json!(on)),
            ..row("calls", &["title"])
        }],
        capture: [AttributePath("calls".into())].into(),
        pending: vec![],
        waiting: [].into(),
        settings: StateHash::of_text(name),
        since: None,
    };
    let mut target = policy();
    let (_, manager) = bundled();
    target.notify.manager = Some((Audience::RecordedTeams, manager));
    target.assignments = vec![
        captured("sellers", "Sales", true),
        captured("support", "Support", false),
    ];
    let of = |n: u32, department: &str, manager: u32| {
        let mut change = under(person(n), manager);
        change.user.department = Known::Value(department.into());
        change
    };
    let mut told = Told::new(target);
    for (change, expected) in [
        // The managers themselves: of 90, whom nobody knows.
        (of(1, "Support", 90), false),
        (of(2, "Support", 90), false),
        // Nobody of the team is recorded.
        (of(11, "Support", 1), false),
        // The new member is.
        (of(21, "Sales", 2), true),
        // The new member is not, a colleague is.
        (of(22, "Support", 2), true),
        // Another team, to which nobody recorded belongs yet.
        (of(12, "Support", 1), false),
    ] {
        let n = change.user.key();
        told.change(change);
        told.world.settle();
        let owed = told.world.lane.links.get(&n).map(|link| link.notices.len());
        assert_eq!(owed, Some(usize::from(expected)), "{n}");
        told.end_all(&Ok(()));
        told.world.settle();
    }
    // Whoever was recorded has left: the team is not recorded any more.
    let mut left = of(21, "Sales", 2).version(2);
    left.user.active = Known::Value(false);
    told.change(left);
    told.world.settle();
    told.change(of(23, "Support", 2));
    told.world.settle();
    assert_eq!(told.states(23), Vec::<String>::new());
}

#[test]
fn without_an_address_or_a_manager_that_is_there_it_is_said() {
    let mut target = telling();
    notify(&mut target).webhooks.clear();
    let mut told = Told::new(target);
    let mut blank = under(person(1), 90);
    blank.user.email = Known::Empty;
    told.change(blank);
    let mut sandbox = person(2);
    sandbox.user.email = Known::Value("ada@acme.com.invalid".into());
    told.change(sandbox);
    let mut unknown = person(3);
    unknown.user.email = Known::Unknown;
    told.change(unknown);
    told.world.settle();
    told.world.give(Input::Tick);
    told.world.settle();
    assert_eq!(told.states(1), ["mail-user failed no-address"]);
    assert_eq!(told.states(2), Vec::<String>::new());
    assert_eq!(told.states(3), ["mail-user owed 1"], "it may become known");
    told.change(person(3).version(2));
    told.world.pass(120);
    assert_eq!(told.on_the_way(), ["mail to u3@acme.example"]);
    let words = told
        .said("notify")
        .into_iter()
        .map(|(_, words)| words)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        words.contains("no state of the manager") && words.contains(".invalid"),
        "{words}"
    );
    assert!(!words.contains("acme"), "no addresses: {words}");
}

#[test]
fn a_paused_target_a_drain_and_an_old_commit_send_nothing() {
    let mut told = Told::new(telling());
    told.change(person(1));
    told.world.settle();
    // Under way while the target is handed back: awaited, and committed.
    told.world.give(Input::Drain);
    told.world.settle();
    assert!(!told.world.drained, "two deliveries are under way");
    told.end_all(&Ok(()));
    told.world.settle();
    assert!(told.world.drained);
    assert_eq!(told.states(1), ["mail-user sent", "webhook sent"]);

    let mut told = Told::new(telling());
    told.change(person(1));
    told.world.settle();
    told.end_all(&Err(down()));
    told.world.settle();
    told.world.lane.record.paused = Some(usher_contract::Approval {
        actor: "ada".into(),
        reason: "r".into(),
        at: told.world.now,
    });
    told.world.pass(24 * 3600);
    assert_eq!(told.on_the_way(), Vec::<String>::new());
    told.world.lane.record.paused = None;
    told.world.give(Input::Tick);
    told.world.settle();
    assert_eq!(told.on_the_way().len(), 2, "nothing is lost");
    // The lease ran out before the first byte: not a failure of anybody.
    told.end_all(&Err(Undelivered::LeaseOver));
    told.world.settle();
    assert_eq!(told.states(1), ["mail-user owed 1", "webhook owed 1"]);
    assert_eq!(told.on_the_way().len(), 2, "begun again under a young commit");
}

#[test]
fn a_refusal_after_a_lost_answer_leaves_the_intent_also_when_somebody_else_is_to_be_told() {
    let mut told = Told::new(telling());
    let mut alone = person(1);
    alone.user.manager_id = Known::Empty;
    told.change(alone);
    let (id, _) = super::accounts::until(&mut told.world, Operation::is_write);
    told.world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
    while told.world.commit() {}
    told.change(under(person(1).version(2), 97));
    told.world.now = after(told.world.now, Duration::from_secs(60));
    told.world.give(Input::Tick);
    // Not shown yet: it is made once more, and that is refused.
    let (id, _) = super::accounts::until(&mut told.world, Operation::is_write);
    let link = |told: &Told| told.world.lane.links.get(&user_key(1)).unwrap();
    assert_eq!(link(&told).user_version, 2, "the books say whom to tell");
    told.world.end(id, Err(Failure::Reject(refusal("scim-invalid-value"))));
    while told.world.commit() {}
    assert!(link(&told).create_intent, "the first request may have made an account");
}
