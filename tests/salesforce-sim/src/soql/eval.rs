//! Evaluates a bound condition on a row. Text ignores case, null booleans are false, and `!=` and `NOT IN` return rows
//! whose field is null: long-standing practice, where the reference is silent (vendor documentation).
//!
//! Leaves out lists, order and limits: `query.rs`.

use std::{cmp::Ordering, sync::Arc};

use super::{
    ast::Operator,
    resolve::{Bound, Operand, Test, list_key},
};
use crate::{
    field::FieldKind,
    org::state::{Row, State},
    value::{FieldValue, fold},
};

/// The row at the end of the path; `None` when a parent is absent.
pub(crate) fn follow<'a>(state: &'a State, row: &'a Row, bound: &Bound) -> Option<&'a Row> {
    bound.hops.iter().try_fold(row, |row, hop| {
        let id = row.get(hop.field).as_text()?;
        state.table(hop.object).rows.get(id)
    })
}

/// The value at the end of the path; null when a parent is absent.
pub(crate) fn value<'a>(state: &'a State, row: &'a Row, bound: &Bound) -> &'a FieldValue {
    const NULL: FieldValue = FieldValue::Null;
    follow(state, row, bound).map_or(&NULL, |row| row.get(bound.field))
}

fn kind(state: &State, bound: &Bound) -> FieldKind {
    state.table(bound.object).def.fields[bound.field].kind
}

pub(crate) fn matches(state: &State, row: &Row, test: &Test) -> bool {
    match test {
        Test::And(parts) => parts.iter().all(|part| matches(state, row, part)),
        Test::Or(parts) => parts.iter().any(|part| matches(state, row, part)),
        Test::Not(inner) => !matches(state, row, inner),
        Test::Compare(bound, operator, operand) => {
            compare(kind(state, bound), value(state, row, bound), *operator, operand)
        }
        Test::In(bound, negated, texts, null) => {
            let value = value(state, row, bound);
            let listed = if value.is_null() {
                *null
            } else {
                texts.contains(&list_key(kind(state, bound), value))
            };
            listed != *negated
        }
    }
}

fn compare(kind: FieldKind, value: &FieldValue, operator: Operator, operand: &Operand) -> bool {
    match operand {
        Operand::Pattern(pattern) => value.as_text().is_some_and(|text| like(&fold(text), pattern)),
        Operand::Range(start, end) => in_range(value, operator, *start, *end),
        Operand::Value(FieldValue::Null) if kind == FieldKind::Boolean => {
            value.is_true() == (operator == Operator::NotEqual)
        }
        Operand::Value(FieldValue::Bool(flag)) => (value.is_true() == *flag) == (operator == Operator::Equal),
        Operand::Value(other) => {
            let equal = || {
                if kind == FieldKind::Id || kind == FieldKind::Reference {
                    value == other
                } else {
                    value.order(other) == Ordering::Equal
                }
            };
            match operator {
                Operator::Equal => equal(),
                Operator::NotEqual => !equal(),
                _ if value.is_null() => false,
                Operator::Like => false,
                _ => {
                    let order = if kind == FieldKind::Id || kind == FieldKind::Reference {
                        value.as_text().cmp(&other.as_text())
                    } else {
                        value.order(other)
                    };
                    holds(operator, order)
                }
            }
        }
    }
}

fn holds(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        Operator::Like => false,
    }
}

/// A named literal is a range: `=` inside, `<` before its start, `>` after its end.
fn in_range(value: &FieldValue, operator: Operator, start: i64, end: i64) -> bool {
    let (FieldValue::DateTime(ms) | FieldValue::Date(ms)) = value else {
        return operator == Operator::NotEqual;
    };
    match operator {
        Operator::Equal => (start..=end).contains(ms),
        Operator::NotEqual => !(start..=end).contains(ms),
        Operator::Less => *ms < start,
        Operator::LessOrEqual => *ms <= end,
        Operator::Greater => *ms > end,
        Operator::GreaterOrEqual => *ms >= start,
        Operator::Like => false,
    }
}

/// `%` is any run of characters, `_` exactly one, a backslash makes the next one itself. Both sides are folded.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    // Classic two-pointer match with one remembered `%`.
    let (mut at, mut in_pattern) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if let Some(&letter) = pattern.get(in_pattern) {
            if letter == '%' {
                in_pattern += 1;
                retry = Some((in_pattern, at));
                continue;
            }
            let (expected, width, any) = match letter {
                '\\' => (pattern.get(in_pattern + 1).copied().unwrap_or('\\'), 2, false),
                '_' => ('_', 1, true),
                other => (other, 1, false),
            };
            if text.get(at).is_some_and(|&found| any || found == expected) {
                at += 1;
                in_pattern += width;
                continue;
            }
        } else if at == text.len() {
            return true;
        }
        match retry {
            Some((from, place)) if place < text.len() => {
                retry = Some((from, place + 1));
                in_pattern = from;
                at = place + 1;
            }
            _ => return false,
        }
    }
}

/// Ids the condition pins down, so that a look-up need not read the whole table.
pub(crate) fn pinned_ids(test: &Test) -> Option<Vec<Arc<str>>> {
    let is_id = |bound: &Bound| bound.hops.is_empty() && bound.field == 0;
    match test {
        Test::And(parts) => parts.iter().find_map(pinned_ids),
        Test::Compare(bound, Operator::Equal, Operand::Value(FieldValue::Text(id))) if is_id(bound) => {
            Some(vec![Arc::clone(id)])
        }
        Test::In(bound, false, texts, _) if is_id(bound) => {
            Some(texts.iter().map(|text| Arc::from(text.as_str())).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_the_whole_value() {
        for (text, pattern, expected) in [
            ("ada", "a%", true),
            ("ada", "%d%", true),
            ("ada", "_da", true),
            ("ada", "ad", false),
            ("100%", r"100\%", true),
            ("1000", r"100\%", false),
            ("a_b", r"a\_b", true),
            ("axb", r"a\_b", false),
            ("", "%", true),
            ("日本", "_本", true),
            ("abcabc", "%abc", true),
            ("o'neill", r"o'%", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} like {pattern}");
        }
    }
}
