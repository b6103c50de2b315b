//! What the database counts, for collectors.

use super::{Store, StoreError};

/// Figures that a collector wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Sequences that never arrived.
    pub gaps: i64,
    /// Seconds since the oldest gap opened; 0 where there is none.
    pub gap_oldest_seconds: i64,
    /// Dead letters that nobody dealt with.
    pub dead_letters: i64,
    /// Stores whose records go aside.
    pub open_breakers: i64,
}

impl Store {
    /// Counts gaps, open dead letters and open breakers.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let connection = self.connection().await?;
        let row = connection
            .query_one(
                "SELECT (SELECT coalesce(sum(sequences), 0)::bigint FROM v1.gaps),
                        (SELECT coalesce(extract(epoch FROM now() - min(since)), 0)::bigint
                           FROM v1.gaps),
                        (SELECT count(*) FROM dead_letter WHERE state = 'open'),
                        (SELECT count(*) FROM breaker WHERE opened_at IS NOT NULL)",
                &[],
            )
            .await
            .map_err(StoreError::on("count gaps and dead letters"))?;
        Ok(Counts {
            gaps: row.get(0),
            gap_oldest_seconds: row.get(1),
            dead_letters: row.get(2),
            open_breakers: row.get(3),
        })
    }
}
