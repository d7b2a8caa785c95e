//! Re-reading users: members of the population with their state, and who else exists or has existed.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use tracing::warn;
use usher_contract::UserId;
use usher_runtime::{clock, shutdown::chain};

use super::{Parts, surveys};
use crate::{
    logic::{
        normalize::RawUser,
        population::{Population, QueryFields},
        writer::{Members, Ticket},
    },
    salesforce::{error::ApiError, rest::QueryPage},
};

const WHAT: &str = "reading users again";

/// Which read, when by the source's clock, and what it said.
pub(super) type ReadResult = (Ticket, Timestamp, Result<Members, String>);

/// The members among these users, and which of the rest can be seen at all, be it as deleted.
pub(super) async fn read(
    parts: Parts,
    population: Population,
    fields: QueryFields,
    ids: Vec<UserId>,
    ticket: Ticket,
) -> ReadResult {
    match members_among(&parts, &population, &fields, &ids).await {
        Ok((answer, at)) => (ticket, at, Ok(answer)),
        Err(error) => {
            warn!(reason = %chain(&error), "re-reading users failed; it is owed and tried again");
            (ticket, clock::now(), Err(error.to_string()))
        }
    }
}

/// What the source says about these users, and when.
async fn members_among(
    parts: &Parts,
    population: &Population,
    fields: &QueryFields,
    ids: &[UserId],
) -> Result<(Members, Timestamp), ApiError> {
    let first = parts.rest.query(WHAT, &population.query_ids(fields, ids)).await?;
    let (members, at) = read_all(parts, first).await?;
    let missing: Vec<UserId> = ids.iter().filter(|id| !members.contains_key(*id)).copied().collect();
    let others = if missing.is_empty() {
        HashSet::new()
    } else {
        // Whoever was deleted is shown as well, or could not be told from those whom we may not see.
        let soql = Population::query_existing(&missing);
        let first = parts.rest.query_with_deleted(WHAT, &soql).await?;
        read_all(parts, first).await?.0.into_keys().collect()
    };
    Ok((Members { members, others }, at))
}

async fn read_all(parts: &Parts, first: QueryPage) -> Result<(HashMap<UserId, RawUser>, Timestamp), ApiError> {
    let mut found = HashMap::new();
    let mut page = first;
    // The first page's moment: a later one would claim more than was read then.
    let at = page.at;
    loop {
        found.extend(page.records.into_iter().filter_map(surveys::user_row));
        match page.next {
            Some(next) => page = parts.rest.query_more(WHAT, &next).await?,
            None => return Ok((found, at)),
        }
    }
}

#[cfg(test)]
#[path = "reread_tests.rs"]
mod tests;
