//! What a roster is, as data: a preset, or `connection.roster` of a target's file. Secrets are named by file.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Mistake;
use crate::logic::policy::ACTIVE;

/// One list: where it lies, what stands in it, when it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RosterConfig {
    /// The folder, bucket or server.
    pub place: PlaceConfig,
    /// The name of the file in it, as `users.csv`. Letters, digits, `.`, `-` and `_`.
    pub file: String,
    /// CSV or JSON Lines; default CSV as in RFC 4180.
    #[serde(default)]
    pub format: Format,
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The column that tells rows apart for the last check before a write, and in a file that others have made. Default: the
    /// column of `userName`, else the first one.
    #[serde(default)]
    pub key: Option<String>,
    /// The column that rows are ordered by, then by user id. Default: user id alone. The order never depends on when
    /// somebody came, so equal lists are equal files.
    #[serde(default)]
    pub order_by: Option<String>,
    /// What becomes of the row of somebody who is switched off. Default `leave`.
    #[serde(default)]
    pub leavers: Leavers,
    /// Whether the list is written while it is not known of everybody whether they belong. Default `wait`.
    #[serde(default)]
    pub undecided: Undecided,
    /// How many earlier files are kept beside the list (`<file>.previous`, `<file>.previous.2`, ...); default 1, at most 20.
    #[serde(default = "one")]
    pub previous: u32,
    /// The list is written when nothing has changed for so long; default 10s. Longer: fewer files.
    #[serde(default = "quiet", with = "usher_runtime::duration")]
    #[schemars(with = "String")]
    pub quiet: Duration,
    /// ... and at the latest so long after the first change; default 2m. A leaver waits no longer for the file.
    #[serde(default = "at_most", with = "usher_runtime::duration")]
    #[schemars(with = "String")]
    pub at_most: Duration,
    /// The largest file that is read back, in bytes; default 256 MiB.
    #[serde(default = "max_bytes")]
    pub max_bytes: usize,
}

/// Where the list lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PlaceConfig {
    /// A folder of this machine, mounted or local.
    Folder {
        /// Its path. It has to exist.
        path: PathBuf,
    },
    /// Amazon S3 and what speaks its protocol.
    S3(Box<S3Config>),
    /// Google Cloud Storage.
    Gcs(Box<GcsConfig>),
    /// Azure Blob Storage.
    Azure(Box<AzureConfig>),
    /// A WebDAV server: address, credentials and certificates are those of `connection`.
    Webdav {
        /// Write beside the list and then MOVE it over (RFC 4918 section 9.9); default true. False for servers without MOVE: a
        /// reader may then see half a file.
        #[serde(default = "yes", rename = "move")]
        moves: bool,
    },
}

/// A bucket of S3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// The folder in it; default none.
    #[serde(default)]
    pub prefix: String,
    /// The region; default `us-east-1`.
    #[serde(default = "region")]
    pub region: String,
    /// Another address than Amazon's, for what speaks its protocol.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket as part of the host name instead of the path; default false.
    #[serde(default)]
    pub virtual_hosted_style: bool,
    /// File of the access key's id. Without keys: see `ambient`.
    #[serde(default)]
    pub access_key_id_file: Option<PathBuf>,
    /// File of the secret access key.
    #[serde(default)]
    pub secret_access_key_file: Option<PathBuf>,
    /// File of the session token of temporary keys.
    #[serde(default)]
    pub session_token_file: Option<PathBuf>,
    /// Use what the platform gives this process (environment, workload identity, instance metadata); default false, because
    /// that may be more than this list needs.
    #[serde(default)]
    pub ambient: bool,
    /// Whether the server knows conditional writes (`If-Match`); default true. False: a second writer is only noticed when it
    /// wrote before ours began.
    #[serde(default = "yes")]
    pub conditional: bool,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GcsConfig {
    /// The bucket.
    pub bucket: String,
    /// The folder in it; default none.
    #[serde(default)]
    pub prefix: String,
    /// Another address than Google's, for a private one and for what speaks its protocol.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// File of the service account's key (JSON).
    #[serde(default)]
    pub service_account_file: Option<PathBuf>,
    /// Use what the platform gives this process; default false.
    #[serde(default)]
    pub ambient: bool,
}

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AzureConfig {
    /// The storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// The folder in it; default none.
    #[serde(default)]
    pub prefix: String,
    /// Another address than `https://<account>.blob.core.windows.net`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// File of the account's access key.
    #[serde(default)]
    pub access_key_file: Option<PathBuf>,
    /// File of a shared access signature, as the query string that Azure shows.
    #[serde(default)]
    pub sas_file: Option<PathBuf>,
    /// Use what the platform gives this process; default false.
    #[serde(default)]
    pub ambient: bool,
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Format {
    /// RFC 4180.
    Csv(CsvConfig),
    /// One JSON object per line, its keys being the columns.
    JsonLines {},
}

impl Default for Format {
    fn default() -> Self {
        Self::Csv(CsvConfig::default())
    }
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CsvConfig {
    /// Between cells; default `,`.
    pub separator: char,
    /// Default `crlf`, as RFC 4180 section 2 says.
    pub line_end: LineEnd,
    /// Begin with a byte order mark, which Excel takes as the sign of UTF-8; default false.
    pub bom: bool,
    /// The first row names the columns; default true.
    pub header: bool,
    /// Which cells are quoted; default those that need it.
    pub quote: Quote,
    /// What is done about cells that a spreadsheet would take for a formula; default `prefix`.
    pub formulas: Formulas,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            separator: ',',
            line_end: LineEnd::Crlf,
            bom: false,
            header: true,
            quote: Quote::Needed,
            formulas: Formulas::Prefix,
        }
    }
}

