//! From rows to the bytes of a file, and back as far as a file tells.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    book::Row,
    columns::{Read, Unfit, cells},
    config::{CsvConfig, Format, Leavers, LineEnd, Quote, RosterConfig},
};
use crate::logic::{account::RemoteId, policy::USER_NAME};

const BOM: &str = "\u{feff}";

/// A whole list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) bytes: Vec<u8>,
    /// What the rows are told apart by.
    pub(super) keys: BTreeSet<String>,
    pub(super) rows: usize,
}

/// A file, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Contents {
    /// Its rows by heading; `None` when it does not have our columns.
    pub(super) read: Option<Vec<Read>>,
    /// How many rows, or lines where that is all that can be said.
    pub(super) rows: usize,
}

/// Whether a row stands in the list.
pub(super) fn listed(row: &Row, config: &RosterConfig) -> bool {
    row.on || config.leavers == Leavers::Stay
}

/// The column that tells rows apart.
pub(super) fn key_column(config: &RosterConfig) -> usize {
    let named = |name: &String| config.columns.iter().position(|column| column.name == *name);
    let of_names = || config.columns.iter().position(|column| column.attribute == USER_NAME);
    config
        .key
        .as_ref()
        .and_then(named)
        .or_else(of_names)
        .unwrap_or_default()
}

/// A cell as a key: without regard to case, as addresses are.
pub(super) fn key_of(cell: &Value) -> String {
    let text = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    text.trim().to_lowercase()
}

/// The list of these rows, which come ordered by id. Guarantee: the same rows are the same bytes.
pub(super) fn render<'a>(
    rows: impl Iterator<Item = (&'a RemoteId, &'a Row)>,
    config: &RosterConfig,
) -> Result<Rendered, Unfit> {
    let mut lines: Vec<Vec<Value>> = Vec::new();
    for (_, row) in rows.filter(|(_, row)| listed(row, config)) {
        lines.push(cells(&row.values, row.on, config)?);
    }
    if let Some(name) = &config.order_by
        && let Some(column) = config.columns.iter().position(|column| column.name == *name)
    {
        // Stable: equal cells stay ordered by id.
        lines.sort_by_cached_key(|line| line.get(column).map(key_of));
    }
    let key = key_column(config);
    let keys = lines.iter().filter_map(|line| line.get(key)).map(key_of).collect();
    let bytes = match &config.format {
        Format::Csv(csv) => as_csv(&lines, config, csv),
        Format::JsonLines {} => as_json(&lines, config),
    };
    Ok(Rendered {
        bytes,
        keys,
        rows: lines.len(),
    })
}

fn as_csv(lines: &[Vec<Value>], config: &RosterConfig, csv: &CsvConfig) -> Vec<u8> {
    let mut bytes = Vec::new();
    if csv.bom {
        bytes.extend_from_slice(BOM.as_bytes());
    }
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator(csv))
        .terminator(match csv.line_end {
            LineEnd::Crlf => csv::Terminator::CRLF,
            LineEnd::Lf => csv::Terminator::Any(b'\n'),
        })
        .quote_style(match csv.quote {
            Quote::Needed => csv::QuoteStyle::Necessary,
            Quote::Always => csv::QuoteStyle::Always,
        })
        .from_writer(bytes);
    // **Invariant**: a Vec takes whatever is written, and every row has as many cells as there are columns.
    let fits = "a row in memory can be written";
    if csv.header {
        let names = config.columns.iter().map(|column| column.name.as_str());
        writer.write_record(names).expect(fits);
    }
    for line in lines {
        writer
            .write_record(line.iter().map(|cell| cell.as_str().unwrap_or_default()))
            .expect(fits);
    }
    writer.into_inner().expect(fits)
}

fn as_json(lines: &[Vec<Value>], config: &RosterConfig) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        let entries = config.columns.iter().zip(line);
        let object: Map<String, Value> = entries
            .map(|(column, cell)| (column.name.clone(), cell.clone()))
            .collect();
        bytes.extend_from_slice(Value::Object(object).to_string().as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

fn separator(csv: &CsvConfig) -> u8 {
    u8::try_from(csv.separator).unwrap_or(b',')
}

/// Reads a file that we or others have written.
pub(super) fn read(bytes: &[u8], config: &RosterConfig) -> Contents {
    let bytes = bytes.strip_prefix(BOM.as_bytes()).unwrap_or(bytes);
    let read = match &config.format {
        Format::Csv(csv) => read_csv(bytes, config, csv),
        Format::JsonLines {} => read_json(bytes),
    };
    let key = config
        .columns
        .get(key_column(config))
        .map(|column| column.name.as_str());
    match read {
        Some(rows) if rows.iter().all(|row| key.is_some_and(|key| row.contains_key(key))) => Contents {
            rows: rows.len(),
            read: Some(rows),
        },
        _ => Contents {
            read: None,
            rows: bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.trim_ascii().is_empty())
                .count(),
        },
    }
}

fn read_csv(bytes: &[u8], config: &RosterConfig, csv: &CsvConfig) -> Option<Vec<Read>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator(csv))
        .has_headers(csv.header)
        .from_reader(bytes);
    let names: Vec<String> = if csv.header {
        reader.headers().ok()?.iter().map(str::to_owned).collect()
    } else {
        config.columns.iter().map(|column| column.name.clone()).collect()
    };
    if !csv.header || bytes.is_empty() {
        return rows_of(&mut reader, &names);
    }
    // Without our key nothing can be told apart; an empty list is told by its heading alone.
    let key = &config.columns.get(key_column(config))?.name;
    names.contains(key).then(|| rows_of(&mut reader, &names))?
}

fn rows_of(reader: &mut csv::Reader<&[u8]>, names: &[String]) -> Option<Vec<Read>> {
    reader
        .records()
        .map(|record| {
            let record = record.ok()?;
            let cells = record.iter().map(|cell| Value::String(cell.to_owned()));
            Some(names.iter().cloned().zip(cells).collect())
        })
        .collect()
}

fn read_json(bytes: &[u8]) -> Option<Vec<Read>> {
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| serde_json::from_slice::<Read>(line).ok()).collect()
}
