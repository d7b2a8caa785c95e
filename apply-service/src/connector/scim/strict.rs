//! Writes at applications with rules of their own, as data of the dialect: values out of a list, exactly one of a kind, user
//! names of a form, unique also where nobody here sees.
//!
//! Everything that can be judged before the call is. Afterwards the account must show what was chosen, because some
//! applications take a write and keep something else. A user name that is taken elsewhere ends in a refusal or in one try
//! with the configured suffix, never in a loop.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    Shared,
    catalogue::{self, Choice, Known, Search, Sought, Turn},
    classify::{Meaning, Purpose},
    config::{ScimConfig, UserNameForm, UserNamesUnique},
    create::Create,
    lookup::{Find, Key},
    path::Path,
    render,
    update::Update,
};
use crate::{
    connector::{CREATE_UNCLEAR, Exchange, Failure, HttpAnswer, Refusal, Reply, Step},
    logic::account::{RemoteAccount, RemoteId},
};

/// What is written.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Create,
    Update { id: RemoteId, etag: Option<String> },
}

/// The exchange.
pub(crate) struct Strict {
    shared: Arc<Shared>,
    what: What,
    values: Vec<(Path, Value)>,
    sought: Vec<(usize, Sought, Option<String>)>,
    chosen: BTreeMap<Sought, Known>,
    suffixed: bool,
    stage: Stage,
}

enum Stage {
    Start,
    Choosing(Search, Sought),
    Writing(Box<dyn Exchange>),
    /// Whose name is it that is taken?
    Naming(Box<Find>, Refusal),
    /// Reading back what was written.
    Verifying(RemoteId),
}

/// Whether the dialect has such rules at all.
pub(crate) fn applies(config: &ScimConfig) -> bool {
    !config.catalogues.is_empty()
        || config.user_name_form != UserNameForm::Any
        || config.user_names_unique != UserNamesUnique::Here
}

impl Strict {
    pub(crate) fn new(shared: Arc<Shared>, what: What, values: Vec<(Path, Value)>) -> Self {
        let sought = catalogue::sought(&shared.config, &values);
        Self {
            shared,
            what,
            values,
            sought,
            chosen: BTreeMap::new(),
            suffixed: false,
            stage: Stage::Start,
        }
    }

