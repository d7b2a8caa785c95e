//! Debts that wait: they cost nothing while none of them is due, and none of them is forgotten.

use super::*;

/// What makes somebody due.
type Act = fn(&mut Bench);

/// Everybody's read has failed several times in a row: they wait for a minute.
fn all_wait() -> Bench {
    let mut bench = Bench::baseline();
    for who in 1..=9 {
        bench.event(who, 500, ChangeType::Gap, &[]);
    }
    bench.settle();
    for _ in 0..8 {
        fail_all(&mut bench);
        bench.clock += 60;
        bench.step(Input::Tick);
        assert_eq!(asked(&bench), 9);
    }
    fail_all(&mut bench);
    bench.settle();
    assert_eq!((bench.reads.len(), bench.writer.owed()), (0, 9));
    bench
}

fn fail_all(bench: &mut Bench) {
    for (ticket, _) in std::mem::take(&mut bench.reads) {
        bench.step(Input::Read {
            ticket,
            read_at: at(bench.clock),
            result: Err("503".into()),
        });
    }
}

fn asked(bench: &Bench) -> usize {
    bench.reads.iter().map(|(_, ids)| ids.len()).sum()
}

#[test]
fn debts_that_are_not_due_are_not_gone_through_at_every_step() {
    let mut bench = all_wait();
    let (walks, began) = (bench.writer.debts.walks, bench.clock);
    for second in 0..10 {
        // Of somebody who is owed, and of nobody who is.
        bench.update(3, 1_000 + second, &[("Title", json!("x"))]);
        bench.update(10, 1_000 + second, &[("Title", json!(second.to_string()))]);
        bench.settle();
        bench.clock = began + second;
    }
    assert_eq!(bench.writer.debts.walks, walks);
    bench.clock += 60;
    bench.step(Input::Tick);
    assert_eq!(asked(&bench), 9, "all are due again");
}

#[test]
fn whoever_becomes_due_before_the_others_is_asked_for_at_once() {
    let sooner: [(&str, u32, Act); 3] = [
        ("a debt of somebody else", 10, |bench| {
            bench.event(10, 2_000, ChangeType::Gap, &[]);
        }),
        ("an operator waits", 3, |bench| bench.step(Input::Reimport(id(3)))),
        ("lifted", 10, |bench| {
            bench.update(10, 2_000, &[("IsActive", json!(false))]);
            bench.settle();
            bench.step(Input::Erase { user: id(10), by: by() });
            bench.settle();
            bench.step(Input::Lift { user: id(10), by: by() });
        }),
    ];
    for (what, who, act) in sooner {
        let mut bench = all_wait();
        act(&mut bench);
        let ids: Vec<UserId> = bench.reads.iter().flat_map(|(_, ids)| ids.clone()).collect();
        assert_eq!(ids, [id(who)], "{what}");
    }
}

#[test]
fn an_event_of_somebody_found_gone_is_asked_for_although_the_others_wait() {
    let mut bench = Bench::new();
    bench.snapshot(SurveyKind::Query, 0, &rows(1..=400));
    bench.writer.config.batch_records_max = 3;
    bench.snapshot(SurveyKind::Query, 1000, &rows(7..=400));
    let (second, first) = (bench.reads.pop().unwrap(), bench.reads.pop().unwrap());
    let answer = |(ticket, ids): (Ticket, Vec<UserId>), result: Result<(), String>| Input::Read {
        ticket,
        read_at: at(1001),
        result: result.map(|()| Members {
            members: HashMap::new(),
            others: ids.into_iter().collect(),
        }),
    };
    bench.step(answer(first, Ok(())));
    bench.step(answer(second, Err("503".into())));
    bench.step(Input::Tick);
    assert!(bench.reads.is_empty());
    bench.update(2, 2_000, &[("Title", json!("here"))]);
    assert_eq!(asked(&bench), 1);
}
