//! The bytes of a file, and what other readers make of them.

use proptest::prelude::*;

use super::{
    super::{
        book::Row,
        render::{Rendered, read, render},
    },
    *,
};

fn list(rows: &[(&str, &str)], more: &Value) -> (Rendered, RosterConfig) {
    let config = config(more);
    let rows: BTreeMap<RemoteId, Row> = rows
        .iter()
        .enumerate()
        .map(|(number, (email, name))| {
            let values = [(path("userName"), json!(email)), (path("displayName"), json!(name))].into();
            (
                RemoteId(format!("{number:04}")),
                Row {
                    holder: None,
                    values,
                    on: true,
                },
            )
        })
        .collect();
    (render(rows.iter(), &config).unwrap(), config)
}

fn text(rows: &[(&str, &str)], more: &Value) -> String {
    String::from_utf8(list(rows, more).0.bytes).unwrap()
}

#[test]
fn a_file_has_the_declared_form() {
    let rows = [("b@x", "Byron, \"Ada\""), ("a@x", "=1+1")];
    let csv = |csv: Value| json!({ "format": { "csv": csv } });
    for (more, expected) in [
        (json!({}), "Email,Name\r\nb@x,\"Byron, \"\"Ada\"\"\"\r\na@x,'=1+1\r\n"),
        (
            csv(json!({ "lineEnd": "lf", "separator": ";" })),
            "Email;Name\nb@x;\"Byron, \"\"Ada\"\"\"\na@x;'=1+1\n",
        ),
        (
            csv(json!({ "quote": "always", "header": false, "formulas": "keep" })),
            "\"b@x\",\"Byron, \"\"Ada\"\"\"\r\n\"a@x\",\"=1+1\"\r\n",
        ),
        (
            csv(json!({ "bom": true })),
            "\u{feff}Email,Name\r\nb@x,\"Byron, \"\"Ada\"\"\"\r\na@x,'=1+1\r\n",
        ),
        (
            json!({ "orderBy": "Email" }),
            "Email,Name\r\na@x,'=1+1\r\nb@x,\"Byron, \"\"Ada\"\"\"\r\n",
        ),
        (
            json!({ "format": { "jsonLines": {} } }),
            "{\"Email\":\"b@x\",\"Name\":\"Byron, \\\"Ada\\\"\"}\n{\"Email\":\"a@x\",\"Name\":\"=1+1\"}\n",
        ),
    ] {
        assert_eq!(text(&rows, &more), expected, "{more}");
    }
}

#[test]
fn files_of_others_are_read_as_far_as_they_go() {
    let (_, config) = list(&[], &json!({}));
    for (bytes, rows, known) in [
        ("", 0, true),
        ("Email,Name\r\n", 0, true),
        ("\u{feff}Name,Email,More\nx,a@x,1\ny,b@x,2\n", 2, true),
        ("Mail,Name\r\na@x,x\r\nb@x,y\r\n", 3, false),
        ("Email,Name\r\n\"a@x,x\r\nb@x", 3, false),
        ("Email,Name\r\na@x\r\n", 2, false),
    ] {
        let contents = read(bytes.as_bytes(), &config);
        assert_eq!((contents.rows, contents.read.is_some()), (rows, known), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_by_another_reader(
        rows in proptest::collection::vec(("[a-z0-9@.]{1,8}", any::<String>()), 0..6),
        separator in proptest::sample::select(vec![',', ';', '\t', '|']),
        always in any::<bool>(),
        lf in any::<bool>(),
        bom in any::<bool>(),
    ) {
        let rows: Vec<(&str, &str)> = rows.iter().map(|(email, name)| (email.as_str(), name.as_str())).collect();
        let more = json!({ "format": { "csv": {
            "separator": separator, "quote": if always { "always" } else { "needed" },
            "lineEnd": if lf { "lf" } else { "crlf" }, "bom": bom,
        } } });
        let (rendered, config) = list(&rows, &more);
        // A reader with settings of its own.
        let bytes = rendered.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&rendered.bytes);
        let mut reader = csv::ReaderBuilder::new().delimiter(separator as u8).has_headers(false).flexible(true).from_reader(bytes);
        let records: Vec<Vec<String>> =
            reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
        prop_assert_eq!(records.len(), rows.len() + 1);
        for (record, (email, name)) in records[1..].iter().zip(&rows) {
            let plain = |text: &str| text.replace('\'', "");
            prop_assert_eq!(record.len(), 2);
            prop_assert_eq!(plain(&record[0]), plain(email));
            prop_assert_eq!(plain(&record[1]), plain(name));
            prop_assert!(!record[1].starts_with(['=', '+', '-', '@', '\t', '\r']));
        }
        // And by ourselves, with the same keys.
        let contents = read(&rendered.bytes, &config);
        prop_assert_eq!(contents.rows, rows.len());
        prop_assert_eq!(&list(&rows, &more).0, &rendered, "the same rows are the same bytes");
    }

    #[test]
    fn json_lines_are_read_back(rows in proptest::collection::vec(("[a-z@]{1,8}", any::<String>()), 0..6)) {
        let rows: Vec<(&str, &str)> = rows.iter().map(|(email, name)| (email.as_str(), name.as_str())).collect();
        let (rendered, _) = list(&rows, &json!({ "format": { "jsonLines": {} } }));
        let text = String::from_utf8(rendered.bytes).unwrap();
        prop_assert_eq!(text.matches('\n').count(), rows.len());
        for (line, (email, name)) in text.lines().zip(&rows) {
            let value: Value = serde_json::from_str(line).unwrap();
            prop_assert_eq!(&value, &json!({ "Email": email, "Name": name }));
        }
    }
}
