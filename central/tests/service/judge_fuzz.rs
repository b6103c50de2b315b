//! Whatever bytes a record has, the judge answers, answers the same again, and lets nothing pass whose
//! sums are wrong. `make judge INPUTS=n` tries so many.

use central::validate::delivered::Delivered;
use central::validate::registry::{Registered, UnknownStores};
use central::validate::{Limits, Remembered, Submission, Verdict, content, verdict};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use shared::ledger::Standing;
use shared::minute::StoreMinute;
use shared::time::Timestamp;
use shared::wire::store_minute_headers;

/// Inputs that are judged in `make test`: some seconds in a debug build.
const INPUTS: u32 = 3000;
const GOOD: &str = include_str!("../../../shared/tests/shared/golden/store-minute.full.json");

#[test]
fn the_judge_answers_whatever_comes() {
    let inputs = std::env::var("INPUTS").map_or(INPUTS, |text| text.parse().expect("a number"));
    let config = Config { cases: inputs, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..256);
    let judged = runner.run(&bytes, |input| {
        judge(&input);
        Ok(())
    });
    judged.unwrap();
}

/// A record made of the input: its bytes as they are, or our good record with damage done to it.
struct Made {
    key: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

fn judge(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let made = made(*kind, rest);
    let at: Timestamp = "2026-11-23T09:42:07Z".parse().unwrap();
    let submission = Submission {
        key: Some(&made.key),
        headers: &made.headers,
        body: Some(&made.body),
        appended_at: at,
    };
    let found = content(&submission, &Limits::default());
    let again = content(&submission, &Limits::default());
    assert_eq!((found.hash, &found.reasons), (again.hash, &again.reasons));
    let (store, receipts, movements) =
        (Registered::since_ever(), Delivered::default(), Default::default());
    let mut remembered = Remembered {
        standing: Standing::Missing,
        hash: None,
        store: Some(&store),
        unknown_stores: UnknownStores::Refuse,
        receipts: &receipts,
        movements: &movements,
    };
    match verdict(&found, &remembered) {
        Verdict::Accepted => {
            let batch = found.batch.as_ref().expect("what counts can be read");
            assert_sums(batch);
            // What counted does not count again, neither under its place nor under another.
            remembered.standing = Standing::Accepted;
            remembered.hash = Some(found.hash);
            assert_eq!(verdict(&found, &remembered), Verdict::Duplicate);
            let mut delivered = Delivered::default();
            delivered.add(batch);
            let has_receipts = batch.tills.iter().any(|till| till.receipt_count > 0);
            remembered.standing = Standing::Missing;
            remembered.receipts = &delivered;
            let refused = matches!(verdict(&found, &remembered), Verdict::Refused(_));
            assert_eq!(refused, has_receipts);
        }
        Verdict::Refused(reasons) => assert!(!reasons.is_empty()),
        Verdict::Duplicate => panic!("nothing was accepted before"),
    }
}

/// The sums that a till's minute must keep, by a few lines of their own.
fn assert_sums(batch: &StoreMinute) {
    for till in &batch.tills {
        let made = till.lines_cents.0 + till.tax_added_cents.0 + till.adjustment_cents.0;
        assert_eq!(made, till.total_cents.0, "{till:?}");
        let of_till = |name: &shared::ids::TillId| *name == till.till;
        let rows = batch.sales.iter().filter(|row| of_till(&row.till));
        let tills = batch.tills.iter().filter(|one| of_till(&one.till));
        let rows: i64 = rows.map(|row| row.amount_cents.0).sum();
        assert_eq!(rows, tills.map(|one| one.lines_cents.0).sum::<i64>(), "{till:?}");
    }
}

fn made(kind: u8, rest: &[u8]) -> Made {
    let batch: StoreMinute = serde_json::from_str(GOOD).unwrap();
    let headers = store_minute_headers(&batch, batch.minute.end());
    let mut made = Made {
        key: batch.store.as_str().into(),
        headers: headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        body: GOOD.trim_end().into(),
    };
    match kind % 4 {
        0 => made.body = rest.to_vec(),
        1 => damage(&mut made.body, rest),
        2 => {
            if let Some((which, rest)) = rest.split_first() {
                match made.headers.get_mut(usize::from(*which) % 9) {
                    Some((_, value)) => damage(value, rest),
                    None => damage(&mut made.key, rest),
                }
            }
        }
        _ => bend(&mut made.body, rest),
    }
    made
}

/// Three bytes a blow: where, how, and with what.
fn damage(bytes: &mut Vec<u8>, blows: &[u8]) {
    for (n, blow) in blows.chunks_exact(3).take(8).enumerate() {
        if bytes.is_empty() {
            return;
        }
        let at = (usize::from(blow[0]) * 31 + n * 257) % bytes.len();
        match blow[1] % 4 {
            0 => bytes[at] = blow[2],
            1 => bytes[at] ^= 1 << (blow[2] % 8),
            2 => bytes.insert(at, blow[2]),
            _ => {
                bytes.truncate(at);
            }
        }
    }
}

/// Puts other values into the places of the document; three bytes each.
fn bend(body: &mut Vec<u8>, bends: &[u8]) {
    let mut document: Value = serde_json::from_slice(body).unwrap();
    for bend in bends.chunks_exact(3).take(4) {
        let mut place = &mut document;
        for step in [bend[0] % 16, bend[0] / 16, bend[1] % 16, bend[1] / 16] {
            let step = usize::from(step);
            let length =
                place.as_array().map_or(0, Vec::len) + place.as_object().map_or(0, |map| map.len());
            if length == 0 {
                break;
            }
            place = match place {
                Value::Array(list) => &mut list[step % length],
                Value::Object(map) => map.values_mut().nth(step % length).unwrap(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => break,
            };
        }
        let small = i64::from(bend[2]);
        let values = [
            Value::Null,
            small.into(),
            (-small).into(),
            i64::MAX.into(),
            u64::MAX.into(),
            1.5.into(),
            "a\0".into(),
            Value::Array(Vec::new()),
        ];
        *place = values[usize::from(bend[2]) % values.len()].clone();
    }
    *body = document.to_string().into_bytes();
}