/// How rows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LineEnd {
    /// `\r\n`.
    Crlf,
    /// `\n`.
    Lf,
}

/// Which cells are quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Quote {
    /// Those with a separator, a quote or a line end in them.
    Needed,
    /// All.
    Always,
}

/// What is done about formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Formulas {
    /// An apostrophe goes before what would begin one: spreadsheets show the text.
    Prefix,
    /// Like `prefix`, and a phone number (`+`, digits, spaces, brackets, dots, dashes) stays as it is.
    Phone,
    /// Nothing: only for readers that are no spreadsheets.
    Keep,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Column {
    /// Its heading, or key.
    pub name: String,
    /// The attribute that fills it: a row of `attributes`, `externalId` (the Salesforce user id) or `active`.
    pub attribute: String,
    /// Dates and times in this form (strftime, as `%d/%m/%Y`).
    #[serde(default)]
    pub date: Option<String>,
    /// The time zone in which a moment has its date; default UTC.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// The words for true and false; default `true` and `false`, and in JSON the values themselves.
    #[serde(default)]
    pub words: Option<(String, String)>,
    /// What stands for no value; default nothing, and `null` in JSON.
    #[serde(default)]
    pub null: Option<String>,
    /// Formulas in this column, where that is something else than for the whole list.
    #[serde(default)]
    pub formulas: Option<Formulas>,
}

/// What becomes of the row of somebody who is switched off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Leavers {
    /// It leaves the list.
    #[default]
    Leave,
    /// It stays, and the column of `active` says so. It leaves when the account is deleted (`lifecycle.deleteAfter`).
    Stay,
}

/// What is done while it is not known of everybody whether they belong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Undecided {
    /// The list is not written.
    #[default]
    Wait,
    /// It is written with the rows that these people had; who is new among them is left out.
    AsBefore,
}

fn one() -> u32 {
    1
}
fn quiet() -> Duration {
    Duration::from_secs(10)
}
fn at_most() -> Duration {
    Duration::from_secs(120)
}
fn max_bytes() -> usize {
    256 * 1024 * 1024
}
fn yes() -> bool {
    true
}
fn region() -> String {
    "us-east-1".to_owned()
}

/// More earlier files than this are an archive, which is somebody else's task.
const PREVIOUS_MAX: u32 = 20;

