//! Change events per core: decode, merge into the published state, compare, batch; beside raw Avro decoding alone.
//!
//! One thread, no network. `--users N`, `--events N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench"
)]

mod common;

use apache_avro::{Schema, reader::datum::GenericDatumReader};
use common::{events, people};
use ingest_service::logic::{
    change_event::decode,
    record::{Position, SnapshotMark},
    table::Published,
    writer::{Effect, Input, Restored, StreamEvent, Writer},
};
use jiff::Timestamp;
use kafka_harness::figures::{machine, size, thread_cpu_seconds};

/// Events in one answer of the stream.
const ANSWER: usize = 100;
/// When the first event is committed: long after the last read of everyone.
const FIRST_COMMIT_MS: i64 = 1_800_000_000_000;

fn main() {
    let (users, count) = (size("--users", 50_000, 2_000), size("--events", 400_000, 10_000));
    println!("{count} change events of {users} users on {}", machine());
    let schema = events::schema();
    // Payloads are made beforehand, as many as there are users; each round brings other values.
    let payloads: Vec<Vec<u8>> = (0..count)
        .map(|commit| events::payload(&schema, commit % users, commit, FIRST_COMMIT_MS + commit as i64))
        .collect();
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    println!("{} bytes per event", bytes / payloads.len());

    let raw = per_second(count, || {
        for payload in &payloads {
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            drop(reader.read_value(&mut payload.as_slice()).unwrap());
        }
    });
    let decoded = per_second(count, || {
        for payload in &payloads {
            assert!(decode(&schema, payload).unwrap().reread.is_none());
        }
    });
    let mut writer = restore(users);
    let staged = per_second(count, || run(&mut writer, &schema, &payloads));
    assert_eq!((writer.counts().messages, writer.owed()), (count, 0));
    println!("raw Avro:                {raw:>9.0} events/s");
    println!("decoded:                 {decoded:>9.0} events/s");
    println!("decoded, merged, staged: {staged:>9.0} events/s per core");
    println!("ratio: {:.2} of raw Avro decoding", staged / raw);
}

fn per_second(count: u64, work: impl FnOnce()) -> f64 {
    let began = thread_cpu_seconds();
    work();
    count as f64 / (thread_cpu_seconds() - began)
}

fn restore(users: u64) -> Writer {
    let fields = people::fields();
    let mut restored = Restored::default();
    for number in 0..users {
        let person = Published::restored(people::change(number, &fields));
        restored.published.insert(person.user.id, person);
    }
    let began_at = "2026-11-22T02:00:00Z".parse().unwrap();
    restored.position = Some(Position {
        snapshot: Some(SnapshotMark { began_at, rows: users }),
        ..Position::new(12)
    });
    Writer::restore(common::writer_config(), restored, 12)
}

/// From bytes to committed batches.
fn run(writer: &mut Writer, schema: &Schema, payloads: &[Vec<u8>]) {
    let mut replay = 0_u64;
    for (answer, payloads) in payloads.chunks(ANSWER).enumerate() {
        let events = payloads.iter().map(|payload| {
            replay += 1;
            StreamEvent {
                replay_id: format!("{replay:016}"),
                schema_id: "schema".to_owned(),
                payload: String::new(),
                event: decode(schema, payload),
            }
        });
        let now = Timestamp::from_millisecond(FIRST_COMMIT_MS + (answer * ANSWER) as i64).unwrap();
        let mut effects = writer.step(Input::Events(events.collect()), now);
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Commit(_) => effects.extend(writer.step(Input::Committed, now)),
                Effect::Read { .. } => panic!("nobody is to be read again"),
            }
        }
    }
}
