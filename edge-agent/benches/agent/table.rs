//! What was measured, as one table and as a file for programs.

use std::path::PathBuf;

use serde::Serialize;

/// A figure, and what it is told beside.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The part of the bench.
    pub(crate) part: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// How much.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: &'static str,
    /// Receipts or movements a second, where that is another figure.
    pub(crate) per_second: Option<f64>,
    /// What the libraries below manage, in the same unit.
    pub(crate) plain: Option<f64>,
    /// What of them does.
    pub(crate) beside: &'static str,
}

impl Row {
    /// Makes a figure that stands for itself; `beside` says what it must be read with.
    pub(crate) fn alone(
        part: &'static str,
        what: &str,
        (value, unit): (f64, &'static str),
        beside: &'static str,
    ) -> Self {
        Self { part, what: what.to_owned(), value, unit, per_second: None, plain: None, beside }
    }

    /// Returns how often the plain cost fits into ours.
    fn ratio(&self) -> Option<f64> {
        self.plain.map(|plain| self.value / plain)
    }
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.0.push(row);
    }

    /// Prints all rows.
    pub(crate) fn print(&self) {
        println!("\n{}", HEAD);
        println!("{}", "|---".repeat(7) + "|");
        self.0.iter().for_each(|row| println!("{}", line(row)));
        println!(
            "\nThe ratio is ours to the plain one, in the same unit of the same run: of speeds the \
             share that is left, whatever the machine does beside."
        );
    }

    /// Leaves the rows in the target folder.
    pub(crate) fn save(&self) {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../bench.json");
        let rows = self.0.iter().map(|row| {
            let mut value = serde_json::to_value(row).unwrap();
            value["ratio"] = row.ratio().into();
            value
        });
        let rows: Vec<serde_json::Value> = rows.collect();
        std::fs::write(&path, serde_json::to_vec_pretty(&rows).unwrap()).unwrap();
        println!("\nalso in {}", path.canonicalize().unwrap().display());
    }
}

const HEAD: &str = "| part | what | measured | receipts/s | plain | ratio | beside |";

fn line(row: &Row) -> String {
    let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), shown);
    format!(
        "| {} | {} | {} {} | {} | {} | {} | {} |",
        row.part,
        row.what,
        shown(row.value),
        row.unit,
        or_dash(row.per_second),
        or_dash(row.plain),
        or_dash(row.ratio()),
        row.beside
    )
}

/// Three digits that say something.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
