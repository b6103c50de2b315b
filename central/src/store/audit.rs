//! What operators did, when and why; noted in the transaction of the deed.

use serde_json::Value;
use tokio_postgres::Transaction;

use super::StoreError;

/// Who does something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doer {
    /// The person's name.
    pub name: String,
    /// The reason, where one was given.
    pub reason: Option<String>,
}

/// Notes a deed.
pub(super) async fn note(
    transaction: &Transaction<'_>,
    doer: &Doer,
    action: &str,
    details: Value,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO audit (actor, action, details, reason) VALUES ($1, $2, $3, $4)",
            &[&doer.name, &action, &details, &doer.reason],
        )
        .await
        .map_err(StoreError::on("note who did it"))?;
    Ok(())
}
