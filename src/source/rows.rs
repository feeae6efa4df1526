//! Rows as text cells, kept in one piece of memory a page.
//!
//! Every database prints its values: numbers in their shortest exact form, times in ISO 8601, booleans as `true` and
//! `false`. What a cell means is the collector's business; nothing here interprets one.

/// Rows of equal width whose cells are text or NULL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    width: usize,
    text: String,
    cells: Vec<(u32, u32)>,
}

const NULL: (u32, u32) = (u32::MAX, u32::MAX);

impl Rows {
    /// No rows yet, each to have `width` cells.
    pub fn new(width: usize) -> Self {
        Rows { width, text: String::new(), cells: Vec::new() }
    }

    /// Rows from literal cells, for tests and examples.
    pub fn of(width: usize, cells: &[Option<&str>]) -> Self {
        let mut rows = Rows::new(width);
        for cell in cells {
            rows.push(*cell);
        }
        rows
    }

    /// Appends the next cell; `width` of them make a row. A page beyond 4 GiB of text reads as NULL from there.
    pub fn push(&mut self, cell: Option<&str>) {
        let span = cell.and_then(|cell| {
            let start = u32::try_from(self.text.len()).ok()?;
            let end = start.checked_add(u32::try_from(cell.len()).ok()?)?;
            self.text.push_str(cell);
            Some((start, end))
        });
        self.cells.push(span.unwrap_or(NULL));
    }

    /// Cells in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many whole rows there are.
    pub fn len(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One row.
    pub fn row(&self, index: usize) -> Row<'_> {
        Row { rows: self, cells: &self.cells[index * self.width..(index + 1) * self.width] }
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|index| self.row(index))
    }
}

/// One row.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    rows: &'a Rows,
    cells: &'a [(u32, u32)],
}

impl<'a> Row<'a> {
    /// The text of a cell; none for NULL.
    pub fn cell(&self, column: usize) -> Option<&'a str> {
        let (start, end) = self.cells[column];
        if (start, end) == NULL { None } else { Some(&self.rows.text[start as usize..end as usize]) }
    }
}
