//! The kill matrix of apply-service: whoever runs a target is killed, or stopped and woken, at every step of the work.
//!
//! Afterwards each target is what people were told to be, each has one owner and each person one account. The target's record
//! of requests shows that nobody wrote outside the lease, over a successor, or out of order.
//!
//! | Struck | Points, a cell each (`Point`, `Step`) |
//! |---|---|
//! | at work | looked up · intent open · intent committed · read before a replacement · on the wire · unanswered · answered, records under way · in the commit · committed, not known yet |
//! | while it hands back | the same, look-ups aside · the end of the hand-back in the commit · committed, not known yet |
//! | while it takes over | fencing · mark in the commit · mark committed, not known yet · reading links; then its successor, waiting out the lease |
//!
//! Each by SIGKILL and by SIGSTOP with SIGCONT, with one, two and three replicas. In every cell people come, change, leave and
//! return, and while nobody can act they stay so, change once more, or change back.
//!
//! Steps are not hit by luck: the simulated target and a proxy in front of the broker keep a request or an answer until the
//! strike, and the test fails if a cell has moved on by itself. What they have kept arrives late, as in a slow network: calls on
//! the wire while a successor waits for just that, Kafka requests of the struck one after its successor's. A hand-back is begun
//! by SIGTERM; a rebalance begins the same step of the same machine (`apply-service/src/logic/ownership.rs`), but nobody can
//! say which partitions it moves.
//!
//! Cannot be arranged from outside: a freeze between the check of the lease and the first byte on the wire.
//!
//! Mistakes that were made on purpose, and the cell that found each:
//!
//! | Mistake | Found by |
//! |---|---|
//! | the sender ignores the lease | read first, stopped |
//! | a lease counts from the answer of a commit | intent committed, stopped |
//! | a successor does not wait for the lease | on the wire, killed |
//! | no fence: a transactional id per run | every cell, stopped |
//! | an intent of somebody who has left is not looked up | on the wire, unanswered, recording and both commits, killed |
//! | links are not doubted | the same |
//! | handed back with calls under way | read first, killed in the hand-back |
//! | a deposed owner never comes back | fencing, killed |
//!
//! Not found here: a restore that ends before its mark, because what it misses is like what was never recorded, and is
//! doubted; and a deposed owner that fences back at once, which only makes two owners depose each other for a while (the tests of
//! `apply-service/src/logic/ownership.rs` find that one).
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::time::Duration;

use scenarios::{
    KafkaProxy,
    kill::{Cell, Group, Point, Round, Signal, Stage},
};

/// What a wrong owner needs to do wrong when nothing keeps it from it. Nothing is asserted about it: longer would only make a
/// mistake more certain to be seen.
const TEMPTATION: Duration = Duration::from_secs(2);

/// Everybody.
fn all(_: &Cell) -> Vec<Group> {
    use Group::{Changed, Leaver, Neighbour, Newcomer, Returner};
    vec![Neighbour, Newcomer, Changed, Leaver, Returner]
}

/// Strikes the owner of cells that are frozen at these points, perhaps after it was told to hand back.
async fn strike(points: &[Point], replicas: usize, signal: Signal, in_drain: bool) {
    let mut stage = Stage::set(points, replicas, signal).await;
    let owner = stage.who("every cell is active", |_, state, _| state == "active").await;
    stage.freeze(owner).await;
    if in_drain {
        stage.replicas[owner].service.process.sigterm();
        stage
            .who("every cell hands back", |_, state, _| state == "draining")
            .await;
        for cell in stage.cells.iter().filter(|cell| cell.point.ends_hand_back()) {
            cell.point.in_transaction(cell, &stage.replicas[owner].proxy).await;
        }
    }
    stage.assert_frozen(owner);
    stage.replicas[owner].strike(signal);
    // Answers may come: of the killed one nobody hears them, with the stopped one they lie in its socket.
    let on_the_wire = |cell: &Cell| cell.point == Point::OnTheWire;
    stage
        .cells
        .iter()
        .filter(|cell| !on_the_wire(cell))
        .for_each(|cell| cell.sim.open_gate());
    stage.meanwhile().await;

    let alone = replicas == 1 && signal == Signal::Stop;
    if alone {
        // Nobody is there to take over: the group has nobody left.
        stage.shared_out(0).await;
    } else {
        if replicas == 1 {
            stage.start_replica(|_, _| {}).await;
        }
        // Calls on the wire take effect as late as they may: when a successor is there and waits for just that.
        let there = |_: &Cell, state: &str, _: &KafkaProxy| ["waiting", "active"].contains(&state);
        stage.who("a successor has fenced every cell", there).await;
        tokio::time::sleep(TEMPTATION).await;
        stage.cells.iter().for_each(|cell| cell.sim.open_gate());
        stage.equal("the successor has done everything").await;
    }
    stage.cells.iter().for_each(|cell| cell.sim.open_gate());
    // What the network has kept of the struck one reaches the broker, or the one itself when it wakes.
    stage.replicas[owner].proxy.let_all_on();
    wake(&mut stage, &[owner], signal, in_drain).await;
    if in_drain && alone {
        stage.start_replica(|_, _| {}).await;
    }
    end(stage, if alone && !in_drain { 1 } else { 2 }).await;
}

