//! What is said about mistakes, word for word; and the rules of facts, a row each.

use super::*;

mod mistakes;
mod rules;
mod whole;
