//! The table of a probe, in words.

use serde_json::{Map, Value};

use super::{
    Change, Hits, Question,
    verdict::{Outcome, Row, Seen},
};

impl Seen {
    pub(super) fn rows(&self, keys: &Map<String, Value>) -> Vec<Row> {
        let key = |names: &[&str]| {
            let said = names
                .iter()
                .filter_map(|name| Some(format!("{name}: {}", flow(keys.get(*name)?))));
            said.collect::<Vec<_>>().join(", ")
        };
        let mut rows = Vec::new();
        let mut row = |question: &'static str, answer: String, therefore: String| {
            rows.push(Row {
                question,
                answer,
                therefore,
            });
        };
        row(
            "ServiceProviderConfig",
            self.config_at.unwrap_or("none").to_owned(),
            key(&["discovery"]),
        );
        row(
            "create",
            self.refused.clone().unwrap_or_else(|| answered(self.created)),
            String::new(),
        );
        let said = |flag: Option<bool>, yes: &str, no: &str| {
            flag.map_or("not seen", |flag| if flag { yes } else { no }).to_owned()
        };
        row(
            "Location of a new account",
            said(self.location, "names it", "absent or names something else"),
            String::new(),
        );
        row(
            "user name",
            said(self.folds_name, "changed (lower case?)", "kept as sent"),
            String::new(),
        );
        row(
            "externalId",
            said(self.keeps_key, "kept", "not shown again"),
            key(&["externalId"]),
        );
        for (question, hits) in [
            ("filter by externalId", Question::ExternalId),
            ("filter by userName", Question::UserName),
            ("filter by userName in another case", Question::UserNameOtherCase),
            ("filter by emails.value", Question::EmailDotted),
            ("filter by emails[...]", Question::EmailValuePath),
        ] {
            let hits = self.found.get(&hits).map(|(hits, _)| *hits);
            let therefore = match question {
                "filter by externalId" => key(&["filter", "filterBy"]),
                "filter by userName in another case" => key(&["lookupCase"]),
                "filter by emails[...]" => key(&["multiValuedLookup"]),
                _ => String::new(),
            };
            row(question, hits_in_words(hits), therefore);
        }
        let nobody = match self.nobody {
            Some(Hits::Ours | Hits::Others) => "finds somebody: the filter is ignored".to_owned(),
            other => hits_in_words(other),
        };
        row("filter by a name that nobody has", nobody, String::new());
        let delay = self.delay.as_secs();
        let late = if delay > 0 {
            format!("{delay} s until a filter found it")
        } else {
            "at once".to_owned()
        };
        row("look-up after a create", late, String::new());
        let paging = match (&self.second_page, self.pages_in_circles()) {
            (_, true) => "startIndex is ignored: every page is page one",
            (Some(Some(_)), false) => "understood",
            (Some(None), false) => "refused",
            (None, false) => "not asked",
        };
        row("second page by index", paging.to_owned(), key(&["paging"]));
        let cursor = match &self.cursor_page {
            Some(Some(page)) if page.next_cursor.is_some() => "offered",
            Some(_) => "not offered",
            None => "not asked",
        };
        row("pages by cursor", cursor.to_owned(), String::new());
        for (question, change) in [
            ("PATCH by path", Change::Path),
            ("PATCH by emails[...].value", Change::ValueFilter),
            ("PATCH without path", Change::PathLess),
            ("PATCH of the enterprise extension", Change::Extension),
            ("PATCH that removes", Change::Remove),
            ("PUT", Change::Put),
            ("a write with a version that never was", Change::StaleVersion),
        ] {
            if change == Change::ValueFilter
                && let Some(capital) = self.capital
            {
                let said = if capital { "taken" } else { "refused as well" };
                row("the same with `Replace`", said.to_owned(), key(&["capitalOperations"]));
            }
            let therefore = match change {
                Change::Path => key(&["patch", "verifyWrites"]),
                Change::StaleVersion => key(&["etag"]),
                _ => String::new(),
            };
            row(question, self.outcome(change), therefore);
        }
        let twin = match self.twin {
            Some(status) if (200..300).contains(&status) => "a second account of the same name".to_owned(),
            Some(status) if self.twin_known => format!("{status}, understood"),
            Some(status) => format!("{status}, not understood"),
            None => "not asked or not answered".to_owned(),
        };
        let therefore = match self.twin {
            Some(400..=499) if !self.twin_known => "existsPhrases: add its words by hand".to_owned(),
            _ => String::new(),
        };
        row("create of a name that is taken", twin, therefore);
        let off = match (self.off, self.off_gone) {
            (None, _) => "not possible, or ignored",
            (Some(_), true) => "the account is gone or hidden: coming back is a create",
            (Some(_), false) => "the account stays",
        };
        row(
            "switching off",
            off.to_owned(),
            key(&["activeByPatch", "activeAsString"]),
        );
        row(
            "filter by a name that is switched off",
            hits_in_words(self.off_found),
            String::new(),
        );
        row(
            "switching on again",
            said(self.on_took, "done", "not taken"),
            String::new(),
        );
        let delete = match (self.deleted, self.delete_leaves) {
            (None, _) => "not asked".to_owned(),
            (status, Some(true)) => format!("{}; the account is still there", answered(status)),
            (status, _) => answered(status),
        };
        row("DELETE", delete, key(&["delete"]));
        let of_groups = keys.get("groups").and_then(Value::as_object).cloned();
        rows.extend(self.groups.rows(&of_groups.unwrap_or_default()));
        rows
    }

    pub(super) fn outcome(&self, change: Change) -> String {
        outcome_in_words(self.changes.get(&change))
    }
}

pub(super) fn outcome_in_words(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "not asked".to_owned();
    };
    let status = answered(outcome.status);
    match (outcome.status, outcome.took) {
        (Some(200..=299), true) if outcome.stale_answer => {
            format!("{status}, done, answered with the state before")
        }
        (Some(200..=299), true) => format!("{status}, done"),
        (Some(200..=299), false) => format!("{status}, and nothing changed"),
        _ => format!("{status}, refused"),
    }
}

pub(super) fn answered(status: Option<u16>) -> String {
    status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())
}

pub(super) fn hits_in_words(hits: Option<Hits>) -> String {
    match hits {
        Some(Hits::Ours) => "finds it",
        Some(Hits::Nothing) => "finds nothing",
        Some(Hits::Others) => "finds others: the filter is ignored",
        Some(Hits::Refused) => "refused",
        None => "not asked",
    }
    .to_owned()
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
