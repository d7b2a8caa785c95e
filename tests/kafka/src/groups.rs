//! How a consumer group has shared out its partitions.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::broker::{Kafka, blocking};

/// Longer than any answer of a healthy local broker, short enough to ask again in time.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Kafka {
    /// How many partitions each member has, ascending; `None` while the group rebalances or cannot be asked. A group that
    /// nobody is a member of has no shares.
    pub async fn group_shares(&self, group: &str) -> Option<Vec<usize>> {
        let (mut config, group) = (self.client_config(), group.to_owned());
        blocking(move || {
            let client: BaseConsumer = config
                .set("group.id", "test-observer")
                .create()
                .expect("the consumer settings are valid");
            let groups = client.fetch_group_list(Some(&group), TIMEOUT).ok()?;
            let group = groups.groups().first()?;
            match group.state() {
                "Empty" | "Dead" => Some(Vec::new()),
                "Stable" => {
                    let members = group.members().iter();
                    let mut shares: Vec<usize> =
                        members.map(|member| share(member.assignment()).unwrap_or(0)).collect();
                    shares.sort_unstable();
                    Some(shares)
                }
                _ => None,
            }
        })
        .await
    }
}

/// The partitions in a `ConsumerProtocolAssignment` (Kafka's ConsumerProtocol): version, then topics with their partitions.
fn share(assignment: Option<&[u8]>) -> Option<usize> {
    let mut rest = assignment?.get(2..)?;
    let mut number = |bytes: usize| {
        let (taken, left) = rest.split_at_checked(bytes)?;
        rest = left;
        let value = taken
            .iter()
            .fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
        Some(value)
    };
    let mut partitions = 0;
    for _ in 0..number(4)? {
        let name = number(2)?;
        for _ in 0..name {
            number(1)?;
        }
        let count = number(4)?;
        for _ in 0..count {
            number(4)?;
        }
        partitions += count;
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_every_topic_are_counted() {
        let assignment = [
            &[0, 1, 0, 0, 0, 1, 0, 2][..],
            b"ab",
            &[0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(share(Some(&assignment)), Some(2));
        assert_eq!(share(Some(&[])), None);
        assert_eq!(share(None), None);
    }
}
