//! Held sets as a table for people.

use crate::pipeline::{HeldPerson, HeldView};

/// One paragraph per set: since when, why, and who.
pub(super) fn table(sets: &[HeldView]) -> String {
    if sets.is_empty() {
        return "nothing is held".to_owned();
    }
    let paragraphs: Vec<String> = sets.iter().map(paragraph).collect();
    paragraphs.join("\n\n")
}

fn paragraph(set: &HeldView) -> String {
    let mut lines = vec![
        format!("set    {}", set.id),
        format!("since  {:.0}", set.held_at),
        format!("why    {}", set.reason),
    ];
    if let Some(by) = &set.approved {
        lines.push(format!(
            "       released by {} at {:.0}: {}; its members are being read again",
            by.actor, by.at, by.reason
        ));
    }
    lines.push(format!("who    {} people", set.people));
    let people = |kind: &'static str, people: &[HeldPerson]| {
        people
            .iter()
            .map(move |person| {
                let name = person.username.as_deref().unwrap_or("-");
                format!("       {kind:<12} {}  {name}", person.id)
            })
            .collect::<Vec<_>>()
    };
    lines.extend(people("removal", &set.removals));
    lines.extend(people("deactivation", &set.deactivations));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_shows_since_when_why_and_who() {
        let set: HeldView = serde_json::from_value(serde_json::json!({
            "id": "20260102T000000Z", "reason": "too many", "snapshotBeganAt": "2026-01-02T00:00:00Z",
            "heldAt": "2026-01-02T00:01:00.123Z", "people": 2,
            "removals": [{ "id": "005ZL000000M0x1YAC", "username": "ada@acme.example" }],
            "deactivations": [{ "id": "0055f000005mc66AAA" }],
        }))
        .unwrap();
        assert_eq!(
            table(&[set]),
            "set    20260102T000000Z\nsince  2026-01-02T00:01:00Z\nwhy    too many\nwho    2 people\n       removal      005ZL000000M0x1YAC  ada@acme.example\n       deactivation 0055f000005mc66AAA  -"
        );
        assert_eq!(table(&[]), "nothing is held");
    }
}