/// Wakes whoever was stopped, while there is more to do for everybody.
async fn wake(stage: &mut Stage, struck: &[usize], signal: Signal, in_drain: bool) {
    stage.say(Round::Afterwards, all).await;
    if signal == Signal::Kill {
        return;
    }
    for number in struck {
        stage.replicas[*number].service.process.sigcont();
    }
    for number in struck {
        if in_drain {
            stage.replicas[*number].service.process.wait(scenarios::PATIENCE).await;
        } else {
            stage.replicas[*number].lives = true;
        }
    }
}

/// Waits for the right end, and judges how it came about. So many replicas have written at least.
async fn end(stage: Stage, writers_min: usize) {
    stage.one_owner_each().await;
    stage.equal("everything is as it should be in the end").await;
    tokio::time::sleep(TEMPTATION).await;
    stage.equal("and stays so").await;
    stage.judge(writers_min).await;
    stage.end().await;
}

/// Strikes an owner, then its successor at every step of taking over, then the successor's successor while it waits out the
/// lease. Somebody new comes for each, so that there are always as many as there were.
async fn strike_in_take_over(replicas: usize, signal: Signal) {
    let mut stage = Stage::set(&Point::TAKE_OVER, replicas, signal).await;
    let owner = stage.who("every cell is active", |_, state, _| state == "active").await;
    stage.freeze(owner).await;
    stage.assert_frozen(owner);
    // Whoever is alone could not wake to find a successor.
    let first = if replicas == 1 { Signal::Kill } else { signal };
    // Its fence comes when it has been overtaken, and deposes the rightful owner, who must regain the target. Somebody alone
    // is not overtaken.
    let late = replicas > 1 || signal == Signal::Kill;
    let hinder = |cells: &[Cell], proxy: &KafkaProxy| {
        for cell in cells {
            if let Point::TakeOver(step) = cell.point {
                step.keep(cell, proxy, late);
            }
        }
    };
    let standing_by = stage.replicas.iter().enumerate().filter(|(number, _)| *number != owner);
    standing_by.for_each(|(_, replica)| hinder(&stage.cells, &replica.proxy));
    stage.replicas[owner].strike(first);
    stage.cells.iter().for_each(|cell| cell.sim.open_gate());
    stage.meanwhile().await;
    stage.start_replica(hinder).await;

    let reached = |cell: &Cell, state: &str, proxy: &KafkaProxy| match cell.point {
        Point::TakeOver(step) => step.is_reached(cell, state, proxy),
        _ => false,
    };
    stage.shared_out(replicas).await;
    let successor = stage.who("every step of a take-over is reached", reached).await;
    let others = stage
        .replicas
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != successor);
    others.for_each(|(_, replica)| replica.proxy.let_all_on());
    stage.replicas[successor].strike(signal);

    let waits = |_: &Cell, state: &str, _: &KafkaProxy| state == "waiting";
    let mut struck = vec![successor];
    struck.extend((first == Signal::Stop).then_some(owner));
    if replicas == 1 && signal == Signal::Stop {
        // Nobody takes over from it: it wakes, goes on, and is stopped once more while it waits.
        stage.shared_out(0).await;
        wake_alone(&mut stage, successor);
        stage.who("it waits out the lease", waits).await;
        stage.replicas[successor].strike(signal);
        stage.shared_out(0).await;
        wake_alone(&mut stage, successor);
        stage.say(Round::Afterwards, all).await;
    } else {
        stage.start_replica(|_, _| {}).await;
        let third = stage.who("a second successor waits out the lease", waits).await;
        stage.replicas[third].strike(signal);
        struck.push(third);
        stage.start_replica(|_, _| {}).await;
        stage.equal("the last successor has done everything").await;
        // A fence that meets a commit is sent back, and somebody dead does not send it again.
        stage.at_rest().await;
        tokio::time::sleep(TEMPTATION).await;
        for number in &struck {
            stage.replicas[*number].proxy.let_all_on();
        }
        wake(&mut stage, &struck, signal, false).await;
        if signal == Signal::Kill {
            // The members of the group stay the same: only the deposed owner itself can come back.
            stage.the_last_owner_was_deposed().await;
        }
    }
    end(stage, 2).await;
}

fn wake_alone(stage: &mut Stage, number: usize) {
    stage.replicas[number].proxy.let_all_on();
    stage.replicas[number].service.process.sigcont();
    stage.replicas[number].lives = true;
}

/// With one, two and three replicas, side by side: most of it is waiting.
async fn with_every_number<F: Future<Output = ()>>(play: impl Fn(usize) -> F) {
    tokio::join!(play(1), play(2), play(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_of_its_work() {
    with_every_number(|replicas| strike(&Point::WORK, replicas, Signal::Kill, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_point_of_its_work_and_woken_beside_its_successor() {
    with_every_number(|replicas| strike(&Point::WORK, replicas, Signal::Stop, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_while_it_hands_back() {
    with_every_number(|replicas| strike(&Point::HAND_BACK, replicas, Signal::Kill, true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_point_while_it_hands_back_and_woken_beside_its_successor() {
    with_every_number(|replicas| strike(&Point::HAND_BACK, replicas, Signal::Stop, true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_taking_over() {
    with_every_number(|replicas| strike_in_take_over(replicas, Signal::Kill)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_step_of_taking_over_and_woken_beside_its_successors() {
    with_every_number(|replicas| strike_in_take_over(replicas, Signal::Stop)).await;
}
