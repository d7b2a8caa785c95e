//! `links`: what is known of accounts. Listing, export and import read and write the topic themselves; relink and unlink are
//! commands that the owner of the target carries out.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::json;
use usher_contract::TargetName;
use usher_runtime::shutdown::chain;

use super::{
    Files, complain, is_asked_for, print,
    remote::{Remote, Results, Service, table},
};
use crate::{
    Config,
    link_import::{self, Line},
    link_table,
    logic::{
        link::{Link, LinkState},
        policy::Mode,
    },
    policy, topics,
};

/// See the module documentation.
#[derive(Debug, Subcommand)]
pub(super) enum Links {
    /// List links, one line each. Needs no running service.
    List(List),
    /// Show all that is known of one person. Needs no running service.
    Show {
        /// A user id, or `<orgId>:<userId>`; `where` finds people by name.
        #[arg(value_name = "ID")]
        user: String,
        /// Only at this target.
        #[arg(long, value_name = "NAME")]
        target: Option<TargetName>,
    },
    /// Write links as lines of JSON: hashes and ids, no values. Needs no running service.
    Export {
        /// Only of this target.
        #[arg(long, value_name = "NAME")]
        target: Option<TargetName>,
        /// Into this file; to standard output otherwise.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Bring exported links back, after a lost topic or on another cluster. The target must be paused, handed back, off, or
    /// never run. Needs no running service.
    Import {
        /// As `links export` writes it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only the lines of this target are read.
        #[arg(long, value_name = "NAME")]
        target: TargetName,
    },
    /// Say that an account is somebody's; what differs is written.
    Relink(Relink),
    /// Forget whose account it is; the account stays as it is.
    Unlink(Unlink),
}

/// Which links.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this target.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// Only in this state: settled, retrying, rejected, held, skipped.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// As lines of JSON.
    #[arg(long)]
    json: bool,
}

/// Whose which account is.
#[derive(Debug, Args)]
pub(super) struct Relink {
    /// The target's id of the account.
    #[arg(long, value_name = "ID")]
    account: String,
    #[command(flatten)]
    unlink: Unlink,
}