impl RosterConfig {
    /// Everything that is wrong, by the keys below `connection.roster`.
    #[must_use]
    pub fn validate(&self) -> Vec<Mistake> {
        let mut wrong: Vec<Mistake> = Vec::new();
        let mut at = |keys: &[&str], message: String| {
            wrong.push((keys.iter().map(|key| (*key).to_owned()).collect(), message));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if self.file.is_empty() || !self.file.chars().all(plain) || self.file.starts_with('.') {
            at(
                &["file"],
                "is a name such as users.csv: letters, digits, `.`, `-`, `_`, not beginning with a dot".into(),
            );
        }
        if self.columns.is_empty() {
            at(&["columns"], "names no column".into());
        }
        let mut names = BTreeSet::new();
        for (number, column) in self.columns.iter().enumerate() {
            let number = number.to_string();
            let here = ["columns", number.as_str()];
            if column.name.is_empty() || column.name.contains(['\r', '\n']) {
                at(&here, "name: a heading of one line".into());
            }
            if !names.insert(column.name.as_str()) {
                at(&here, format!("name: `{}` stands twice", column.name));
            }
            if column.date.is_some() && column.words.is_some() {
                at(&here, "has both date and words; a value is one of them".into());
            }
            if let Some(zone) = &column.time_zone {
                if jiff::tz::TimeZone::get(zone).is_err() {
                    at(&here, format!("timeZone: there is no time zone `{zone}`"));
                }
                if column.date.is_none() {
                    at(&here, "timeZone has no use without date".into());
                }
            }
            if let Some(pattern) = &column.date
                && let Err(error) = super::columns::try_pattern(pattern)
            {
                at(&here, format!("date: `{pattern}` is no form of a date: {error}"));
            }
            if column.formulas.is_some() && matches!(self.format, Format::JsonLines {}) {
                at(&here, "formulas has no use in JSON".into());
            }
        }
        for (key, name) in [("key", &self.key), ("orderBy", &self.order_by)] {
            if let Some(name) = name
                && !names.contains(name.as_str())
            {
                at(&[key], format!("there is no column `{name}`"));
            }
        }
        if self.leavers == Leavers::Stay && !self.columns.iter().any(|column| column.attribute == ACTIVE) {
            at(
                &["leavers"],
                "stay needs a column of the attribute active, or nobody could tell who is off".into(),
            );
        }
        if let Format::Csv(csv) = &self.format
            && (!csv.separator.is_ascii() || matches!(csv.separator, '"' | '\r' | '\n' | '\''))
        {
            at(
                &["format", "csv", "separator"],
                "is one ASCII character that is no quote and no line end".into(),
            );
        }
        if self.previous > PREVIOUS_MAX {
            at(&["previous"], format!("must be between 0 and {PREVIOUS_MAX}"));
        }
        if self.quiet > self.at_most {
            at(&["quiet"], "must not be longer than atMost".into());
        }
        wrong.extend(self.place.validate());
        wrong
    }
}

impl PlaceConfig {
    fn validate(&self) -> Vec<Mistake> {
        let place = |keys: &[&str], message: &str| {
            let keys = ["place"].iter().chain(keys).map(|key| (*key).to_owned()).collect();
            (keys, message.to_owned())
        };
        let mut wrong = Vec::new();
        match self {
            Self::Folder { path } => {
                if path.as_os_str().is_empty() {
                    wrong.push(place(&["folder", "path"], "is the path of a folder"));
                }
            }
            Self::S3(s3) => {
                let keys = (s3.access_key_id_file.is_some(), s3.secret_access_key_file.is_some());
                if keys.0 != keys.1 {
                    wrong.push(place(&["s3"], "needs both accessKeyIdFile and secretAccessKeyFile"));
                }
                if keys.0 == s3.ambient {
                    wrong.push(place(
                        &["s3"],
                        "needs either accessKeyIdFile and secretAccessKeyFile, or ambient: true",
                    ));
                }
            }
            Self::Gcs(gcs) => {
                if gcs.service_account_file.is_some() == gcs.ambient {
                    wrong.push(place(&["gcs"], "needs either serviceAccountFile or ambient: true"));
                }
            }
            Self::Azure(azure) => {
                let ways = [azure.access_key_file.is_some(), azure.sas_file.is_some(), azure.ambient];
                if ways.iter().filter(|way| **way).count() != 1 {
                    wrong.push(place(
                        &["azure"],
                        "needs exactly one of accessKeyFile, sasFile and ambient: true",
                    ));
                }
            }
            Self::Webdav { .. } => {}
        }
        wrong
    }

    /// The word of messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "folder",
            Self::S3(_) => "S3",
            Self::Gcs(_) => "Google Cloud Storage",
            Self::Azure(_) => "Azure Blob Storage",
            Self::Webdav { .. } => "WebDAV",
        }
    }
}
