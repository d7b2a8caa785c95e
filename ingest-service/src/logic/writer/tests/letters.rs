//! Dead letters, and events that are nobody's.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::*;

fn broken(bench: &mut Bench, bytes: &[u8], header: Option<Header>) {
    bench.replay += 1;
    let event = StreamEvent {
        replay_id: format!("r{}", bench.replay),
        schema_id: "s".into(),
        payload: BASE64.encode(bytes),
        event: Err(DecodeError {
            reason: "payload does not fit the schema".into(),
            header: header.map(Box::new),
        }),
    };
    bench.step(Input::Events(vec![event]));
    bench.settle();
}

fn foreign() -> Header {
    Header {
        change_type: ChangeType::Update,
        concerned: Concerned::OtherObject,
        committed_at: at(2_000),
        commit_number: 1,
        transaction_key: "tx".into(),
        commit_user: String::new(),
    }
}

#[test]
fn a_letter_has_reason_remedy_and_the_bytes_as_they_came() {
    let mut bench = Bench::baseline();
    broken(&mut bench, b"\xff\x00bytes", None);
    let letter = &bench.letters[0];
    assert_eq!(letter.reason, "payload does not fit the schema");
    assert_eq!(
        letter.remedy,
        "everyone touched since the last good event is read again"
    );
    assert_eq!(BASE64.decode(&letter.payload).unwrap(), b"\xff\x00bytes");
    assert_eq!(letter.cut, None);
}

#[test]
fn a_letter_that_is_too_long_says_what_it_was() {
    // `head -c 600000 /dev/zero | sha256sum`
    for (bytes, cut) in [
        (525_000, None),
        (
            600_000,
            Some("1358f4ce65f0d1ed482d572e4eac6ea90d465c0ab878f477297474f8f23226c3"),
        ),
    ] {
        let mut bench = Bench::baseline();
        broken(&mut bench, &vec![0; bytes], None);
        let letter = &bench.letters[0];
        let kept = BASE64.decode(&letter.payload).unwrap();
        assert_eq!(kept, vec![0; bytes.min(525_000)]);
        let said = letter.cut.as_ref().map(|cut| (cut.bytes, cut.sha256.as_str()));
        assert_eq!(said, cut.map(|hash| (bytes as u64, hash)));
    }
}

#[test]
fn events_of_other_objects_are_counted_and_passed_over() {
    let mut bench = Bench::baseline();
    bench.received(Ok(ChangeEvent {
        header: foreign(),
        delta: Delta::new(),
        reread: None,
    }));
    broken(&mut bench, b"x", Some(foreign()));
    assert_eq!(
        (bench.letters.len(), bench.writer.owed(), bench.kinds().len()),
        (0, 0, 0)
    );
    let counts = bench.writer.counts();
    assert_eq!((counts.events, counts.foreign, counts.undecodable), (2, 2, 0));
    let position = bench.topics.position.clone().unwrap();
    assert_eq!(
        position.replay_id.as_deref(),
        Some(format!("r{}", bench.replay).as_str()),
        "the position moves on"
    );
}
