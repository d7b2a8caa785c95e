//! Administration of reports: saving, deleting, and the ways in which a saved report goes wrong.
//!
//! Each saved report has its row in the Report object, with the folder's name and id. Leaves out running: `report/run.rs`.

use std::sync::Arc;

use super::{Org, state::State};
use crate::{clock, report::ReportDefinition, value::FieldValue};

impl Org {
    /// Saves a report; its folder is made when there is none of that name. Gives the id.
    pub fn add_report(&self, definition: ReportDefinition) -> String {
        let mut state = self.state_mut();
        let now = FieldValue::DateTime(clock::whole_seconds(self.now_ms()));
        let folder = folder_id(&mut state, &definition.folder);
        let id = state.ids.next("00O");
        let table = state.table("Report");
        let mut row = table.blank(Arc::clone(&id));
        let by = FieldValue::Text(Arc::clone(&state.admin_id));
        for (name, value) in [
            ("Name", FieldValue::text(&definition.name)),
            ("DeveloperName", FieldValue::text(&definition.developer_name)),
            ("FolderName", FieldValue::text(&definition.folder)),
            ("OwnerId", FieldValue::Text(folder)),
            ("Format", FieldValue::text(definition.format.record_name())),
            ("CreatedDate", now.clone()),
            ("LastModifiedDate", now.clone()),
            ("SystemModstamp", now),
            ("CreatedById", by.clone()),
            ("LastModifiedById", by),
        ] {
            row.set(table.def.at(name), value);
        }
        state.table_mut("Report").rows.insert(Arc::clone(&id), row);
        state.reports.insert(Arc::clone(&id), definition);
        id.to_string()
    }

    /// Id of the report with this name in this folder.
    pub fn report_id(&self, folder: &str, name: &str) -> Option<String> {
        let state = self.state();
        let found = state
            .reports
            .iter()
            .find(|(_, report)| report.folder == folder && report.name == name);
        found.map(|(id, _)| id.to_string())
    }

    /// The saved report.
    pub fn report(&self, id: &str) -> Option<ReportDefinition> {
        let id = crate::id::normalize(id)?;
        self.state().reports.get(id.as_str()).cloned()
    }

    /// Saves another definition under an id; `false` when there is none such.
    pub fn replace_report(&self, id: &str, definition: ReportDefinition) -> bool {
        let Some(id) = crate::id::normalize(id) else {
            return false;
        };
        match self.state_mut().reports.get_mut(id.as_str()) {
            Some(saved) => {
                *saved = definition;
                true
            }
            None => false,
        }
    }

    /// Deletes a report; `false` when there is none such.
    pub fn remove_report(&self, id: &str) -> bool {
        let Some(id) = crate::id::normalize(id) else {
            return false;
        };
        let mut state = self.state_mut();
        state.table_mut("Report").rows.remove(id.as_str());
        state.reports.remove(id.as_str()).is_some()
    }

    /// Takes a column out of a saved report.
    pub fn remove_report_column(&self, id: &str, column: &str) -> bool {
        self.edit_columns(id, |columns| columns.retain(|name| name != column))
    }

    /// Renames a column of a saved report to a name that its type does not have: runs fail, describe drops it.
    pub fn rename_report_column(&self, id: &str, column: &str, new_name: &str) -> bool {
        self.edit_columns(id, |columns| {
            for name in columns.iter_mut().filter(|name| *name == column) {
                new_name.clone_into(name);
            }
        })
    }

    fn edit_columns(&self, id: &str, edit: impl FnOnce(&mut Vec<String>)) -> bool {
        let Some(mut definition) = self.report(id) else {
            return false;
        };
        edit(&mut definition.columns);
        self.replace_report(id, definition)
    }
}

fn folder_id(state: &mut State, name: &str) -> Arc<str> {
    let table = state.table("Folder");
    let position = table.def.at("Name");
    if let Some(folder) = table
        .rows
        .values()
        .find(|row| row.get(position).as_text() == Some(name))
    {
        return Arc::clone(&folder.id);
    }
    let id = state.ids.next("00l");
    let table = state.table("Folder");
    let mut row = table.blank(Arc::clone(&id));
    row.set(position, FieldValue::text(name));
    row.set(table.def.at("DeveloperName"), FieldValue::text(&name.replace(' ', "_")));
    row.set(table.def.at("Type"), FieldValue::text("Report"));
    state.table_mut("Folder").rows.insert(Arc::clone(&id), row);
    id
}
