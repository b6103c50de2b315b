//! What an operator sees after something went wrong, and does about it by the centre's own commands.

use std::collections::BTreeMap;

use fakes::wait;

use super::run::Run;
use crate::ingest_world::SOON;

/// How a comparison ends that finds nothing but receipt numbers missing.
const NUMBERS_MISSING: i32 = 6;

impl Run {
    /// Asserts that so many letters wait for somebody, and that nothing else does.
    pub(super) async fn assert_one_alarm(&self, letters: u64) {
        let counts = self.world.store.counts().await.unwrap();
        let letters = i64::try_from(letters).unwrap();
        assert_eq!((counts.dead_letters, counts.gaps, counts.open_breakers), (letters, 0, 0));
        assert_eq!(self.centre.said("ALARM"), 0, "{}", self.centre.tail());
    }

    /// Waits until all is exact, and asserts that nothing waits for an operator any more and that the
    /// comparison of all places finds nothing. There were so many alarms in the log.
    pub(super) async fn assert_settled(&self, alarms: usize) {
        self.until_exact().await;
        let counts = self.world.store.counts().await.unwrap();
        assert_eq!((counts.dead_letters, counts.gaps, counts.open_breakers), (0, 0, 0));
        let compared = self.centre.output(&["reconcile"]).await;
        let said = String::from_utf8_lossy(&compared.stdout);
        // Batches by hand leave numbers out, which is told by a status of its own.
        assert!(matches!(compared.status.code(), Some(0 | NUMBERS_MISSING)), "{said}");
        assert_eq!(self.centre.said("ALARM"), alarms, "{}", self.centre.tail());
    }

    /// Waits until so many letters are open.
    pub(super) async fn until_letters(&self, wanted: u64) {
        let sql = "SELECT count(*) FROM dead_letter WHERE state = 'open'";
        let set_aside = wait::until("what cannot count is set aside", SOON, async || {
            match self.world.number(sql).await.unsigned_abs() {
                open if open == wanted => Ok(()),
                open => Err(format!("{open} of {wanted} letters are open")),
            }
        });
        set_aside.await.unwrap_or_else(|late| panic!("{late}: {}", self.centre.tail()));
    }

    /// Returns how many letters are open, by the rules that refuse them.
    pub(super) async fn rules(&self) -> BTreeMap<String, u64> {
        let sql = "SELECT rules, count(*) FROM (
                       SELECT (SELECT string_agg(r->>'rule', ' ') FROM jsonb_array_elements(reasons) r)
                       AS rules FROM dead_letter WHERE state = 'open') l GROUP BY rules";
        let rows = self.world.sql.query(sql, &[]).await.unwrap();
        let letters = |row: &tokio_postgres::Row| row.get::<_, i64>(1).unsigned_abs();
        rows.iter().map(|row| (row.get(0), letters(row))).collect()
    }

    /// Replays the letters that a rule refuses; returns how many count now.
    pub(super) async fn replay(&self, rule: &str) -> u64 {
        let words = ["deadletters", "replay", "--wait-seconds", "60", "--reason", rule];
        let said = self.centre.says(&words).await;
        assert!(!said.contains("not judged yet"), "{said}");
        said.lines().filter(|line| line.ends_with("is replayed")).count() as u64
    }
}

/// Returns what [`Run::rules`] is held against.
pub(super) fn refused(rules: &[(&str, u64)]) -> BTreeMap<String, u64> {
    rules.iter().map(|&(rules, letters)| (rules.to_owned(), letters)).collect()
}
