//! Tests of decoding, with events built by hand from a schema of the true shape.

use apache_avro::{types::Value as Avro, writer::datum::GenericDatumWriter};

use super::*;

const SCHEMA: &str = r#"{"type":"record","name":"UserChangeEvent","namespace":"com.sforce.eventbus","fields":[
 {"name":"ChangeEventHeader","doc":"Data:ComplexValueType","type":{"type":"record","name":"ChangeEventHeader","fields":[
   {"name":"entityName","type":"string"},{"name":"recordIds","type":{"type":"array","items":"string"}},
   {"name":"changeType","type":{"type":"enum","name":"ChangeType","symbols":["CREATE","UPDATE","DELETE","UNDELETE","GAP_CREATE","GAP_UPDATE","GAP_DELETE","GAP_UNDELETE","GAP_OVERFLOW","SNAPSHOT","MERGE"]}},
   {"name":"changeOrigin","type":"string"},{"name":"transactionKey","type":"string"},{"name":"sequenceNumber","type":"int"},
   {"name":"commitTimestamp","type":"long"},{"name":"commitNumber","type":"long"},{"name":"commitUser","type":"string"},
   {"name":"nulledFields","type":{"type":"array","items":"string"}},{"name":"diffFields","type":{"type":"array","items":"string"}},
   {"name":"changedFields","type":{"type":"array","items":"string"}}]}},
 {"name":"Username","type":["null","string"],"default":null},
 {"name":"Name","default":null,"type":["null","string",{"type":"record","name":"PersonName","fields":[
   {"name":"Salutation","type":["null","string"],"default":null},{"name":"FirstName","type":["null","string"],"default":null},{"name":"LastName","type":["null","string"],"default":null}]}]},
 {"name":"IsActive","type":["null","boolean"],"default":null},
 {"name":"LastModifiedDate","type":["null","long"],"default":null},
 {"name":"Manager__Name","type":["null","PersonName"],"default":null}]}"#;

const ADA: &str = "005ZL000000M0x1YAC";

fn schema() -> Schema {
    Schema::parse_str(SCHEMA).unwrap()
}

fn strings(items: &[&str]) -> Avro {
    Avro::Array(items.iter().map(|item| Avro::String((*item).to_owned())).collect())
}

fn some(index: u32, value: Avro) -> Avro {
    Avro::Union(index, Box::new(value))
}

fn null() -> Avro {
    some(0, Avro::Null)
}

