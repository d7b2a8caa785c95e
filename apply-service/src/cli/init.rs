//! `init` and `schema`: what somebody who writes a target's file begins with.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use serde_json::Value;
use usher_contract::TargetName;
use usher_runtime::yaml::nearest;

use super::{Files, complain, print};
use crate::{config, policy};

/// What to begin.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// What the file starts from; `presets` lists them.
    #[arg(long, value_name = "NAME")]
    preset: String,
    /// Name of the target; default the preset's.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// Print it instead of writing `<policy folder>/<target>.yaml`.
    #[arg(long)]
    print: bool,
}

/// Of which file the schema is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Of {
    /// A target's file in the policy folder.
    Policy,
    /// The service's own configuration.
    Service,
}

pub(super) fn init(args: &Init, files: &Files) -> ExitCode {
    let names: Vec<&str> = policy::presets().map(|preset| preset.name).collect();
    let Some(preset) = policy::presets().find(|preset| preset.name == args.preset) else {
        let hint = nearest(&args.preset, names.iter().copied())
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        return complain(&format!(
            "there is no preset `{}`; this version has {}{hint}",
            args.preset,
            names.join(", ")
        ));
    };
    let (text, target) = named(preset.start, args.target.as_ref());
    if args.print {
        return print(&text);
    }
    let Some(folder) = files.policy.clone().or_else(|| configured(files)) else {
        return complain("say where the file goes with --policy FOLDER, or use --print");
    };
    let path = folder.join(format!("{target}.yaml"));
    // Never over a file that somebody has filled in.
    let created = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    match created.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => print(&format!(
            "{} is written; fill in what stands in <...>, then run `apply-service check`\n",
            path.display()
        )),
        Err(error) => complain(&format!("cannot write {}: {error}", path.display())),
    }
}

/// The folder that the service's configuration names, when one is given.
fn configured(files: &Files) -> Option<PathBuf> {
    let config = config::Config::load(Some(files.config.as_deref()?), None).ok()?;
    Some(config.policy.folder)
}

/// The text with another name of the target, and the name.
fn named(start: &str, target: Option<&TargetName>) -> (String, String) {
    let old = start.lines().find_map(|line| line.strip_prefix("target: "));
    let old = old.unwrap_or_default().trim();
    match target {
        None => (start.to_owned(), old.to_owned()),
        Some(name) => {
            let text = start.replacen(&format!("target: {old}\n"), &format!("target: {name}\n"), 1);
            (text, name.to_string())
        }
    }
}

pub(super) fn schema(of: Of) -> ExitCode {
    let schema: Value = match of {
        Of::Policy => policy::schema(),
        Of::Service => usher_runtime::config::schema(config::DEFAULTS, "Configuration of apply-service"),
    };
    print(&format!(
        "{}\n",
        serde_json::to_string_pretty(&schema).unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starting_file_gets_the_name_that_was_asked_for() {
        for preset in policy::presets() {
            let (text, name) = named(preset.start, Some(&"helpdesk".parse().unwrap()));
            assert_eq!(name, "helpdesk");
            assert_eq!(text.matches("target: helpdesk\n").count(), 1, "{}", preset.name);
            let (text, name) = named(preset.start, None);
            assert!(!name.is_empty() && text == preset.start);
        }
    }
}
