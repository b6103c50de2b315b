//! Gates in the database of a run: a transaction waits at one for as long as the test holds it, so
//! that the program can be ended, or its line cut, at a known step. The program itself has no hook.

use fakes::wait;
use tokio_postgres::Client;

use crate::ingest_world::{SOON, World};
use fakes::postgres::client;

/// Where a transaction of the centre can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Read and judged before, nothing stored yet: the offset is about to be moved.
    Claim = 1,
    /// Rows and verdicts are being stored.
    Rows = 2,
    /// The server has the COMMIT and has not answered.
    Commit = 3,
}

/// A gate that is shut; dropping the connection opens it.
pub(super) struct Shut {
    gate: Gate,
    keeper: Client,
}

/// Makes the gates; all are open.
pub(super) async fn build(world: &World) {
    let sql = "
        CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint); RETURN NULL; END $$;
        CREATE TRIGGER gate_claim BEFORE UPDATE ON progress
            FOR EACH STATEMENT EXECUTE FUNCTION pass_gate(1);
        CREATE TRIGGER gate_rows AFTER INSERT ON batch
            FOR EACH STATEMENT EXECUTE FUNCTION pass_gate(2);
        CREATE CONSTRAINT TRIGGER gate_commit AFTER UPDATE ON progress
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_gate(3)";
    world.sql.batch_execute(sql).await.unwrap();
}

impl Gate {
    /// Shuts it: the next transaction that comes there waits.
    pub(super) async fn shut(self, world: &World) -> Shut {
        let keeper = client::connect(world.database.access()).await.unwrap();
        keeper.execute("SELECT pg_advisory_lock($1)", &[&(self as i64)]).await.unwrap();
        Shut { gate: self, keeper }
    }
}

impl Shut {
    /// Waits until somebody waits.
    pub(super) async fn until_reached(&self) {
        let sql = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                   WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted";
        let waits = wait::until("a transaction is at the gate", SOON, async || {
            match self.keeper.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) {
                0 => Err("nobody waits".to_owned()),
                _ => Ok(()),
            }
        });
        waits.await.unwrap();
    }

    /// Opens it; whoever waits goes on.
    pub(super) async fn open(self) {
        let opened = "SELECT pg_advisory_unlock($1)";
        self.keeper.execute(opened, &[&(self.gate as i64)]).await.unwrap();
    }
}