struct Event {
    entity: &'static str,
    kind: (u32, &'static str),
    ids: Vec<&'static str>,
    changed: Vec<&'static str>,
    nulled: Vec<&'static str>,
    diff: Vec<&'static str>,
    active: Avro,
    name: Avro,
}

fn update(changed: &[&'static str]) -> Event {
    Event {
        entity: "User",
        kind: (1, "UPDATE"),
        ids: vec![ADA],
        changed: changed.to_vec(),
        nulled: vec![],
        diff: vec![],
        active: null(),
        name: null(),
    }
}

impl Event {
    fn bytes(self) -> Vec<u8> {
        let header = Avro::Record(vec![
            ("entityName".into(), Avro::String(self.entity.into())),
            ("recordIds".into(), strings(&self.ids)),
            ("changeType".into(), Avro::Enum(self.kind.0, self.kind.1.into())),
            ("changeOrigin".into(), Avro::String(String::new())),
            ("transactionKey".into(), Avro::String("tx".into())),
            ("sequenceNumber".into(), Avro::Int(1)),
            ("commitTimestamp".into(), Avro::Long(1_767_312_000_123)),
            ("commitNumber".into(), Avro::Long(11_529_215_046_068)),
            ("commitUser".into(), Avro::String(ADA.into())),
            ("nulledFields".into(), strings(&self.nulled)),
            ("diffFields".into(), strings(&self.diff)),
            ("changedFields".into(), strings(&self.changed)),
        ]);
        let event = Avro::Record(vec![
            ("ChangeEventHeader".into(), header),
            ("Username".into(), null()),
            ("Name".into(), self.name),
            ("IsActive".into(), self.active),
            ("LastModifiedDate".into(), some(1, Avro::Long(1_767_312_000_000))),
            ("Manager__Name".into(), null()),
        ]);
        GenericDatumWriter::builder(&schema())
            .build()
            .unwrap()
            .write_value_to_vec(event)
            .unwrap()
    }
    fn decode(self) -> ChangeEvent {
        decode(&schema(), &self.bytes()).unwrap()
    }
}

fn full_name() -> Avro {
    let field = |name: &str, value| (name.to_owned(), value);
    some(
        2,
        Avro::Record(vec![
            field("Salutation", null()),
            field("FirstName", null()),
            field("LastName", some(1, Avro::String("Byron".into()))),
        ]),
    )
}

#[test]
fn only_what_the_bitmaps_name_is_changed() {
    // IsActive (3) and LastModifiedDate (4); Username is null in the body and not named: untouched.
    let event = Event {
        active: some(1, Avro::Boolean(false)),
        ..update(&["0x18"])
    }
    .decode();
    assert_eq!(
        event.delta,
        Delta::from([
            ("IsActive".into(), json!(false)),
            ("LastModifiedDate".into(), json!(1_767_312_000_000_i64))
        ])
    );
    assert_eq!(event.reread, None);
    assert_eq!(event.header.concerned, Concerned::Users(vec![ADA.parse().unwrap()]));
}

#[test]
fn a_named_field_that_is_null_has_been_cleared() {
    assert_eq!(
        update(&["0x02"]).decode().delta,
        Delta::from([("Username".into(), Json::Null)])
    );
}

#[test]
fn nested_bitmaps_name_children_through_a_three_way_union() {
    let event = Event {
        name: full_name(),
        ..update(&["2-0x06"])
    }
    .decode();
    assert_eq!(
        event.delta,
        Delta::from([
            ("Name.FirstName".into(), Json::Null),
            ("Name.LastName".into(), json!("Byron"))
        ])
    );
}

#[test]
fn a_compound_that_comes_undivided_is_read_again() {
    for name in [some(1, Avro::String("Ada Byron".into())), null()] {
        let event = Event {
            name,
            nulled: vec!["0x04"],
            ..update(&["0x04"])
        };
        assert_eq!(event.decode().reread, Some("a compound field came as a whole"));
    }
}

#[test]
fn a_compound_type_named_by_reference_is_resolved() {
    let event = update(&["5-0x04"]).decode();
    assert_eq!(
        event.delta,
        Delta::from([("Manager__Name.LastName".into(), Json::Null)])
    );
}

#[test]
fn a_bit_beyond_the_schema_makes_it_a_gap() {
    let event = update(&["0x8000"]).decode();
    assert!(event.reread.is_some());
    assert!(event.delta.is_empty());
}

#[test]
fn differences_and_unknown_kinds_are_read_again() {
    assert!(
        Event {
            diff: vec!["0x02"],
            ..update(&["0x02"])
        }
        .decode()
        .reread
        .is_some()
    );
    let merge = Event {
        kind: (10, "MERGE"),
        ..update(&[])
    }
    .decode();
    assert_eq!(
        (merge.header.change_type, merge.reread),
        (ChangeType::Gap, Some("gap event"))
    );
}

#[test]
fn wildcards_and_overflow_concern_everyone() {
    assert_eq!(
        Event {
            ids: vec!["005*"],
            ..update(&[])
        }
        .decode()
        .header
        .concerned,
        Concerned::Everyone
    );
    let overflow = Event {
        kind: (8, "GAP_OVERFLOW"),
        ids: vec!["000000000000000AAA"],
        ..update(&[])
    };
    assert_eq!(overflow.decode().header.concerned, Concerned::Everyone);
}

#[test]
fn a_broken_body_still_gives_its_header() {
    let mut bytes = update(&["0x02"]).bytes();
    bytes.truncate(bytes.len() - 3);
    let error = decode(&schema(), &bytes).unwrap_err();
    assert_eq!(
        error.header.unwrap().concerned,
        Concerned::Users(vec![ADA.parse().unwrap()])
    );
    assert!(decode(&schema(), b"\xff\xff").unwrap_err().header.is_none());
    let mut longer = update(&["0x02"]).bytes();
    longer.push(0);
    assert!(
        decode(&schema(), &longer)
            .unwrap_err()
            .reason
            .contains("1 bytes follow")
    );
}

#[test]
fn an_event_of_another_object_is_nobodys_also_when_its_body_is_broken() {
    let account = || Event {
        entity: "Account",
        ids: vec!["001000000000001AAA"],
        ..update(&["0x02"])
    };
    let event = account().decode();
    assert_eq!((event.header.concerned, event.delta.len()), (Concerned::OtherObject, 0));
    let mut bytes = account().bytes();
    bytes.truncate(bytes.len() - 3);
    let error = decode(&schema(), &bytes).unwrap_err();
    assert_eq!(error.header.unwrap().concerned, Concerned::OtherObject);
}
