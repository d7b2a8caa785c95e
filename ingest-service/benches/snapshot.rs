//! A snapshot of everyone against everyone published: CPU time, peak memory, bytes per user.
//!
//! Drives the writer as the shell does: messages of the topic at the start, then pages of 2,000 rows as the query API
//! gives them. A process of its own and one thread, so that its figures are the writer's; pages are written on the fly and
//! their making is not counted. `--users N`, `--changed-per-mille N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::collections::VecDeque;

use common::{ORG, org, people};
use ingest_service::{
    logic::{
        record::{CheckpointKey, Position, SnapshotMark},
        writer::{Effect, Input, Survey, SurveyKind, Writer},
    },
    published::{Message, Tables},
    topics,
};
use jiff::{SignedDuration, Timestamp};
use kafka_harness::figures::{machine, memory_bytes, size, thread_cpu_seconds};
use serde_json::Value;
use usher_contract::CloudEvent;
use usher_runtime::kafka::Record;

const PAGE_ROWS: u64 = 2_000;
/// Pages that the shell holds at once: being written, waiting, being read.
const PAGES_HELD: usize = 3;
const STREAM: &str = "/data/UserChangeEvent";

fn main() {
    let users = size("--users", 1_000_000, 20_000);
    let changed_per_mille = size("--changed-per-mille", 5, 5);
    println!(
        "snapshot of {users} users, {changed_per_mille} per mille changed, on {}",
        machine()
    );
    let empty = memory_bytes("VmRSS");
    let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    let mut writer = restore(users, now);
    let restored = memory_bytes("VmRSS");
    let per_user = (restored - empty) as f64 / users as f64;
    println!(
        "published users: {:.0} MiB resident, {per_user:.0} bytes per user",
        mebibytes(restored)
    );

    let survey = Survey {
        kind: SurveyKind::Query,
        began_at: now,
        window: None,
        listing: true,
        reimport: false,
        asked_at: now,
        routine: false,
    };
    let mut spent = Spent::default();
    spent.step(&mut writer, Input::SurveyBegan(survey), now);
    let mut held: VecDeque<Input> = VecDeque::new();
    let mut text = String::new();
    for first in (0..users).step_by(PAGE_ROWS as usize) {
        page(&mut text, first, users.min(first + PAGE_ROWS), changed_per_mille);
        let rows = spent.parse(&text);
        held.push_back(Input::SurveyRows { read_at: now, rows });
        if held.len() == PAGES_HELD {
            let input = held.pop_front().unwrap();
            spent.step(&mut writer, input, now);
        }
        spent.parse_alone(&text);
    }
    for input in held {
        spent.step(&mut writer, input, now);
    }
    let result = Ok(());
    let accept_size = false;
    spent.step(&mut writer, Input::SurveyEnded { result, accept_size }, now);

    // A bench of something that does not work measures nothing.
    let changed = (0..users)
        .filter(|number| is_changed(*number, changed_per_mille))
        .count() as u64;
    assert_eq!(
        (writer.counts().messages, writer.owed(), spent.messages),
        (changed, 0, changed)
    );
    assert_eq!(writer.position().snapshot.as_ref().map(|mark| mark.rows), Some(users));

    let (total, rows) = (spent.parse + spent.step, users as f64);
    let peak = memory_bytes("VmHWM");
    println!(
        "reading the pages: {:.2} s CPU, {:.1} µs per row",
        spent.parse,
        spent.parse / rows * 1e6
    );
    println!(
        "the writer:        {:.2} s CPU, {:.1} µs per row",
        spent.step,
        spent.step / rows * 1e6
    );
    println!(
        "together:          {total:.2} s CPU, {:.1} µs per row",
        total / rows * 1e6
    );
    println!("peak memory:       {:.0} MiB", mebibytes(peak));
    println!(
        "ratio: {:.2} of the CPU is spent on the text of the pages alone",
        spent.alone / total
    );
    println!("ratio: {:.2} of the 20 µs per row allowed", total / rows * 1e6 / 20.0);
    println!("ratio: {:.2} of the 512 MiB allowed", mebibytes(peak) / 512.0);
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Takes over from the topics, as at a start.
fn restore(users: u64, now: Timestamp) -> Writer {
    let mut tables = Tables::new(org(), STREAM);
    let fields = people::fields();
    for number in 0..users {
        let change = people::change(number, &fields);
        let headers = CloudEvent::of_user_change(&change, None).headers();
        let record = Record {
            partition: 0,
            offset: 0,
            key: Some(change.user.key().to_string().into_bytes()),
            value: Some(serde_json::to_vec(&change).unwrap()),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .collect(),
        };
        tables.user_change(Message::read(org(), &record.as_ref()));
    }
    let began_at = now - SignedDuration::from_hours(24);
    let position = Position {
        snapshot: Some(SnapshotMark { began_at, rows: users }),
        ..Position::new(topics::USER_CHANGE_PARTITIONS)
    };
    tables.checkpoint(&Record {
        partition: 0,
        offset: 0,
        key: Some(
            CheckpointKey::Position(ORG.parse().unwrap(), STREAM.to_owned())
                .text()
                .into_bytes(),
        ),
        value: Some(serde_json::to_vec(&position).unwrap()),
        headers: Vec::new(),
    });
    assert_eq!((tables.malformed, tables.restored.published.len() as u64), (0, users));
    Writer::restore(common::writer_config(), tables.restored, topics::USER_CHANGE_PARTITIONS)
}

fn is_changed(number: u64, per_mille: u64) -> bool {
    number % 1_000 < per_mille
}

/// A page as the query API writes it.
fn page(text: &mut String, first: u64, end: u64, changed_per_mille: u64) {
    text.clear();
    text.push_str(r#"{"totalSize":1000000,"done":false,"nextRecordsUrl":"/services/data/v67.0/query/01g5f00000000AA-2000","records":["#);
    for number in first..end {
        if number > first {
            text.push(',');
        }
        people::record(number, u64::from(is_changed(number, changed_per_mille)), text);
    }
    text.push_str("]}");
}

/// CPU seconds by what they were spent on.
#[derive(Default)]
struct Spent {
    parse: f64,
    step: f64,
    alone: f64,
    messages: u64,
}

impl Spent {
    fn parse(&mut self, text: &str) -> Vec<(usher_contract::UserId, ingest_service::logic::normalize::RawUser)> {
        let began = thread_cpu_seconds();
        let text = std::str::from_utf8(text.as_bytes()).unwrap();
        let mut page: Value = serde_json::from_str(text).unwrap();
        let Value::Array(records) = page["records"].take() else {
            panic!("no records")
        };
        let rows = records.into_iter().filter_map(people::row).collect();
        self.parse += thread_cpu_seconds() - began;
        rows
    }

    /// The reference: the text as JSON, and nothing done with it.
    fn parse_alone(&mut self, text: &str) {
        let began = thread_cpu_seconds();
        drop(serde_json::from_str::<Value>(text).unwrap());
        self.alone += thread_cpu_seconds() - began;
    }

    /// One input and the commits that follow it.
    fn step(&mut self, writer: &mut Writer, input: Input, now: Timestamp) {
        let began = thread_cpu_seconds();
        let mut effects = writer.step(input, now);
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Commit(batch) => {
                    self.messages += batch.changes.len() as u64;
                    effects.extend(writer.step(Input::Committed, now));
                }
                Effect::Read { .. } => panic!("nobody is to be read again"),
            }
        }
        self.step += thread_cpu_seconds() - began;
    }
}
