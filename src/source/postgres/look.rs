//! The last look at a table's catalog and moment, kept for the following pages of the same sweep.
//!
//! A look takes the server milliseconds of planning, a page of rows little more. Only the look of a sweep's first page
//! decides where the next sweep begins, so the pages after it may do with that one or a later one. It must never serve
//! a first page, nor outlive its connection or a failure.

use super::statement::Shape;
use crate::source::{Moment, RowsQuery, RowsRange};

/// Pages that one look serves: so few that an index dropped meanwhile, or lag shown to people, is soon told.
const PAGES_A_LOOK: u32 = 10;

/// What the last look told.
#[derive(Default)]
pub(super) struct Look {
    last: Option<Last>,
}

struct Last {
    table: String,
    time: String,
    key: Vec<String>,
    shape: Shape,
    moment: Moment,
    pages: u32,
}

impl Look {
    /// What the look for the pages before this one told, if this page may do with it.
    pub(super) fn again(&mut self, query: &RowsQuery, range: &RowsRange) -> Option<(Shape, Moment)> {
        range.after.as_ref()?;
        let last = self.last.as_mut()?;
        let same = (&last.table, &last.time, &last.key) == (&query.table, &query.time, &query.key);
        if !same || last.pages >= PAGES_A_LOOK {
            return None;
        }
        last.pages += 1;
        Some((last.shape.clone(), last.moment.clone()))
    }

    /// Keeps what a look told.
    pub(super) fn keep(&mut self, query: &RowsQuery, shape: &Shape, moment: &Moment) {
        self.last = Some(Last {
            table: query.table.clone(),
            time: query.time.clone(),
            key: query.key.clone(),
            shape: shape.clone(),
            moment: moment.clone(),
            pages: 1,
        });
    }

    /// Something failed: the table may not be what it was.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{CursorMode, Deletions, PagePosition};

    #[test]
    fn serves_a_few_further_pages_of_the_same_table_and_never_a_first_page() {
        let query = |table: &str| RowsQuery {
            table: table.into(),
            key: vec!["id".into()],
            time: "at".into(),
            columns: Vec::new(),
            filter: None,
            transition: None,
            time_zone: "UTC".into(),
            parameters: Vec::new(),
        };
        let shape = Shape { time_type: "date".into(), key_types: vec!["uuid".into()] };
        let moment = Moment {
            mode: CursorMode::Horizon,
            now: 1,
            horizon: Some(1),
            oldest_open: None,
            identity: String::new(),
            indexed: true,
            deletions: Deletions::default(),
        };
        let first = RowsRange::of_everything(1);
        let further = RowsRange { after: Some(PagePosition(Vec::new())), ..first.clone() };
        let mut look = Look::default();
        assert!(look.again(&query("a"), &further).is_none(), "there was no look");
        look.keep(&query("a"), &shape, &moment);
        assert!(look.again(&query("a"), &first).is_none(), "a sweep begins");
        assert!(look.again(&query("b"), &further).is_none(), "another table");
        let served = (0..100).take_while(|_| look.again(&query("a"), &further).is_some()).count();
        assert_eq!(served, PAGES_A_LOOK as usize - 1);
        look.keep(&query("a"), &shape, &moment);
        look.forget();
        assert!(look.again(&query("a"), &further).is_none(), "a read failed");
    }
}
