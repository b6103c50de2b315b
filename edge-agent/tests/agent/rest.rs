//! The samples of vendors of JSON interfaces.

use shared::receipt::Receipt;

use crate::reading::{context, find, print, receipts, shared_folder};

/// What each of the vendor's acceptance requests is worth, by its codes: cents, or why it is no sale.
const ACCEPTANCE: [(usize, Result<i64, &str>); 28] = [
    (1, Err("other: an order (0x10)")),
    (2, Ok(1300)),
    (3, Ok(-1300)), // The void flag, with reversed amounts.
    (4, Ok(1300)),
    (5, Err("other: an order (0x10)")),
    (6, Err("aborted: a sale (0x00) paid with nothing but the word Storno")),
    (7, Err("other: an order (0x10)")),
    (8, Err("other: a protocol (0x14), own use")),
    (9, Err("other: an order (0x10)")),
    (10, Err("other: a protocol (0x14), advertising")),
    (11, Err("other: an order (0x10)")),
    (12, Err("other: a delivery note (0x0F), to a room")),
    (13, Err("other: an order (0x10)")),
    (14, Err("other: an information invoice (0x0E)")),
    (15, Ok(5200)), // An invoice (0x0C) counts; it is on account.
    (16, Ok(0)),    // The invoice is settled: no goods, two payments.
    (17, Err("other: an order (0x10)")),
    (18, Ok(2000)), // A voucher under the code of an unknown service.
    (19, Err("other: an order (0x10)")),
    (20, Ok(1300)),
    (21, Err("other: an order (0x10)")),
    (22, Ok(1300)),
    (23, Err("other: an order (0x10)")),
    (24, Ok(7800)),
    (25, Err("other: an order (0x10)")),
    (26, Ok(1000)), // Amounts of 20 decimals that round to the total.
    (27, Err("other: an order (0x10)")),
    (28, Ok(1500)),
];

#[test]
fn the_acceptance_requests_count_by_what_they_are() {
    let Some(folder) = shared_folder("data/pos/rest/fiskaltrust-acceptance") else { return };
    let format = find("fiskaltrust", None).unwrap();
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let names: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    let mut seen: Vec<Receipt> = Vec::new();
    for (number, worth) in ACCEPTANCE {
        let prefix = format!("{number}_");
        let path = names
            .iter()
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix));
        let bytes = std::fs::read(path.unwrap()).unwrap();
        let read = receipts(&format, &context("10", chrono_tz::Europe::Berlin), &bytes);
        let [receipt] = read.as_slice() else { panic!("{number} holds {} receipts", read.len()) };
        match worth {
            Ok(cents) => {
                assert_eq!((receipt.counts, receipt.total_cents.0), (true, cents), "{number}");
            }
            Err(why) => {
                let reason = receipt.reason.as_ref().map(ToString::to_string);
                assert_eq!(
                    (receipt.counts, reason.as_deref()),
                    (false, why.split(':').next()),
                    "{number}"
                );
            }
        }
        seen.push(receipt.clone());
    }
    let keys: std::collections::BTreeSet<_> =
        seen.iter().map(|it| (&it.series, &it.receipt)).collect();
    assert_eq!(keys.len(), 28, "every request has a name of its own");
    assert_eq!(seen.iter().map(|it| it.total_cents.0).sum::<i64>(), 21_400);
    assert_eq!(seen.iter().filter(|it| it.counts).count(), 11);
    let kinds =
        |at: usize| seen[at - 1].payments.iter().map(|it| it.kind.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (kinds(24), kinds(20)),
        (vec!["cash".into(), "credit".into()], vec!["voucher".into()])
    );
    assert_eq!(seen[17].lines[0].kind.as_str(), "voucher_sale");
    assert_eq!(seen[2].lines[0].quantity_milli.0, -1000);
    assert_eq!(seen[27].lines[2].kind.as_str(), "tip");
}

#[test]
fn squares_examples_have_their_documented_amounts_and_what_is_no_order_is_refused() {
    let Some(folder) = shared_folder("data/pos/rest/square-openapi-examples") else { return };
    let format = find("square", None).unwrap();
    for (name, location, cents, milli, tax) in [
        ("RetrieveOrderResponse", "D7AVYMEAPJ3A3", 550, 3000, 0),
        ("CreateOrderResponse", "057P5VYJ4A5X1", 6176, 3000, 510),
        ("UpdateOrderResponse", "MXVQSVNDGN3C8", 900, 3000, 0),
        ("PayOrderResponse", "P3CCK6HSNDAS7", 2000, 3000, 0),
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.example.json"))).unwrap();
        let context = context(location, chrono_tz::America::New_York);
        let open = receipts(&format, &context, text.as_bytes());
        assert_eq!(open[0].counts, text.contains("\"COMPLETED\""), "{name}");
        let done = text.replace("\"state\": \"OPEN\"", "\"state\": \"COMPLETED\"");
        let read = receipts(&format, &context, done.as_bytes());
        let quantity: i64 = read[0].lines.iter().map(|line| line.quantity_milli.0).sum();
        let found = (read[0].total_cents.0, quantity, read[0].tax_added_cents.0);
        assert_eq!(found, (cents, milli, tax), "{name}");
        assert!(read[0].version.is_some());
    }
    for (name, reason) in [
        ("SearchOrdersResponse", "it has no id"),
        ("BatchRetrieveOrdersResponse", "it has no time"),
        ("CalculateOrderResponse", "it has no id"),
        ("OrderUpdatedEvent", "it has no id"),
    ] {
        let bytes = std::fs::read(folder.join(format!("{name}.example.json"))).unwrap();
        let printed =
            print(&format, &context("057P5VYJ4A5X1", chrono_tz::America::New_York), &bytes);
        assert!(printed.contains(reason), "{name}: {printed}");
    }
}
