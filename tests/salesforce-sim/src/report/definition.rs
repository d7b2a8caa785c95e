//! A report as an administrator saves it. Leaves out checking it against the columns: a saved report can be broken.

use serde_json::{Value, json};

/// Shape of a report; only tabular ones are a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// Rows.
    Tabular,
    /// Rows in groups.
    Summary,
    /// Groups across and down.
    Matrix,
    /// Joined.
    MultiBlock,
}

impl ReportFormat {
    pub(crate) fn api_name(self) -> &'static str {
        match self {
            Self::Tabular => "TABULAR",
            Self::Summary => "SUMMARY",
            Self::Matrix => "MATRIX",
            Self::MultiBlock => "MULTI_BLOCK",
        }
    }

    /// `Format` of the Report object.
    pub(crate) fn record_name(self) -> &'static str {
        match self {
            Self::Tabular => "Tabular",
            Self::Summary => "Summary",
            Self::Matrix => "Matrix",
            Self::MultiBlock => "MultiBlock",
        }
    }
}

/// One filter row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFilter {
    /// Column name, for example `ACTIVE`.
    pub column: String,
    /// `equals`, `notEqual`, `lessThan`, `greaterThan`, `lessOrEqual`, `greaterOrEqual`, `contains`, `notContain`,
    /// `startsWith`, `includes`, `excludes`.
    pub operator: String,
    /// As text, also for numbers and booleans.
    pub value: String,
}

impl ReportFilter {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "column": self.column, "operator": self.operator, "value": self.value, "filterType": "fieldValue",
            "isRunPageEditable": true,
        })
    }
}

/// A saved report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportDefinition {
    /// Name in the list of reports.
    pub name: String,
    /// API name.
    pub developer_name: String,
    /// Name of the folder it is in.
    pub folder: String,
    /// Shape.
    pub format: ReportFormat,
    /// API name of the report type; `User` is the Users type.
    pub report_type: String,
    /// Column names in order; those of the Users type, see the default report.
    pub columns: Vec<String>,
    /// Saved filters.
    pub filters: Vec<ReportFilter>,
    /// For example `(1 OR 2) AND 3`.
    pub boolean_filter: Option<String>,
    /// Column to sort by, and whether descending.
    pub sort: Option<(String, bool)>,
    /// At most this many rows, as a row limit of the report.
    pub row_limit: Option<usize>,
}

impl ReportDefinition {
    /// The default report "All Users" in the folder "Spinify Reports": tabular, active and inactive people.
    pub fn all_users() -> Self {
        let columns = [
            "FIRST_NAME",
            "LAST_NAME",
            "USERS.EMAIL",
            "ACTIVE",
            "USERS.TIMEZONE",
            "USER_ID",
            "USERNAME",
            "DEPT",
            "USERS.TITLE",
            "USERS.DIVISION",
            "COMPANY_NAME",
            "EMPLOYEE_NUMBER",
            "USERS.PHONE1",
            "USERS.CELL",
            "ROLE",
            "PROFILE",
            "MANAGER",
            "LOCALE",
            "LANGUAGE",
            "LAST_UPDATE",
            "FEDERATION_ID",
        ];
        Self {
            name: "All Users".to_owned(),
            developer_name: "All_Users".to_owned(),
            folder: "Spinify Reports".to_owned(),
            format: ReportFormat::Tabular,
            report_type: "User".to_owned(),
            columns: columns.map(ToOwned::to_owned).to_vec(),
            filters: Vec::new(),
            boolean_filter: None,
            sort: None,
            row_limit: None,
        }
    }

    pub(crate) fn type_label(&self) -> &str {
        if self.report_type == "User" {
            "Users"
        } else {
            &self.report_type
        }
    }

    /// `reportMetadata`.
    pub(crate) fn metadata(&self, id: &str) -> Value {
        let sort: Vec<Value> = self
            .sort
            .iter()
            .map(|(column, descending)| json!({"sortColumn": column, "sortOrder": if *descending { "Desc" } else { "Asc" }}))
            .collect();
        json!({
            "id": id, "name": self.name, "developerName": self.developer_name, "description": null,
            "reportFormat": self.format.api_name(),
            "reportType": {"type": self.report_type, "label": self.type_label()},
            "detailColumns": self.columns,
            "reportFilters": self.filters.iter().map(ReportFilter::to_json).collect::<Vec<_>>(),
            "reportBooleanFilter": self.boolean_filter,
            "sortBy": sort,
            "topRows": self.row_limit.map(|limit| json!({"rowLimit": limit, "direction": "Asc"})),
            "standardDateFilter": {"column": "CREATED_DATE", "durationValue": "CUSTOM", "startDate": null, "endDate": null},
            "standardFilters": null, "scope": "organization", "aggregates": ["RowCount"], "groupingsDown": [],
            "groupingsAcross": [], "historicalSnapshotDates": [], "hasDetailRows": true, "showGrandTotal": true,
            "showSubtotals": true, "currency": null, "crossFilters": [], "customSummaryFormula": {}, "division": null,
        })
    }
}
