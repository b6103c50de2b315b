//! One shop, every format: what a seeded day says is the same whatever the till writes, as far as the
//! format can say it. The table of what each can say stands in `fakes/src/till.rs`.

use edge_agent::format::Format;
use fakes::shop::{Assortment, Country, Plan, Shop, minutes_from};
use fakes::till::Dialect;
use fakes::till::projection::{Carries, figures};
use shared::ids::StoreId;
use shared::receipt::Receipt;
use shared::time::Minute;

use crate::reading::{context, find, receipts};

#[test]
fn the_same_day_gives_the_same_minutes_in_every_format() {
    for (dialect, format) in [
        (Dialect::Jsonl, find("jsonl", None)),
        (Dialect::PoslogFakes, find("poslog", Some("fakes"))),
        (Dialect::NcrAcs, find("poslog", Some("ncr-acs"))),
        (Dialect::WnTpnet, find("poslog", Some("wn-tpnet"))),
        (Dialect::Roqqio, find("poslog", Some("roqqio"))),
        (Dialect::Visma, find("poslog", Some("visma"))),
        (Dialect::Gk, find("poslog", Some("gk"))),
        (Dialect::V6, find("poslog", Some("v6"))),
        (Dialect::Escpos, find("escpos", Some("rewe"))),
        (Dialect::Fiskaltrust, find("fiskaltrust", None)),
    ] {
        compare(dialect, &format.unwrap());
    }
}

fn compare(dialect: Dialect, format: &Format) {
    let zone = chrono_tz::Europe::Berlin;
    let country = if dialect == Dialect::NcrAcs { Country::America } else { Country::Germany };
    let issued = issued(country, zone);
    let read = receipts(format, &context("0010", zone), &dialect.file(&issued, zone));
    let carries = Carries::of(dialect);
    let (wanted, found) = (figures(&issued, carries), figures(&read, carries));
    for (place, wanted) in &wanted {
        let found = found.get(place).cloned().unwrap_or_default();
        for (key, sums) in &wanted.lines {
            assert_eq!(found.lines.get(key), Some(sums), "{dialect:?} at {place:?}: {key:?}");
        }
        for (key, sums) in &found.lines {
            assert_eq!(wanted.lines.get(key), Some(sums), "{dialect:?} at {place:?}: {key:?}");
        }
        assert_eq!(found.payments, wanted.payments, "{dialect:?} at {place:?}");
        assert_eq!(&found, wanted, "{dialect:?} at {place:?}");
    }
    assert_eq!(found.len(), wanted.len(), "{dialect:?}");
    assert!(wanted.len() > 50, "{dialect:?}: only {} minutes", wanted.len());
}

fn issued(country: Country, zone: chrono_tz::Tz) -> Vec<Receipt> {
    let store = StoreId::new("0010").unwrap();
    let receipts_per_thousand_minutes = 6_000;
    let plan = Plan { store, zone, country, tills: 3, receipts_per_thousand_minutes, seed: 4711 };
    let mut shop = Shop::new(plan, std::sync::Arc::new(Assortment::new(200, country)));
    let first: Minute = "2026-11-23T09:00:00Z".parse().unwrap();
    minutes_from(first, 60).map(|minute| shop.minute(minute)).flat_map(|it| it.receipts).collect()
}
