//! How many of what others say equal the rows, and which do not.

/// Differences that one comparison tells at most.
pub(super) const DIFFERENCES_MAX: usize = 20;

/// Everything in scope, compared.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Compared<D> {
    /// How many equal their rows.
    pub equal: usize,
    /// How many cannot be compared.
    pub undecided: usize,
    /// How many differ.
    pub differing: usize,
    /// The first that differ.
    pub differences: Vec<D>,
}

impl<D> Default for Compared<D> {
    fn default() -> Self {
        Self { equal: 0, undecided: 0, differing: 0, differences: Vec::new() }
    }
}

impl<D> Compared<D> {
    /// Returns true where there was nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.equal + self.undecided + self.differing == 0
    }

    /// Adds one that differs.
    pub(super) fn differ(&mut self, difference: D) {
        self.differing += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        }
    }

    /// Adds what another comparison found.
    pub(crate) fn join(&mut self, other: Self) {
        self.equal += other.equal;
        self.undecided += other.undecided;
        self.differing += other.differing;
        self.differences.extend(other.differences);
        self.differences.truncate(DIFFERENCES_MAX);
    }
}
