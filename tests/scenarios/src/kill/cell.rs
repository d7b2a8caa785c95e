//! One cell: a target, the people it is for, and the point at which it is frozen.

use serde_json::{Value, json};
use target_sims::ScimSim;

use super::{people::People, point::Point};
use crate::{TargetSpec, open_target};

/// The partitions among which targets are shared out (topic `provisioning.target`).
const PARTITIONS: u32 = 48;
/// The one on which every cell lies; no matter which.
const PARTITION: u32 = 7;

/// A target with people of its own.
#[derive(Debug)]
pub struct Cell {
    pub point: Point,
    pub target: String,
    pub sim: ScimSim,
    pub people: People,
}

impl Cell {
    /// `number` tells it from every other cell of its stage.
    pub async fn new(point: Point, number: usize) -> Self {
        let sim = open_target().await;
        sim.set_behaviour(|behaviour| behaviour.patch_supported = point != Point::ReadFirst);
        Self {
            point,
            target: name(&point.to_string()),
            sim,
            people: People::new(number + 1),
        }
    }

    /// What its Kafka clients are called at the end.
    pub fn client(&self) -> String {
        format!("apply.{}", self.target)
    }

    /// Its policy, for a replica that shows this token.
    pub fn spec(&self, token_file: &std::path::Path) -> TargetSpec<'_> {
        let policy = json!({
            "sources": [self.people.org()],
            "connection": { "auth": { "bearerTokenFile": token_file }, "timeouts": { "request": "15s" } },
            "pace": { "perSecond": 500, "concurrency": 16 }, "retry": { "base": "100ms" },
        });
        TargetSpec {
            name: &self.target,
            base_url: self.sim.base_url(),
            policy,
        }
    }

    /// What differs from what people were told to be.
    pub fn differences(&self) -> Vec<String> {
        let differences = self.people.differences(&self.sim.users());
        differences
            .into_iter()
            .map(|difference| format!("{}: {difference}", self.target))
            .collect()
    }

    /// What a status says about it.
    pub fn status<'a>(&self, status: &'a Value) -> &'a Value {
        &status["targets"][&self.target]
    }
}

/// The first name that begins like this and lies on the one partition.
fn name(begin: &str) -> String {
    (0..10_000)
        .map(|number| format!("{begin}-{number}"))
        .find(|name| (murmur2(name.as_bytes()) & 0x7fff_ffff) % PARTITIONS == PARTITION)
        .expect("one name in 48 lies there")
}

/// The hash by which Java clients choose a partition (`Utils.murmur2` of Kafka).
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).expect("a short key");
    let mut hash = 0x9747_b28c ^ length;
    let mut chunks = key.chunks_exact(4);
    for chunk in &mut chunks {
        let word = chunk
            .iter()
            .rev()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
    }
    if !chunks.remainder().is_empty() {
        let rest = chunks.remainder().iter().rev();
        hash ^= rest.fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn the_hash_is_that_of_java_clients() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
