//! The items under one key of the table, a page at a time.

use super::call::{Caller, Kind};
use super::item::{self, Item};
use crate::Error;

/// Pages that are read consistently, each when it is asked for.
pub(super) struct Pages<'call> {
    caller: &'call Caller,
    action: &'static str,
    pk: String,
    range: Option<(String, String)>,
    only: &'static [&'static str],
    next: Next,
}

enum Next {
    First,
    From(Item),
    Over,
}

impl<'call> Pages<'call> {
    pub(super) const fn new(caller: &'call Caller, action: &'static str, pk: String) -> Self {
        Self {
            caller,
            action,
            pk,
            range: None,
            only: &[],
            next: Next::First,
        }
    }

    /// Only those whose second key lies between these two, both included.
    pub(super) fn between(mut self, first: String, last: String) -> Self {
        self.range = Some((first, last));
        self
    }

    /// Only these attributes of them.
    pub(super) const fn only(mut self, attributes: &'static [&'static str]) -> Self {
        self.only = attributes;
        self
    }

    /// The items of the next page, which may be none; `None` behind the last page.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Item>>, Error> {
        let start = match std::mem::replace(&mut self.next, Next::Over) {
            Next::First => None,
            Next::From(start) => Some(start),
            Next::Over => return Ok(None),
        };
        let mut request = self
            .caller
            .client
            .query()
            .table_name(&self.caller.table)
            .consistent_read(true)
            .expression_attribute_values(":pk", item::string(self.pk.clone()))
            .set_exclusive_start_key(start);
        request = match &self.range {
            None => request.key_condition_expression("pk = :pk"),
            Some((first, last)) => request
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":first", item::string(first.clone()))
                .expression_attribute_values(":last", item::string(last.clone())),
        };
        if !self.only.is_empty() {
            let names: Vec<String> = (0..self.only.len()).map(|number| format!("#n{number}")).collect();
            request = request.projection_expression(names.join(", "));
            for (name, attribute) in names.into_iter().zip(self.only) {
                request = request.expression_attribute_names(name, *attribute);
            }
        }
        let page = self
            .caller
            .get(Kind::Read, self.action, || request.clone().send())
            .await?;
        if let Some(last) = page.last_evaluated_key {
            self.next = Next::From(last);
        }
        Ok(Some(page.items.unwrap_or_default()))
    }
}
