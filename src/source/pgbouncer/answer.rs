//! What the console answered: named columns of text, put into the order that a collector wants.
//!
//! Versions differ in the columns they have, so a column is found by its name and never by its place. Nothing here
//! asks anything.

use crate::source::Rows;

/// Answers that list one thing a row, by the names of their first two columns (`SHOW CONFIG`, `SHOW LISTS`).
const LISTS: [(&str, &str); 2] = [("key", "value"), ("list", "items")];

/// An answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Answer {
    /// The columns' names; none when there is no row.
    pub(super) names: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Answer {
    /// Appends a row.
    pub(super) fn push(&mut self, cells: Vec<Option<String>>) {
        self.rows.push(cells);
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The first cell of the first row.
    pub(super) fn first(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// No more than so many rows; a list is one row however long it is.
    pub(super) fn first_rows(mut self, count: usize) -> Answer {
        if self.values().is_none() {
            self.rows.truncate(count);
        }
        self
    }

    /// The cells in the order of these columns; what the answer does not have is NULL. A list of names and values is one row
    /// whose columns are those names.
    pub(super) fn rows(&self, columns: &[String]) -> Rows {
        let mut rows = Rows::new(columns.len());
        if let Some(value) = self.values() {
            for column in columns {
                let named = self.rows.iter().find(|row| row[0].as_deref() == Some(column));
                rows.push(named.and_then(|row| row[value].as_deref()));
            }
            return rows;
        }
        let places: Vec<Option<usize>> =
            columns.iter().map(|column| self.names.iter().position(|name| name == column)).collect();
        for row in &self.rows {
            for place in &places {
                rows.push(place.and_then(|place| row[place].as_deref()));
            }
        }
        rows
    }

    /// Which of these columns the answer does not have.
    pub(super) fn missing<'c>(&self, columns: &'c [String]) -> Vec<&'c str> {
        let is_there = |column: &str| match self.values() {
            Some(_) => self.rows.iter().any(|row| row[0].as_deref() == Some(column)),
            None => self.names.iter().any(|name| name == column),
        };
        columns.iter().map(String::as_str).filter(|column| !is_there(column)).collect()
    }

    /// Where the values stand, if this is a list of names and values.
    fn values(&self) -> Option<usize> {
        let [first, second, ..] = self.names.as_slice() else { return None };
        LISTS.contains(&(first.as_str(), second.as_str())).then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(names: &[&str], rows: &[&[Option<&str>]]) -> Answer {
        let mut answer = Answer { names: names.iter().map(|name| name.to_string()).collect(), ..Answer::default() };
        for row in rows {
            answer.push(row.iter().map(|cell| cell.map(str::to_owned)).collect());
        }
        answer
    }

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn columns_are_found_by_name_and_missing_ones_are_null() {
        let pools = answer(
            &["database", "user", "cl_active"],
            &[&[Some("shop"), None, Some("3")], &[Some("blog"), Some("ana"), Some("0")]],
        );
        let wanted = columns(&["cl_active", "sv_new", "database", "user"]);
        let expected = [Some("3"), None, Some("shop"), None, Some("0"), None, Some("blog"), Some("ana")];
        assert_eq!(pools.rows(&wanted), Rows::of(4, &expected));
        assert_eq!(pools.missing(&wanted), ["sv_new"]);
        assert_eq!(pools.clone().first_rows(1).rows(&wanted), Rows::of(4, &expected[..4]));
        assert_eq!(answer(&[], &[]).rows(&wanted), Rows::new(4));
    }

    #[test]
    fn a_list_of_names_and_values_is_one_row() {
        let wanted = columns(&["max_user_connections", "nothing", "max_client_conn"]);
        let expected = Rows::of(3, &[Some("0"), None, Some("100")]);
        let rows: [&[Option<&str>]; 2] = [
            &[Some("max_client_conn"), Some("100"), Some("100"), Some("yes")],
            &[Some("max_user_connections"), Some("0"), Some("0"), Some("yes")],
        ];
        let config = answer(&["key", "value", "default", "changeable"], &rows);
        assert_eq!(config.rows(&wanted), expected);
        assert_eq!(config.missing(&wanted), ["nothing"]);
        assert_eq!(config.first_rows(1).rows(&wanted), expected, "a sample holds the whole list");
        let old = answer(&["key", "value", "changeable"], &rows.map(|row| &row[..3]));
        assert_eq!(old.rows(&wanted), expected);
        let lists = answer(&["list", "items"], &rows.map(|row| &row[..2]));
        assert_eq!(lists.rows(&wanted), expected);
    }
}
