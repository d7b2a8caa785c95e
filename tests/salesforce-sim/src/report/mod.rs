//! Saved reports: definition, columns, filters, runs (Reports and Dashboards REST API guide).
//!
//! A report is saved by an administrator and read through the API. Leaves out HTTP: `rest/reports.rs`.

pub(crate) mod columns;
pub(crate) mod definition;
pub(crate) mod filter;
pub(crate) mod run;

pub use self::definition::{ReportDefinition, ReportFilter, ReportFormat};
