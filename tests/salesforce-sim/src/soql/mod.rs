//! The SOQL subset that provisioning needs (SOQL and SOSL Reference). What it does not know it refuses
//! in Salesforce's own error shape.

pub(crate) mod ast;
pub(crate) mod cursor;
pub(crate) mod eval;
pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod query;
pub(crate) mod resolve;
