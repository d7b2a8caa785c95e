//! The two semi-joins: who has a permission set, who is in a group. They are judged by the person's published lists.
//!
//! Inside stand `=`, `IN` and `LIKE` with AND and OR. A negation inside would ask for *another* entry ("is in some group
//! that is not X"), which is hardly ever meant; "is not in X" is `Id NOT IN (…)`.

use crate::{
    check::id,
    error::FilterError,
    evaluate::{Entry, List, Member},
    fields::{Operand, nearest},
    syntax::{Comparison, Expr, Literal, Operator, Right, Select, Spanned},
    text::{self, Pattern, Step, fold, fold_char},
};

/// One of the two tables.
struct Table {
    object: &'static str,
    column: &'static str,
    list: List,
    prefix: &'static str,
    ids: [&'static str; 2],
    name: &'static str,
    /// A name that is not published, and why not.
    other: (&'static str, &'static str),
}

const TABLES: [Table; 2] = [
    Table {
        object: "PermissionSetAssignment",
        column: "AssigneeId",
        list: List::PermissionSets,
        prefix: "0PS",
        ids: ["PermissionSetId", "PermissionSet.Id"],
        name: "PermissionSet.Label",
        other: (
            "PermissionSet.Name",
            "of permission sets the label is published: use PermissionSet.Label or PermissionSetId",
        ),
    },
    Table {
        object: "GroupMember",
        column: "UserOrGroupId",
        list: List::Groups,
        prefix: "00G",
        ids: ["GroupId", "Group.Id"],
        name: "Group.Name",
        other: (
            "Group.DeveloperName",
            "of groups the name is published that Setup shows: use Group.Name or GroupId",
        ),
    },
];

/// Compiles a semi-join.
pub(crate) fn member(
    operand: &Operand,
    field: &Spanned<String>,
    select: &Select,
    negated: bool,
) -> Result<Member, FilterError> {
    let refuse = |span: &std::ops::Range<usize>, message: String, hint: String| {
        Err(FilterError::new(span.clone(), message, hint))
    };
    if &*operand.name != "id" {
        return refuse(
            &field.span,
            format!("`{}` cannot be looked for in a query", field.is),
            "only Id IN (SELECT …) and Id NOT IN (SELECT …) are supported".to_owned(),
        );
    }
    let Some(table) = TABLES
        .iter()
        .find(|table| table.object.eq_ignore_ascii_case(&select.object.is))
    else {
        return refuse(
            &select.object.span,
            format!("`{}` is not published", select.object.is),
            "PermissionSetAssignment and GroupMember are".to_owned(),
        );
    };
    if !table.column.eq_ignore_ascii_case(&select.column.is) {
        return refuse(
            &select.column.span,
            format!("`{}` is not the user of {}", select.column.is, table.object),
            format!("select {}", table.column),
        );
    }
    let Some(condition) = &select.condition else {
        return refuse(
            &select.whole.span,
            format!("the query of {} does not say which", table.object),
            format!("add WHERE {} = '…'", table.name),
        );
    };
    Ok(Member {
        list: table.list,
        condition: table.entry(condition)?,
        negated,
    })
}

impl Table {
    fn entry(&self, expr: &Expr) -> Result<Entry, FilterError> {
        let all = |parts: &[Expr]| parts.iter().map(|part| self.entry(part)).collect::<Result<_, _>>();
        match expr {
            Expr::And(parts) => Ok(Entry::All(all(parts)?)),
            Expr::Or(parts) => Ok(Entry::Any(all(parts)?)),
            Expr::Not(inner) => Err(self.negative(first(inner))),
            Expr::Compare(comparison) => self.comparison(comparison),
        }
    }

    fn negative(&self, comparison: &Comparison) -> FilterError {
        FilterError::new(
            comparison.field.span.start..comparison.operator.span.end,
            "a negation cannot stand inside of the query",
            format!("use Id NOT IN (SELECT {} FROM {} WHERE …)", self.column, self.object),
        )
    }

    fn comparison(&self, comparison: &Comparison) -> Result<Entry, FilterError> {
        let (field, operator) = (&comparison.field, &comparison.operator);
        let is = |name: &str| field.is.eq_ignore_ascii_case(name);
        let by_id = self.ids.iter().any(|name| is(name));
        if !by_id && !is(self.name) {
            return Err(self.unknown(field));
        }
        if matches!(operator.is, Operator::NotEqual | Operator::NotIn | Operator::Excludes) {
            return Err(self.negative(comparison));
        }
        let values: &[Spanned<Literal>] = match &comparison.right {
            Right::Literal(literal) => std::slice::from_ref(literal),
            Right::List(literals) => literals,
            Right::Select(select) => {
                return Err(FilterError::new(
                    select.whole.span.clone(),
                    "a query cannot stand inside of a query",
                    "name the groups or permission sets",
                ));
            }
        };
        let raw = |literal: &Spanned<Literal>| match &literal.is {
            Literal::Text(raw) if !raw.is_empty() => Ok(raw.clone()),
            other => Err(FilterError::new(
                literal.span.clone(),
                format!(
                    "`{}` is a text, this is {}",
                    field.is,
                    if matches!(other, Literal::Text(_)) {
                        "empty"
                    } else {
                        other.kind()
                    }
                ),
                "write 'text' in single quotes",
            )),
        };
        match (operator.is, by_id) {
            (Operator::Equal | Operator::In, true) => {
                let ids = values.iter().map(|value| id(&raw(value)?, self.prefix, &value.span));
                let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
                ids.sort_unstable();
                Ok(Entry::Id(ids.into()))
            }
            (Operator::Equal | Operator::In, false) => {
                let names = values
                    .iter()
                    .map(|value| text::literal(&raw(value)?, &value.span).map(|text| fold(&text)));
                let mut names = names.collect::<Result<Vec<_>, _>>()?;
                names.sort_unstable();
                Ok(Entry::Name(names.into()))
            }
            (Operator::Like, false) => {
                let mut steps = Vec::new();
                for value in values {
                    steps = text::pattern(&raw(value)?, &value.span)?;
                }
                let folded = steps.into_iter().map(|step| match step {
                    Step::Char(c) => Step::Char(fold_char(c)),
                    wild => wild,
                });
                Ok(Entry::NameLike(Pattern::new(folded.collect())))
            }
            (other, _) => Err(FilterError::new(
                operator.span.clone(),
                format!("`{}` is not supported for `{}`", other.as_str(), field.is),
                if by_id { "use = or IN" } else { "use =, IN or LIKE" },
            )),
        }
    }

    fn unknown(&self, field: &Spanned<String>) -> FilterError {
        let (name, why) = self.other;
        let (message, hint) = if field.is.eq_ignore_ascii_case(name) {
            (format!("`{name}` is not published"), why.to_owned())
        } else {
            let names = [self.name, self.ids[0], self.ids[1]];
            let near = nearest(&field.is, names.into_iter());
            let hint = if near.is_empty() {
                format!("of {} there are {} and {}", self.object, self.name, self.ids[0])
            } else {
                format!("did you mean {}?", near.join(" or "))
            };
            (format!("unknown field `{}` of {}", field.is, self.object), hint)
        };
        FilterError::new(field.span.clone(), message, hint)
    }
}

/// Some comparison of a condition, to have a place for a message.
fn first(expr: &Expr) -> &Comparison {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => first(&parts[0]),
        Expr::Not(inner) => first(inner),
        Expr::Compare(comparison) => comparison,
    }
}
