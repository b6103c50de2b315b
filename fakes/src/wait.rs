//! Polls until something is true; a deadline that passes says what was seen last. Never sleeps
//! blindly: the pause lies between two looks, and the first look comes at once.

use std::time::Duration;

use tokio::time::Instant;

/// The pause between two looks: short against what is waited for, long against a look's cost.
const PAUSE: Duration = Duration::from_millis(25);

/// How long one look at a starting server may take: one that hangs must not hide that it has ended.
pub(crate) const LOOK: Duration = Duration::from_secs(10);

/// What did not become true in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {within:?} until {what}; last seen: {last_seen}")]
pub struct TimedOut {
    /// What was waited for, as the rest of "until ...".
    pub what: String,
    /// How long.
    pub within: Duration,
    /// What the last look saw.
    pub last_seen: String,
}

/// Looks again and again until the look succeeds, and returns what it found; a failed look returns
/// what it saw instead. A look that itself outlives the deadline is given up.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, TimedOut> {
    let deadline = Instant::now() + within;
    let mut last_seen = String::from("nothing yet, the first look is still under way");
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => last_seen = seen,
            Err(_) => {}
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(TimedOut { what: what.to_owned(), within, last_seen });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_becomes_true_is_returned() {
        let mut looks = 0;
        let found = until("three looks are done", Duration::from_secs(10), async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_stays_false_is_told_with_what_was_last_seen() {
        let never = until("pigs fly", Duration::from_millis(100), async || {
            Err::<(), _>("a pig on the ground".to_owned())
        });
        assert_eq!(
            never.await.unwrap_err().to_string(),
            "waited 100ms until pigs fly; last seen: a pig on the ground"
        );
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_outlive_the_deadline() {
        let hung = until("the wall answers", Duration::from_millis(100), async || {
            std::future::pending::<Result<(), String>>().await
        });
        assert!(hung.await.unwrap_err().to_string().contains("first look is still under way"));
    }
}
