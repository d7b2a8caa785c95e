//! Writes to a fast SCIM application, from messages on a real Kafka, beside a plain HTTP load generator at the same
//! concurrency that sends the same requests to the same application.
//!
//! Rates are requests per second between the first and the last write at the application. `--people N`, `--concurrency N`,
//! `--rounds N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::time::Instant;

use common::{
    generator::{self, Mix},
    people,
    service::{Service, config, policies},
    sink::Sink,
    until,
};
use kafka_harness::{
    Kafka,
    figures::{machine, process_cpu_seconds, size},
};

const TARGET: &str = "helpdesk";

#[tokio::main]
async fn main() {
    let (many, concurrency) = (size("--people", 20_000, 1_000), size("--concurrency", 16, 16) as usize);
    let kafka = Kafka::shared().await;
    // An application that answers at once leaves only the CPU to compare; one that takes 5 ms is a fast one.
    for (answer_ms, many) in [(0, many), (5, many / 4)] {
        beside(&kafka, answer_ms, many, concurrency).await;
    }
}

async fn beside(kafka: &Kafka, answer_ms: u64, many: u64, concurrency: usize) {
    println!(
        "writes for {many} people, {concurrency} at once, answers after {answer_ms} ms, on {}",
        machine()
    );
    let (mut own, mut raw) = ([0.0_f64; 2], [0.0_f64; 2]);
    for round in 1..=size("--rounds", 3, 1) {
        let sink = Sink::start().await;
        sink.answers_after(answer_ms);
        let rates = service(kafka, &sink, many, concurrency).await;
        println!(
            "round {round}, service:   create {:>7.0}/s, update {:>7.0}/s",
            rates[0], rates[1]
        );
        own = [own[0].max(rates[0]), own[1].max(rates[1])];
        let [post, patch] = sink.bodies();
        sink.clear();
        let create = generator::run(&sink, Mix::Create, many, concurrency, &post).await;
        let update = generator::run(&sink, Mix::Update, many, concurrency, &patch).await;
        println!("round {round}, generator: create {create:>7.0}/s, update {update:>7.0}/s");
        raw = [raw[0].max(create), raw[1].max(update)];
    }
    println!(
        "create (look-up and POST): {:>7.0} requests/s; ratio: {:.2} of the generator",
        own[0],
        own[0] / raw[0]
    );
    println!(
        "update (PATCH):            {:>7.0} requests/s; ratio: {:.2} of the generator",
        own[1],
        own[1] / raw[1]
    );
}

/// Everybody is created, then everybody is updated. Requests per second of each.
async fn service(kafka: &Kafka, sink: &Sink, many: u64, concurrency: usize) -> [f64; 2] {
    let prefix = kafka.unique_prefix();
    let config = config(kafka, &prefix);
    apply_service::topics::all(&config.kafka).ensure().await.unwrap();
    people::publish(kafka, &prefix, 0..many, 0);
    let mut rates = [0.0; 2];
    for (edition, rate) in rates.iter_mut().enumerate() {
        // Written while nobody reads: publishing would take the cores that are measured.
        people::publish(kafka, &prefix, 0..many, edition as u64);
        let (cpu, began) = (process_cpu_seconds(), Instant::now());
        let asked = sink.requests();
        let service = Service::start(config.clone(), policies(&[(TARGET, &sink.url)], concurrency)).await;
        until("everybody is written", || sink.writes() as u64 >= many).await;
        service.until_rests(&[TARGET]).await;
        let writes = sink.take();
        assert_eq!((writes.len() as u64, sink.accounts() as u64), (many, many));
        let took = writes[writes.len() - 1].at - writes[0].at;
        // Not two per account: absence has to be proven, so a look-up may be several requests.
        let requests = sink.requests() - asked;
        *rate = requests as f64 / took.as_secs_f64();
        let (count, seconds) = service.commits(TARGET).await;
        println!(
            "  {requests} requests; {:.1} s from start to first write, {:.1} s to the last; {:.1} s CPU; {count} transactions of {:.1} ms",
            (writes[0].at - began).as_secs_f64(),
            took.as_secs_f64(),
            process_cpu_seconds() - cpu,
            seconds / count * 1e3
        );
        service.stop().await;
    }
    rates
}
