//! The figures as they are printed.

/// The rows: what was measured, the figure, its ratio to something, and what is aimed at.
#[derive(Default)]
pub struct Table(Vec<[String; 4]>);

impl Table {
    /// Adds a row, and prints it at once.
    pub fn row(&mut self, what: impl Into<String>, measured: impl Into<String>, ratio: impl Into<String>, aim: &str) {
        let row = [what.into(), measured.into(), ratio.into(), aim.into()];
        eprintln!("{}", row.join(" | "));
        self.0.push(row);
    }

    /// Prints them all.
    pub fn print(&self) {
        let head = ["what", "measured", "ratio", "aim"].map(String::from);
        let rows: Vec<&[String; 4]> = std::iter::once(&head).chain(&self.0).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..4).map(width).collect();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\nOn {cores} cores; Postgres, the exporter and what asks it share them.");
        for row in rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}

/// Bytes, for people.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// The median.
pub fn middle(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