    /// What can be told without asking.
    fn judge(&self) -> Result<(), Refusal> {
        if let Some(name) = self.user_name()
            && self.shared.config.user_name_form == UserNameForm::Email
            && !is_email(name)
        {
            return Err(refuse(
                "user-name-form",
                "user names have the form of an e-mail address at this application, and this one has not; see attributes.userName"
                    .to_owned(),
            ));
        }
        for catalogue in &self.shared.config.catalogues {
            let Some(kind) = &catalogue.exactly_one else { continue };
            let about =
                |path: &Path| path.schema.is_none() && path.attribute.eq_ignore_ascii_case(&catalogue.attribute);
            let of_kind = |path: &Path| {
                let template = path.template();
                let said = template.iter().find(|(name, _)| name.eq_ignore_ascii_case("type"));
                said.is_some_and(|(_, value)| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(&kind.name)))
            };
            let attribute = &catalogue.attribute;
            let cleared = self.values.iter().any(|(path, value)| {
                let whole = path.filter.is_none() && path.sub.is_none();
                about(path) && (whole || of_kind(path)) && super::resource::is_unassigned(value)
            });
            let named = self.sought.iter().any(|(at, _, _)| about(&self.values[*at].0));
            if cleared || (matches!(self.what, What::Create) && !named) {
                return Err(refuse(
                    "choice-missing",
                    format!(
                        "an account needs exactly one {} in `{attribute}`, and none is wanted; map `{attribute}[type eq \"{}\"].value`",
                        kind.name, kind.name
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Looks up the next value that is not known yet.
    fn choose(&mut self) -> Step {
        for (_, sought, _) in &self.sought {
            if self.chosen.contains_key(sought) {
                continue;
            }
            let known = self.shared.view(|abilities| abilities.choices.get(sought).cloned());
            if let Some(choice) = known {
                self.chosen.insert(sought.clone(), Known::Yes(choice));
                continue;
            }
            let sought = sought.clone();
            let (search, turn) = Search::begin(Arc::clone(&self.shared), sought.clone());
            self.stage = Stage::Choosing(search, sought.clone());
            return self.chosen(sought, turn);
        }
        match self.decide() {
            Ok(()) => self.write(),
            Err(refusal) => reject(refusal),
        }
    }

    fn chosen(&mut self, sought: Sought, turn: Turn) -> Step {
        match turn {
            Turn::Ask(request) => Step::Send(request),
            Turn::Failed(failure) => Step::Done(Err(failure)),
            Turn::Found(known) => {
                if let Known::Yes(choice) = &known {
                    self.shared.learn(|abilities| {
                        abilities.choices.insert(sought.clone(), choice.clone());
                    });
                }
                self.chosen.insert(sought, known);
                self.choose()
            }
        }
    }

    /// Judges what was found; puts ids where names or short ids stood.
    fn decide(&mut self) -> Result<(), Refusal> {
        let config = &self.shared.config;
        let mut ids: Vec<(usize, Path, String)> = Vec::new();
        for (number, catalogue) in config.catalogues.iter().enumerate() {
            let one = catalogue.exactly_one.as_ref();
            let mut ones = std::collections::BTreeSet::new();
            for (at, sought, kind) in self.sought.iter().filter(|(_, sought, _)| sought.catalogue == number) {
                let path = &self.values[*at].0;
                let choice = match self.chosen.get(sought) {
                    Some(Known::No) => {
                        return Err(refuse(
                            "choice-unknown",
                            format!(
                                "nothing was written: the application's list at {} has no entry with the {} that `{path}` is to be",
                                catalogue.path,
                                if sought.by_name { "name" } else { "id" }
                            ),
                        ));
                    }
                    Some(Known::Yes(choice)) => Some(choice),
                    Some(Known::Unproven) | None => None,
                };
                if let (Some(choice), Some(kind)) = (choice, kind)
                    && choice.is(kind, one) == Some(false)
                {
                    return Err(refuse(
                        "choice-of-another-kind",
                        format!("nothing was written: the entry that `{path}` is to be is no {kind}"),
                    ));
                }
                let is_one = one.is_some_and(|one| match (kind, choice) {
                    (Some(kind), _) => kind.eq_ignore_ascii_case(&one.name),
                    (None, Some(choice)) => choice.is(&one.name, Some(one)) == Some(true),
                    (None, None) => one
                        .id_prefix
                        .as_ref()
                        .is_some_and(|prefix| sought.text.starts_with(prefix)),
                });
                if is_one {
                    ones.insert(choice.map_or(&sought.text, |choice| &choice.id).clone());
                }
                if let Some(choice) = choice
                    && (sought.by_name || choice.id != sought.text)
                {
                    ids.push((*at, path.with_sub(Some("value")), choice.id.clone()));
                }
            }
            let creates = matches!(self.what, What::Create);
            if let Some(one) = one
                && (ones.len() > 1 || (creates && ones.is_empty() && self.is_sure(number)))
            {
                return Err(refuse(
                    "choice-not-one",
                    format!(
                        "nothing was written: an account has exactly one {} in `{}`, and {} are wanted",
                        one.name,
                        catalogue.attribute,
                        ones.len()
                    ),
                ));
            }
        }
        for (at, path, id) in ids {
            if self.values[at].0 == path && self.values[at].1.is_string() {
                self.values[at].1 = Value::String(id);
            } else if path.filter.is_some() && !self.values.iter().any(|(other, _)| *other == path) {
                self.values.push((path, Value::String(id)));
            }
        }
        Ok(())
    }

    /// Whether everything that is wanted of a catalogue was found, so that what is missing is missing.
    fn is_sure(&self, catalogue: usize) -> bool {
        let of = |sought: &&(usize, Sought, Option<String>)| sought.1.catalogue == catalogue;
        let found =
            |sought: &(usize, Sought, Option<String>)| matches!(self.chosen.get(&sought.1), Some(Known::Yes(_)));
        self.sought.iter().filter(of).all(found)
    }

    fn write(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        let mut inner: Box<dyn Exchange> = match &self.what {
            What::Create => Box::new(Create::new(shared, &self.values)),
            What::Update { id, etag } => Box::new(Update::new(shared, id.clone(), self.values.clone(), etag.clone())),
        };
        let step = inner.step(None);
        self.stage = Stage::Writing(inner);
        self.wrote(step)
    }

    fn wrote(&mut self, step: Step) -> Step {
        match step {
            Step::Send(mut request) => {
                if let Some(body) = &mut request.body {
                    catalogue::strip(body, &self.shared.config);
                }
                Step::Send(request)
            }
            Step::Done(Ok(Reply::Written { id, account })) => self.verify(id, account),
            Step::Done(Ok(Reply::Conflict(refusal)))
                if refusal.code != CREATE_UNCLEAR
                    && self.shared.config.user_names_unique == UserNamesUnique::Everywhere
                    && self.user_name().is_some() =>
            {
                self.name(refusal)
            }
            Step::Done(Err(failure)) => {
                // It may have been an entry that is not there any longer.
                self.shared.learn(|abilities| abilities.choices.clear());
                Step::Done(Err(failure))
            }
            step => step,
        }
    }

    /// The account must show what was chosen.
    fn verify(&mut self, id: RemoteId, account: Option<RemoteAccount>) -> Step {
        let shown = account.as_ref().is_some_and(|account| self.shows(account));
        if self.sought.is_empty() || shown {
            return Step::Done(Ok(Reply::Written { id, account }));
        }
        match render::account_path(&self.shared.config, &id) {
            Ok(path) => {
                self.stage = Stage::Verifying(id);
                Step::Send(render::get(path))
            }
            Err(_) => Step::Done(Ok(Reply::Written { id, account })),
        }
    }

    fn verified(&mut self, id: RemoteId, answer: &HttpAnswer) -> Step {
        let failure = match self.shared.classify(Purpose::Read, answer) {
            Meaning::Success(body) => {
                let account = body.and_then(|body| self.shared.account(body, super::etag_header(answer)));
                match account.filter(|account| account.id == id) {
                    Some(account) if self.shows(&account) => {
                        let account = Some(account);
                        return Step::Done(Ok(Reply::Written { id, account }));
                    }
                    _ => {
                        let refusal = refuse(
                            "choice-not-taken",
                            "writing the account: the application accepted it and shows other entitlements than were wanted".to_owned(),
                        );
                        // A new account exists: the next look-up finds it, and the next write is an update.
                        match self.what {
                            What::Create => Failure::Retry(refusal, None),
                            What::Update { .. } => Failure::Reject(refusal),
                        }
                    }
                }
            }
            Meaning::Failed(failure @ (Failure::Retry(..) | Failure::Halt(_))) => failure,
            Meaning::Unknown(refusal, wait) => Failure::Retry(refusal, wait),
            Meaning::Failed(Failure::Reject(refusal))
            | Meaning::Accepted(refusal)
            | Meaning::Absent(refusal)
            | Meaning::Exists(refusal)
            | Meaning::Version(refusal)
            | Meaning::Fallback(_, refusal) => Failure::Retry(refusal, None),
        };
        self.shared.learn(|abilities| abilities.choices.clear());
        Step::Done(Err(failure))
    }

    fn shows(&self, account: &RemoteAccount) -> bool {
        self.shared
            .config
            .catalogues
            .iter()
            .enumerate()
            .all(|(number, catalogue)| {
                let held = catalogue::held(&account.resource, catalogue);
                let wanted: Vec<(&str, Option<&Choice>)> = self
                    .sought
                    .iter()
                    .filter(|(_, sought, _)| sought.catalogue == number)
                    .map(|(_, sought, _)| match self.chosen.get(sought) {
                        Some(Known::Yes(choice)) => (choice.id.as_str(), Some(choice)),
                        _ => (sought.text.as_str(), None),
                    })
                    .collect();
                let is = |held: &Choice, id: &str| held.id == id || held.display.as_deref() == Some(id);
                let all = wanted.iter().all(|(id, _)| held.iter().any(|held| is(held, id)));
                let one = catalogue.exactly_one.as_ref().is_none_or(|one| {
                    let ones: Vec<&Choice> = held
                        .iter()
                        .filter(|held| held.is(&one.name, Some(one)) == Some(true))
                        .collect();
                    // Where kinds cannot be told from what is shown, being there has to do.
                    wanted.is_empty() || ones.len() <= 1
                });
                all && one
            })
    }

    /// Finds out whether the account that holds the name is one that we can see.
    fn name(&mut self, refusal: Refusal) -> Step {
        let mut keys = Vec::new();
        for (path, value) in &self.values {
            if path.schema.is_none()
                && (path.attribute == "userName"
                    || (path.attribute == "externalId" && matches!(self.what, What::Create)))
                && let Value::String(value) = value
                && !value.is_empty()
            {
                keys.push(Key {
                    path: path.clone(),
                    value: value.clone(),
                });
            }
        }
        let mut find = Box::new(Find::fresh(Arc::clone(&self.shared), keys));
        let step = find.step(None);
        self.stage = Stage::Naming(find, refusal);
        self.named(step)
    }

    fn named(&mut self, step: Step) -> Step {
        let Stage::Naming(_, refusal) = &self.stage else {
            return step;
        };
        match step {
            Step::Done(Ok(Reply::Found(accounts))) => {
                let others = accounts.iter().any(|account| match &self.what {
                    What::Create => true,
                    What::Update { id, .. } => account.id != *id,
                });
                if others {
                    return Step::Done(Ok(Reply::Conflict(refusal.clone())));
                }
                self.elsewhere()
            }
            step => step,
        }
    }

    /// Nobody here holds the name.
    fn elsewhere(&mut self) -> Step {
        let suffix = self.shared.config.user_name_suffix.clone().filter(|_| !self.suffixed);
        let position = self.values.iter().position(|(path, _)| is_user_name(path));
        if let (Some(suffix), Some(at)) = (suffix, position)
            && let Value::String(name) = &self.values[at].1
            && !name.to_lowercase().ends_with(&suffix.to_lowercase())
        {
            self.values[at].1 = Value::String(format!("{name}{suffix}"));
            self.suffixed = true;
            return self.write();
        }
        reject(refuse(
            "user-name-taken-elsewhere",
            "the user name is taken by an account that this application does not show, in another organization for instance: user \
             names are unique over all of them; give another one by attributes.userName, or set connection.scim.userNameSuffix"
                .to_owned(),
        ))
    }

    fn user_name(&self) -> Option<&str> {
        let found = self.values.iter().find(|(path, _)| is_user_name(path));
        found.and_then(|(_, value)| value.as_str())
    }
}

impl Exchange for Strict {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let stage = std::mem::replace(&mut self.stage, Stage::Start);
        let Some(answer) = answer else {
            return match self.judge() {
                Ok(()) => self.choose(),
                Err(refusal) => reject(refusal),
            };
        };
        match stage {
            Stage::Start => reject(refuse("endless-exchange", "an answer that nobody asked for".to_owned())),
            Stage::Choosing(mut search, sought) => {
                let turn = search.take(&answer);
                self.stage = Stage::Choosing(search, sought.clone());
                self.chosen(sought, turn)
            }
            Stage::Writing(mut inner) => {
                let step = inner.step(Some(answer));
                self.stage = Stage::Writing(inner);
                self.wrote(step)
            }
            Stage::Naming(mut find, refusal) => {
                let step = find.step(Some(answer));
                self.stage = Stage::Naming(find, refusal);
                self.named(step)
            }
            Stage::Verifying(id) => self.verified(id, &answer),
        }
    }
}

pub(crate) fn is_user_name(path: &Path) -> bool {
    path.schema.is_none() && path.attribute == "userName"
}

/// Something before one `@`, and a domain with a dot behind it.
fn is_email(name: &str) -> bool {
    let plain = !name.contains(|c: char| c.is_whitespace() || c.is_control());
    let parts = name
        .split_once('@')
        .filter(|(local, domain)| !local.is_empty() && !domain.contains('@'));
    plain && parts.is_some_and(|(_, domain)| domain.contains('.') && domain.split('.').all(|label| !label.is_empty()))
}

fn refuse(code: &str, reason: String) -> Refusal {
    Refusal {
        code: code.to_owned(),
        reason,
    }
}

fn reject(refusal: Refusal) -> Step {
    Step::Done(Err(Failure::Reject(refusal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_that_look_like_addresses() {
        for (name, fits) in [
            ("ada@acme.com", true),
            ("ada@acme.com.uat", true),
            ("o'neil+x@acme.co.uk", true),
            ("ada", false),
            ("ada@acme", false),
            ("@acme.com", false),
            ("ada@", false),
            ("ada@acme..com", false),
            ("ada@acme.com.", false),
            ("a da@acme.com", false),
            ("a@b@acme.com", false),
            ("", false),
        ] {
            assert_eq!(is_email(name), fits, "{name}");
        }
    }
}
