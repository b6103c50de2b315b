//! A store's disk is dead: the centre writes what it has of the store, signed, and the new box reads the
//! tills' files again without counting anything twice.

use std::time::Duration;

use crate::cli::{central, text};
use crate::ingest_world::{Running, World};
use crate::planted_shop::{RECEIPTS, Shop, TILLS};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_box_learns_what_the_centre_has() {
    let world = World::new("new_box").await;
    let base = world.base.minus(Duration::from_secs(86_400 * 3));
    let mut old = Shop::open("10", None, (base, 1));
    let running = Running::start(&world.config);
    old.live(0).await;
    old.live(1).await;
    let sent = old.ship(&world, 0).await;
    world.until_judged(sent).await;
    running.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipts.json");
    let own = world.stack.layout().credentials("central");
    let (out, key) = (file.to_str().unwrap(), own.key.to_str().unwrap());
    let export = |store, key| {
        central(&world, &["stores", "export-receipts", store, "--out", out, "--key", key])
    };

    let written = export("10", key);

    assert!(written.status.success(), "{}", text(&written));
    let day = u64::from(RECEIPTS) * TILLS.len() as u64;
    let told = format!("{} receipts of 4 tills and series of store 10", 2 * day);
    assert!(text(&written).contains(&told), "{}", text(&written));
    let audited = "SELECT count(*) FROM audit WHERE action = 'stores export-receipts'";
    assert_eq!(world.number(audited).await, 1);
    let store = "10".parse().unwrap();
    let delivered = edge_agent::restore::read(&file, &own.certificate, &store).unwrap();
    assert!(delivered.stream.is_some());
    let new = Shop::open("10", None, (base, 1));
    assert_eq!(new.remember(delivered).await, 2 * day);
    for (known, number) in [(day, 0), (day, 1), (0, 2)] {
        let taken = new.read_again(number).await;
        assert_eq!((taken.duplicates, taken.fresh), (known, day - known));
    }
    // Another one's signature is none, and another store's file is not ours.
    let foreign = world.stack.layout().credentials("admin");
    let read = |certificate, store: &str| {
        edge_agent::restore::read(&file, certificate, &store.parse().unwrap())
    };
    assert!(read(&foreign.certificate, "10").is_err() && read(&own.certificate, "11").is_err());
    let unknown = export("99", key);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("store 99 is not in the registry"), "{}", text(&unknown));
    let no_key = export("10", world.config_file.to_str().unwrap());
    assert_eq!(no_key.status.code(), Some(1), "{}", text(&no_key));
    assert!(!folder.path().join("receipts.json.part").exists());
}
