//! Nobody waits for another, in one simulated clock. Targets share nothing that could be simulated: that one which never
//! answers leaves another alone is shown on the whole service (`tests/never_answers_kafka.rs`).

use super::world::with_people;
use crate::{
    connector::Operation,
    logic::testing::{Change, person},
};

#[test]
fn somebody_whose_request_never_ends_changes_nothing_for_the_others() {
    // What happened to five people and when, alone and beside a sixth whose write is never answered.
    let story = |hangs: bool| {
        let mut world = with_people(1..=6);
        if hangs {
            world.change(person(6).version(2).titled("B"));
            world.commit();
            let (_, operation) = world.pop();
            assert!(matches!(operation, Operation::Update { .. }), "{operation:?}");
            // Under way for ever: nobody will answer it.
            world.open.clear();
            world.settle();
        }
        world.outcomes.clear();
        let mut story = Vec::new();
        for second in 0..120_u64 {
            let change = person(u32::try_from(second % 5).unwrap() + 1).version(2 + second);
            world.change(if second % 7 == 0 {
                change.inactive()
            } else {
                change.titled(&format!("T{second}"))
            });
            if hangs && second == 60 {
                // What is newer of the sixth waits behind the write: never two at the same time.
                world.change(person(6).version(3).inactive());
            }
            world.pass(1);
            story.extend(world.writes.drain(..).map(|write| (second, write)));
        }
        let told: Vec<_> = world
            .outcomes
            .iter()
            .map(|outcome| (outcome.id.clone(), outcome.result))
            .collect();
        let status = world.lane.status();
        (story, told, status.pending, status.in_flight)
    };
    let (alone, beside) = (story(false), story(true));
    assert!(alone.0.len() > 100, "{}", alone.0.len());
    assert_eq!((alone.2, alone.3), (0, 0));
    assert_eq!(
        (beside.2, beside.3),
        (1, 1),
        "the sixth is still under way, and nobody else"
    );
    assert_eq!((alone.0, alone.1), (beside.0, beside.1));
}
