//! What the database counts, for collectors.

use super::{Store, StoreError};

/// Figures that a collector wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Sequences that never arrived.
    pub gaps: i64,
    /// Dead letters that nobody dealt with.
    pub dead_letters: i64,
}

impl Store {
    /// Counts gaps and open dead letters.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let connection = self.connection().await?;
        let row = connection
            .query_one(
                "SELECT (SELECT coalesce(sum(gaps), 0)::bigint FROM v1.streams),
                        (SELECT count(*) FROM dead_letter WHERE state = 'open')",
                &[],
            )
            .await
            .map_err(StoreError::on("count gaps and dead letters"))?;
        Ok(Counts { gaps: row.get(0), dead_letters: row.get(1) })
    }
}
