//! Surveys against a simulated org: none spends the reserve of API requests, whatever it reads from.

use salesforce_sim::{Sim, SimConfig};

use super::*;
use crate::{
    logic::{
        normalize::Fields,
        quota::{Means, Permit},
    },
    pipeline::simulated,
};

/// Requests outside of the reserve: enough to begin, too few for all pages.
const MOST: u64 = 12;

/// Reads a snapshot of many small pages in an org that keeps almost everything in reserve. What came of it, how many rows were
/// handed over, and how many requests of that kind were made.
async fn read(source: &str, kind: SurveyKind, request: (&str, &str)) -> (Result<u64, String>, u64, u64) {
    let sim = Sim::start(SimConfig {
        users: 150,
        daily_api_requests: 1_000,
        max_report_rows: 5,
        query_batch: 5,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let more = format!(
        "snapshot: {{ source: {source}, report: {{ name: All Users }}, bulk: {{ pageRecords: 5 }} }}\n\
         quota: {{ stretchFrom: 100%, pauseAtMost: 1s, reserve: {{ apiRequests: {} }} }}",
        1_000 - MOST
    );
    let parts = simulated::parts(&sim, folder.path(), &more);
    let described = parts.rest.describe_user().await.unwrap();
    let (inputs, mut taken) = mpsc::channel(1);
    let job = Job {
        kind,
        listing: true,
        reimport: false,
        accept_size: false,
        from: None,
        asked_at: Timestamp::UNIX_EPOCH,
        to_now: false,
    };
    let reading = Reading {
        parts: parts.clone(),
        job,
        purpose: Purpose::Snapshot,
        population: Population::new("UserType != 'Guest'", &[], &[]),
        fields: QueryFields::new(&Fields::default(), |name| described.contains_key(name)),
        inputs,
        watch: Watch::default(),
    };
    let take = async {
        let mut rows = 0;
        while let Some(input) = taken.recv().await {
            if let Input::SurveyRows { rows: some, .. } = input {
                rows += some.len() as u64;
            }
        }
        rows
    };
    let (read, rows) = tokio::join!(run(reading), take);
    let left = parts.rest.quota().allows(Purpose::Snapshot, Means::Requests);
    assert!(matches!(left, Permit::Wait(_)), "{source}: {left:?}");
    let requests = sim.org().request_log().count(request.0, request.1);
    (read, rows, requests)
}

#[tokio::test]
async fn no_source_spends_the_reserve_for_its_pages() {
    let sources = [
        ("query", SurveyKind::Query, ("GET", "/query/{id}")),
        ("report", SurveyKind::Report, ("POST", "/analytics/reports/{id}")),
        ("bulk", SurveyKind::Query, ("GET", "/jobs/query/{id}/results")),
    ];
    for (source, kind, request) in sources {
        let (read, rows, pages) = read(source, kind, request).await;
        let why = read.unwrap_err();
        assert!(
            why.contains("quota.reserve.apiRequests (988)") && why.contains("quota.pauseAtMost"),
            "{source}: {why}"
        );
        assert!(rows > 0 && pages > 0, "{source}: {rows} rows of {pages} pages");
        assert!(
            rows <= MOST * 5 && pages <= MOST,
            "{source}: {rows} rows of {pages} pages"
        );
    }
}