/// Whose account.
#[derive(Debug, Args)]
pub(super) struct Unlink {
    /// A user id, e-mail address or name.
    #[arg(long, value_name = "USER")]
    user: String,
    /// The target.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// Why, for whoever reads the outcomes later.
    #[arg(long, value_name = "WORDS")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

/// What this process does itself.
pub(super) enum Local {
    List(List),
    Show(String, Option<TargetName>),
    Export(Option<TargetName>, Option<PathBuf>),
    Import(PathBuf, TargetName),
}

/// What the owner of the target does.
pub(super) struct Ordered {
    account: Option<String>,
    unlink: Unlink,
}

impl Links {
    /// Who does it.
    pub(super) fn parted(self) -> Result<Local, Box<Ordered>> {
        match self {
            Self::List(list) => Ok(Local::List(list)),
            Self::Show { user, target } => Ok(Local::Show(user, target)),
            Self::Export { target, out } => Ok(Local::Export(target, out)),
            Self::Import { file, target } => Ok(Local::Import(file, target)),
            Self::Relink(Relink { account, unlink }) => Err(Box::new(Ordered {
                account: Some(account),
                unlink,
            })),
            Self::Unlink(unlink) => Err(Box::new(Ordered { account: None, unlink })),
        }
    }
}

pub(super) async fn ordered(ordered: Box<Ordered>, files: &Files) -> ExitCode {
    let Unlink {
        user,
        target,
        reason,
        remote,
    } = ordered.unlink;
    let sent = async {
        let service = Service::new(&remote, files)?;
        let key = service.person(&user).await?;
        let mut body = json!({ "target": target, "user": key, "reason": reason, "verb": "unlink" });
        if let Some(account) = &ordered.account {
            body["verb"] = json!("relink");
            body["account"] = json!(account);
        }
        Ok::<_, String>(service.command(&body).await)
    };
    match sent.await {
        Err(problem) => complain(&problem),
        Ok(result) => {
            let mut results = Results::new();
            results.add(target.as_str(), result);
            results.finish(remote.json)
        }
    }
}

pub(super) async fn local(command: Local, config: Config) -> ExitCode {
    let done = match command {
        Local::List(list) => listed(&list, &config).await,
        Local::Show(user, target) => shown(&user, target, &config).await,
        Local::Export(target, out) => exported(target, out, &config).await,
        Local::Import(file, target) => imported(&file, &target, &config).await,
    };
    match done {
        Ok(text) => print(&text),
        Err(problem) => complain(&problem),
    }
}

/// The links of one target, or of every target of the policy folder.
async fn read(target: Option<TargetName>, config: &Config) -> Result<Vec<Line>, String> {
    let targets = match target {
        Some(target) => vec![target],
        None => {
            let policy = policy::load(&config.policy.folder).map_err(|error| error.to_string())?;
            policy.targets.into_keys().collect()
        }
    };
    let missing = topics::all(&config.kafka)
        .missing()
        .await
        .map_err(|error| chain(&error))?;
    if missing.contains(&topics::LINK) {
        return Err(format!(
            "topic {} does not exist: nothing was ever linked",
            config.kafka.topic(topics::LINK)
        ));
    }
    let links = link_table::read_only(&config.kafka, &targets).await;
    let links = links.map_err(|error| chain(&error))?;
    let lines = links
        .links
        .into_iter()
        .map(|(target, user, link)| Line { target, user, link });
    Ok(lines.collect())
}

fn json_lines(lines: &[Line]) -> String {
    let lines = lines.iter().filter_map(|line| serde_json::to_string(line).ok());
    lines.map(|line| line + "\n").collect()
}

async fn listed(list: &List, config: &Config) -> Result<String, String> {
    let mut lines = read(list.target.clone(), config).await?;
    lines.retain(|line| list.state.as_ref().is_none_or(|state| state == state_of(&line.link).0));
    if list.json {
        return Ok(json_lines(&lines));
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|Line { target, user, link }| {
            let (state, why) = state_of(link);
            vec![
                target.to_string(),
                user.to_string(),
                link.remote_id
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), ToString::to_string),
                link.active
                    .map_or("?", |active| if active { "on" } else { "off" })
                    .to_owned(),
                link.user_version.to_string(),
                state.to_owned(),
                why,
            ]
        })
        .collect();
    Ok(table(
        &["TARGET", "USER", "ACCOUNT", "IS", "VERSION", "STATE", "WHY"],
        &rows,
    ))
}

fn state_of(link: &Link) -> (&'static str, String) {
    match &link.state {
        LinkState::Settled => ("settled", String::new()),
        LinkState::Retrying { code, next_try, .. } => ("retrying", format!("{code}, next try {next_try}")),
        LinkState::Rejected { code, reason, .. } => ("rejected", format!("{code}: {reason}")),
        LinkState::Held { set, action, .. } => ("held", format!("{action} in {set}")),
        LinkState::Skipped { reason, .. } => ("skipped", reason.clone()),
    }
}

async fn shown(user: &str, target: Option<TargetName>, config: &Config) -> Result<String, String> {
    let mut lines = read(target, config).await?;
    lines.retain(|line| is_asked_for(Some(user), &line.user));
    if lines.is_empty() {
        return Err(format!("nothing is known of {user}; `where` finds people by name"));
    }
    serde_json::to_string_pretty(&lines).map_err(|error| error.to_string())
}

async fn exported(target: Option<TargetName>, out: Option<PathBuf>, config: &Config) -> Result<String, String> {
    let lines = read(target, config).await?;
    let text = json_lines(&lines);
    let Some(path) = out else { return Ok(text) };
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(format!("{} links in {}", lines.len(), path.display()))
}

async fn imported(file: &PathBuf, target: &TargetName, config: &Config) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let links = link_import::parse(&text, target)?;
    let policy = policy::load(&config.policy.folder).map_err(|error| error.to_string())?;
    let is_off = policy
        .targets
        .get(target)
        .is_none_or(|target| target.policy.mode == Mode::Off);
    let written = link_import::import(&config.kafka, target, is_off, links).await?;
    Ok(format!("{written} links of {target} are written"))
}
