//! Held sets as operators page through them.

use super::*;
use crate::logic::writer::{HeldPage, held::Kept};

fn ids(people: impl IntoIterator<Item = u32>) -> BTreeSet<UserId> {
    people.into_iter().map(id).collect()
}

/// Two sets; the first one in three parts, with ids that lie between each other.
fn two_sets() -> Bench {
    let mut bench = Bench::new();
    bench
        .writer
        .hold(at(0), &ids((1..=9).step_by(2)), Kept::Removal, at(10));
    bench.writer.hold(at(0), &ids([2, 4]), Kept::Deactivation, at(11));
    bench.writer.hold(at(0), &ids([6, 8, 20, 21]), Kept::Removal, at(12));
    bench.writer.hold(at(1), &ids([30]), Kept::Deactivation, at(13));
    bench
}

fn members(page: &HeldPage) -> BTreeSet<UserId> {
    page.removals.iter().chain(&page.deactivations).copied().collect()
}

#[test]
fn pages_of_a_set_in_parts_join_up_whatever_their_size() {
    let bench = two_sets();
    let whole = bench.writer.held();
    let sizes = bench.writer.held_sizes();
    assert_eq!(sizes.values().copied().collect::<Vec<_>>(), [11, 1]);
    for limit in 1..=12 {
        let first = *sizes.keys().next().unwrap();
        let (mut removals, mut deactivations, mut after) = (BTreeSet::new(), BTreeSet::new(), None);
        loop {
            let pages = bench.writer.held_pages(Some(first), after, limit);
            let [page] = pages.as_slice() else { panic!("{pages:?}") };
            assert_eq!((page.id.as_str(), page.people), (first, 11));
            assert_eq!((page.began_at, page.held_at), (at(0), at(10)));
            let shown = members(page);
            assert!(
                shown.len() <= limit && shown.first().copied() > after,
                "{limit}: {page:?}"
            );
            removals.extend(page.removals.iter().copied());
            deactivations.extend(page.deactivations.iter().copied());
            let Some(next) = page.next else { break };
            assert_eq!((shown.last(), shown.len()), (Some(&next), limit), "a full page");
            after = Some(next);
        }
        assert_eq!(removals, whole[first].removals, "{limit}");
        assert_eq!(deactivations, whole[first].deactivations, "{limit}");
    }
}

#[test]
fn every_set_is_shown_unless_one_is_named_and_says_who_has_released_it() {
    let mut bench = two_sets();
    let sets: Vec<String> = bench.writer.held().into_keys().collect();
    let shown = |bench: &Bench, only: Option<&str>| -> Vec<(String, Option<Approval>)> {
        let pages = bench.writer.held_pages(only, None, 100).into_iter();
        pages.map(|page| (page.id, page.approved)).collect()
    };
    assert_eq!(shown(&bench, None), [(sets[0].clone(), None), (sets[1].clone(), None)]);
    assert_eq!(shown(&bench, Some("20990101T000000Z")), []);
    bench.writer.approve(&sets[1], &by());
    assert_eq!(shown(&bench, Some(&sets[1])), [(sets[1].clone(), Some(by()))]);
}
