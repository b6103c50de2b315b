//! One small function per rule about a readable batch. Each adds every reason that it finds; none stops another. Sums are
//! made in 128 bits, so that no figure that fits the wire can overflow here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use shared::ids::TillId;
use shared::minute::{StoreMinute, TillMinute};
use shared::ranges::Ranges;
use shared::time::Timestamp;
use shared::wire::RecordId;

use super::envelope::Named;
use super::{Limits, Reasons, told};

/// How far a minute may lie ahead of the broker's clock.
const FUTURE_MAX: Duration = Duration::from_secs(600);
/// How far a business day may lie before its minute and before the append time.
const DAYS_BACK_MAX: i64 = 400;
/// How far a business day may lie after its minute.
const DAYS_AHEAD_MAX: i64 = 2;
/// The largest amount (cents) or quantity (thousandths) of one row: sums over a store's history
/// then fit 64 bits.
pub(crate) const FIGURE_MAX: u64 = 1_000_000_000_000;
/// The largest count of anything within a minute.
pub(crate) const COUNT_MAX: u64 = 1_000_000_000;
/// The largest VAT rate in basis points.
const VAT_BP_MAX: u32 = 100_000;
/// The largest receipt number: ranges are stored half open in 64 bits.
pub(crate) const NUMBER_MAX: u64 = i64::MAX as u64 - 1;

/// A readable batch with what stands around it.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The batch.
    pub batch: &'a StoreMinute,
    /// What key and headers say.
    pub named: &'a Named<'a>,
    /// When the broker took the record.
    pub at: Timestamp,
    /// What the judge is told.
    pub limits: &'a Limits,
}

/// A rule about a readable batch.
pub type Rule = fn(&Subject<'_>, &mut Reasons);

/// Every rule about a readable batch.
pub const ALL: [Rule; 18] = [
    identity,
    minute_in_time,
    business_day,
    figures,
    rates,
    counts,
    receipt_numbers,
    receipt_count,
    receipts_once,
    till_total,
    adjustments,
    payments,
    lines_of_tills,
    shares_of_tills,
    stock_signs,
    stock_ids,
    told::digests,
    told::abandoned,
];

/// Key, `ce_source` and body name the same store; `ce_id` and body the same place.
fn identity(subject: &Subject<'_>, reasons: &mut Reasons) {
    let batch = subject.batch;
    for (what, store) in [("key", &subject.named.key), ("ce_source", &subject.named.source)] {
        if let Some(store) = store.as_ref().filter(|store| **store != batch.store) {
            let says = format_args!("the {what} names store {store}, the body {}", batch.store);
            reasons.add("store", "/body/store", says);
        }
    }
    let place = RecordId { stream: batch.stream, sequence: batch.sequence };
    if let Some(id) = subject.named.id.filter(|id| *id != place) {
        let at = if id.stream == place.stream { "/body/sequence" } else { "/body/stream" };
        reasons.add("place", at, format_args!("ce_id says {id}, the body {place}"));
    }
}

/// Neither the minute nor a movement lies ahead of the broker's clock.
fn minute_in_time(subject: &Subject<'_>, reasons: &mut Reasons) {
    let latest = subject.at.plus(FUTURE_MAX);
    let minute = subject.batch.minute;
    if minute.start() > latest {
        let says = format_args!("minute {minute} lies ahead, the broker took it at {}", subject.at);
        reasons.add("minute_ahead", "/body/minute", says);
    }
    for (n, movement) in subject.batch.stock.iter().enumerate() {
        if movement.occurred_at > latest {
            let says =
                format_args!("stock movement {} lies ahead: {}", movement.id, movement.occurred_at);
            reasons.add("minute_ahead", format_args!("/body/stock/{n}/occurred_at"), says);
        }
    }
}

/// The business day fits the minute and is not older than what is still taken.
fn business_day(subject: &Subject<'_>, reasons: &mut Reasons) {
    const AT: &str = "/body/business_day";
    let day = subject.batch.business_day;
    let back = TimeDelta::days(DAYS_BACK_MAX);
    let minute_day = subject.batch.minute.start().utc().date_naive();
    let fits = minute_day - back..=minute_day + TimeDelta::days(DAYS_AHEAD_MAX);
    if !fits.contains(&day.date()) {
        let says = format_args!("business day {day} does not fit minute {}", subject.batch.minute);
        reasons.add("business_day", AT, says);
    }
    let arrived = subject.at.utc().date_naive();
    let oldest = subject.limits.oldest_business_day.map_or(arrived - back, |day| day.date());
    if day.date() < oldest {
        reasons.add("business_day", AT, format_args!("business day {day} is before {oldest}"));
    }
}

/// Every amount, quantity and rate is one that a store can have.
fn figures(subject: &Subject<'_>, reasons: &mut Reasons) {
    let batch = subject.batch;
    let mut check = |at: String, figure: i64| {
        if figure.unsigned_abs() > FIGURE_MAX {
            reasons.add("figure", at, format_args!("{figure} is beyond {FIGURE_MAX}"));
        }
    };
    for (n, sale) in batch.sales.iter().enumerate() {
        for (name, figure) in [
            ("quantity_milli", sale.quantity_milli.0),
            ("amount_cents", sale.amount_cents.0),
            ("discount_cents", sale.discount_cents.0),
            ("adjustment_share_cents", sale.adjustment_share_cents.0),
        ] {
            check(format!("/body/sales/{n}/{name}"), figure);
        }
    }
    for (n, till) in batch.tills.iter().enumerate() {
        till_figures(till)
            .for_each(|(name, figure)| check(format!("/body/tills/{n}/{name}"), figure));
    }
    for (n, movement) in batch.stock.iter().enumerate() {
        check(format!("/body/stock/{n}/quantity_milli"), movement.quantity_milli.0);
    }
    for (n, loss) in batch.losses.iter().enumerate() {
        check(format!("/body/losses/{n}/cents"), loss.cents.0);
    }
    for (n, correction) in batch.corrections.iter().enumerate() {
        check(format!("/body/corrections/{n}/total_cents"), correction.total_cents.0);
    }
    for (n, closing) in batch.closings.iter().enumerate() {
        check(format!("/body/closings/{n}/total_cents"), closing.total_cents.0);
    }
}

fn till_figures(till: &TillMinute) -> impl Iterator<Item = (String, i64)> + '_ {
    let own = [
        ("lines_cents", till.lines_cents),
        ("tax_added_cents", till.tax_added_cents),
        ("adjustment_cents", till.adjustment_cents),
        ("total_cents", till.total_cents),
        ("voided_cents", till.voided_cents),
    ];
    let own = own.into_iter().map(|(name, cents)| (name.to_owned(), cents.0));
    let vat = till.vat.iter().enumerate().flat_map(|(n, vat)| {
        let parts = [("gross", vat.gross_cents), ("net", vat.net_cents), ("tax", vat.tax_cents)];
        parts.map(|(name, cents)| (format!("vat/{n}/{name}_cents"), cents.0))
    });
    let cents = |list: &'static str, n: usize| format!("{list}/{n}/cents");
    let listed = till.adjustments.iter().enumerate();
    let listed = listed.map(move |(n, one)| (cents("adjustments", n), one.cents.0));
    let paid = till.payments.iter().enumerate();
    let paid = paid.map(move |(n, one)| (cents("payments", n), one.cents.0));
    let moved = till.cash_moves.iter().enumerate();
    let moved = moved.map(move |(n, one)| (cents("cash_moves", n), one.cents.0));
    own.chain(vat).chain(listed).chain(paid).chain(moved)
}

/// Every VAT rate is one that a country can have.
fn rates(subject: &Subject<'_>, reasons: &mut Reasons) {
    let sales = subject.batch.sales.iter().enumerate();
    let rows = sales.map(|(n, sale)| (format!("/body/sales/{n}/vat_bp"), sale.vat_bp));
    let tills = subject.batch.tills.iter().enumerate().flat_map(|(n, till)| {
        let vat = till.vat.iter().enumerate();
        vat.map(move |(m, vat)| (format!("/body/tills/{n}/vat/{m}/bp"), vat.bp))
    });
    for (at, rate) in rows.chain(tills) {
        if let Some(rate) = rate.filter(|&rate| rate > VAT_BP_MAX) {
            reasons.add("figure", at, format_args!("{rate} is beyond {VAT_BP_MAX}"));
        }
    }
}

/// Every count is one that a minute can have, and a row of sales sums up at least one line.
fn counts(subject: &Subject<'_>, reasons: &mut Reasons) {
    for (n, sale) in subject.batch.sales.iter().enumerate() {
        if !(1..=COUNT_MAX).contains(&sale.lines) {
            let says = format_args!("a row of {} has {} lines", sale.article, sale.lines);
            reasons.add("count", format_args!("/body/sales/{n}/lines"), says);
        }
    }
    for (n, till) in subject.batch.tills.iter().enumerate() {
        let counts = &till.counts;
        let all = [
            ("receipt_count", till.receipt_count),
            ("counts/line_voids", counts.line_voids),
            ("counts/receipt_voids", counts.receipt_voids),
            ("counts/returns", counts.returns),
            ("counts/price_overrides", counts.price_overrides),
            ("counts/aborted", counts.aborted),
            ("counts/training", counts.training),
            ("counts/no_sale", counts.no_sale),
            ("counts/duplicates", counts.duplicates),
            ("counts/quarantined", counts.quarantined),
        ];
        for (name, count) in all.into_iter().filter(|(_, count)| *count > COUNT_MAX) {
            let says = format_args!("till {} counts {count}", till.till);
            reasons.add("count", format_args!("/body/tills/{n}/{name}"), says);
        }
    }
    for (n, loss) in subject.batch.losses.iter().enumerate() {
        if loss.count > COUNT_MAX {
            let says = format_args!("loss {} counts {}", loss.id, loss.count);
            reasons.add("count", format_args!("/body/losses/{n}/count"), says);
        }
    }
}

/// Receipt numbers fit the ranges that are stored.
fn receipt_numbers(subject: &Subject<'_>, reasons: &mut Reasons) {
    for (n, till) in subject.batch.tills.iter().enumerate() {
        for (name, ranges) in
            [("receipts", &till.receipts), ("numbers_without_sale", &till.numbers_without_sale)]
        {
            if ranges.last().is_some_and(|last| last > NUMBER_MAX) {
                let says = format_args!("till {} has numbers beyond {NUMBER_MAX}", till.till);
                reasons.add("receipt_numbers", format_args!("/body/tills/{n}/{name}"), says);
            }
        }
    }
}

/// The count of receipts is that of their numbers and ids.
fn receipt_count(subject: &Subject<'_>, reasons: &mut Reasons) {
    for (n, till) in subject.batch.tills.iter().enumerate() {
        let listed = numbers(&till.receipts) + till.receipt_ids.len() as u128;
        if u128::from(till.receipt_count) != listed {
            let says = format_args!(
                "till {} says {} receipts and lists {listed}",
                till.till, till.receipt_count
            );
            reasons.add("receipt_count", format_args!("/body/tills/{n}/receipt_count"), says);
        }
    }
}

fn numbers(ranges: &Ranges) -> u128 {
    ranges.iter().map(|(first, last)| u128::from(last - first) + 1).sum()
}

/// No receipt stands in the batch twice. A number without sale may come again as a receipt: what was
/// parked under it is finished under it.
fn receipts_once(subject: &Subject<'_>, reasons: &mut Reasons) {
    let mut ids = BTreeSet::new();
    let mut spans: BTreeMap<_, Vec<(u64, u64)>> = BTreeMap::new();
    for (n, till) in subject.batch.tills.iter().enumerate() {
        let place = (&till.till, &till.series);
        spans.entry(place).or_default().extend(till.receipts.iter());
        for (m, id) in till.receipt_ids.iter().enumerate() {
            if !ids.insert((place, id)) {
                let says = format_args!("till {} has receipt {id} twice", till.till);
                let at = format_args!("/body/tills/{n}/receipt_ids/{m}");
                reasons.add("receipt_twice", at, says);
            }
        }
    }
    for ((till, series), mut ranges) in spans {
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
            let says = format_args!("till {till}, series {series}: {} is there twice", pair[1].0);
            reasons.add("receipt_twice", "/body/tills", says);
        }
    }
}

/// Lines + tax added + adjustments = total.
fn till_total(subject: &Subject<'_>, reasons: &mut Reasons) {
    for (n, till) in subject.batch.tills.iter().enumerate() {
        let made = sum([till.lines_cents.0, till.tax_added_cents.0, till.adjustment_cents.0]);
        if made != i128::from(till.total_cents.0) {
            let says = format_args!(
                "till {}, series {}: lines {} + tax {} + adjustments {} are not the total {}",
                till.till,
                till.series,
                till.lines_cents,
                till.tax_added_cents,
                till.adjustment_cents,
                till.total_cents
            );
            reasons.add("till_total", format_args!("/body/tills/{n}/total_cents"), says);
        }
    }
}

/// The listed adjustments sum to their total.
fn adjustments(subject: &Subject<'_>, reasons: &mut Reasons) {
    for (n, till) in subject.batch.tills.iter().enumerate() {
        let listed = sum(till.adjustments.iter().map(|one| one.cents.0));
        if listed != i128::from(till.adjustment_cents.0) {
            let says = format_args!(
                "till {}, series {}: adjustments list {listed} cents and say {}",
                till.till, till.series, till.adjustment_cents.0
            );
            reasons.add("adjustments", format_args!("/body/tills/{n}/adjustment_cents"), says);
        }
    }
}

/// Payments, where they are known, sum to the total.
fn payments(subject: &Subject<'_>, reasons: &mut Reasons) {
    for (n, till) in subject.batch.tills.iter().enumerate() {
        let paid = sum(till.payments.iter().map(|one| one.cents.0));
        if !till.payments.is_empty() && paid != i128::from(till.total_cents.0) {
            let says = format_args!(
                "till {}, series {}: payments make {paid} cents, the total is {}",
                till.till, till.series, till.total_cents.0
            );
            reasons.add("payments", format_args!("/body/tills/{n}/payments"), says);
        }
    }
}

/// Per till the rows of sales make the tills' own line totals.
fn lines_of_tills(subject: &Subject<'_>, reasons: &mut Reasons) {
    let batch = subject.batch;
    let rows = per_till(batch.sales.iter().map(|sale| (&sale.till, sale.amount_cents.0)));
    let tills = per_till(batch.tills.iter().map(|till| (&till.till, till.lines_cents.0)));
    compare(&rows, &tills, ("lines", "amounts"), reasons);
}

/// Per till the rows' shares make the tills' own adjustments.
fn shares_of_tills(subject: &Subject<'_>, reasons: &mut Reasons) {
    let batch = subject.batch;
    let share = |sale: &'_ shared::minute::SaleRow| sale.adjustment_share_cents.0;
    let rows = per_till(batch.sales.iter().map(|sale| (&sale.till, share(sale))));
    let tills = per_till(batch.tills.iter().map(|till| (&till.till, till.adjustment_cents.0)));
    compare(&rows, &tills, ("shares", "adjustment shares"), reasons);
}

/// Sums of the tills, each with the index of the till's first element.
fn per_till<'a>(parts: impl Iterator<Item = (&'a TillId, i64)>) -> PerTill<'a> {
    let mut sums = BTreeMap::new();
    for (n, (till, part)) in parts.enumerate() {
        sums.entry(till).or_insert((n, 0)).1 += i128::from(part);
    }
    sums
}

type PerTill<'a> = BTreeMap<&'a TillId, (usize, i128)>;

fn compare(
    rows: &PerTill<'_>,
    tills: &PerTill<'_>,
    (rule, what): (&'static str, &str),
    reasons: &mut Reasons,
) {
    for (till, (row, made)) in rows {
        match tills.get(till) {
            None => {
                let at = format_args!("/body/sales/{row}/till");
                reasons.add(rule, at, format_args!("till {till} has rows and no totals"));
            }
            Some((n, said)) if said != made => {
                let says = format_args!("till {till}: {what} make {made} cents, it says {said}");
                reasons.add(rule, format_args!("/body/tills/{n}"), says);
            }
            Some(_) => {}
        }
    }
    for (till, (n, said)) in tills.iter().filter(|(till, _)| !rows.contains_key(*till)) {
        if *said != 0 {
            let says = format_args!("till {till} says {said} cents and has no rows");
            reasons.add(rule, format_args!("/body/tills/{n}"), says);
        }
    }
}

/// A movement's quantity has the sign of its kind.
fn stock_signs(subject: &Subject<'_>, reasons: &mut Reasons) {
    for (n, movement) in subject.batch.stock.iter().enumerate() {
        if movement.quantity_milli.0.signum() * movement.kind.sign() < 0 {
            let says = format_args!(
                "{} {}: a {} has quantity {}",
                movement.id, movement.article, movement.kind, movement.quantity_milli
            );
            reasons.add("stock_sign", format_args!("/body/stock/{n}/quantity_milli"), says);
        }
    }
}

/// A movement stands in the batch once.
fn stock_ids(subject: &Subject<'_>, reasons: &mut Reasons) {
    let mut seen = BTreeSet::new();
    for (n, movement) in subject.batch.stock.iter().enumerate() {
        if !seen.insert(&movement.id) {
            let says = format_args!("stock movement {} is there twice", movement.id);
            reasons.add("movement_twice", format_args!("/body/stock/{n}/id"), says);
        }
    }
}

fn sum(parts: impl IntoIterator<Item = i64>) -> i128 {
    parts.into_iter().map(i128::from).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};
    use shared::wire::{encode, store_minute_headers};

    use super::super::{Submission, content};
    use super::*;

    /// A record that can be bent.
    pub(crate) struct Owned {
        pub(crate) key: Option<Vec<u8>>,
        pub(crate) headers: Vec<(String, Vec<u8>)>,
        pub(crate) body: Option<Vec<u8>>,
        pub(crate) at: Timestamp,
    }

    impl Owned {
        pub(crate) fn submission(&self) -> Submission<'_> {
            Submission {
                key: self.key.as_deref(),
                headers: &self.headers,
                body: self.body.as_deref(),
                appended_at: self.at,
            }
        }
    }

    fn json_batch() -> Value {
        json!({
            "store":"0417","minute":"2026-11-23T09:41:00Z","business_day":"2026-11-23",
            "stream":"01930b5e-7c00-7000-8000-000000000001","sequence":81234,"kind":"original",
            "tills":[{"till":"3","series":"2026-11-23","channel":"till","receipts":[[933,936]],
                "receipt_ids":["A-1"],"numbers_without_sale":[[937,937]],"receipt_count":5,
                "lines_cents":597,"tax_added_cents":0,"adjustment_cents":-12,"total_cents":585,
                "adjustments":[{"kind":"coupon","cents":-12}],
                "payments":[{"kind":"cash","cents":600},{"kind":"change","cents":-15}]}],
            "sales":[{"till":"3","article":"04012345678901","kind":"sale","unit":"pcs","vat_bp":700,
                "quantity_milli":3000,"amount_cents":597,"adjustment_share_cents":-12,"lines":2}],
            "stock":[{"id":"DESADV-7781/4","article":"04012345678901","kind":"delivery","unit":"pcs",
                "quantity_milli":48000,"occurred_at":"2026-11-23T09:40:12Z"}]
        })
    }

    pub(crate) fn batch() -> StoreMinute {
        serde_json::from_value(json_batch()).unwrap()
    }

    pub(crate) fn record(batch: &StoreMinute) -> Owned {
        let at: Timestamp = "2026-11-23T09:42:07Z".parse().unwrap();
        let headers = store_minute_headers(batch, at);
        Owned {
            key: Some(batch.store.as_str().into()),
            headers: headers.into_iter().map(|(name, text)| (name.into(), text.into())).collect(),
            body: Some(encode(batch)),
            at,
        }
    }

    fn rules_of(record: &Owned, limits: &Limits) -> Vec<&'static str> {
        content(&record.submission(), limits)
            .reasons
            .as_slice()
            .iter()
            .map(|one| one.rule)
            .collect()
    }

    /// Bends one place of the good batch and tells which rules then speak.
    fn bent(place: &str, value: Value) -> Vec<&'static str> {
        let mut body = json_batch();
        let (parent, key) = place.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("no place {place}"));
        match parent.as_array_mut() {
            Some(list) => list[key.parse::<usize>().unwrap()] = value,
            None => parent[key] = value,
        }
        let mut bent = record(&batch());
        bent.body = Some(body.to_string().into_bytes());
        rules_of(&bent, &Limits::default())
    }

    #[test]
    fn every_rule_speaks_where_its_place_is_bent_and_only_there() {
        let row = json_batch()["stock"][0].clone();
        let table: &[(&str, Value, &[&str])] = &[
            ("/store", json!("0001"), &["store", "store"]),
            ("/sequence", json!(81235), &["place"]),
            ("/stream", json!("01930b5e-7c00-7000-8000-000000000002"), &["place"]),
            ("/sequence", json!(0), &["schema"]),
            ("/minute", json!("2026-11-23T09:53:00Z"), &["minute_ahead"]),
            ("/minute", json!("2026-11-23T09:52:00Z"), &[]),
            ("/stock/0/occurred_at", json!("2027-01-01T00:00:00Z"), &["minute_ahead"]),
            ("/business_day", json!("2026-11-25"), &[]),
            ("/business_day", json!("2026-11-26"), &["business_day"]),
            ("/business_day", json!("2025-10-19"), &[]),
            ("/business_day", json!("2025-10-18"), &["business_day", "business_day"]),
            ("/sales/0/quantity_milli", json!(1_000_000_000_001_i64), &["figure"]),
            ("/sales/0/discount_cents", json!(i64::MIN), &["figure"]),
            ("/sales/0/vat_bp", json!(100_001), &["figure"]),
            ("/tills/0/voided_cents", json!(i64::MAX), &["figure"]),
            ("/stock/0/quantity_milli", json!(i64::MAX), &["figure"]),
            ("/sales/0/lines", json!(0), &["count"]),
            ("/tills/0/counts", json!({"aborted": u64::MAX}), &["count"]),
            ("/tills/0/numbers_without_sale", json!([[5, u64::MAX]]), &["receipt_numbers"]),
            ("/tills/0/receipt_count", json!(4), &["receipt_count"]),
            ("/tills/0/receipt_ids", json!(["A-1", "A-1"]), &["receipt_count", "receipt_twice"]),
            ("/tills/0/numbers_without_sale", json!([[936, 937]]), &[]),
            ("/tills/0/tax_added_cents", json!(1), &["till_total"]),
            ("/tills/0/adjustments", json!([]), &["adjustments"]),
            ("/tills/0/payments/0/cents", json!(601), &["payments"]),
            ("/tills/0/payments", json!([]), &[]),
            ("/sales/0/amount_cents", json!(596), &["lines"]),
            ("/sales/0/till", json!("4"), &["lines", "lines", "shares", "shares"]),
            ("/sales", json!([]), &["lines", "shares"]),
            ("/sales/0/adjustment_share_cents", json!(-11), &["shares"]),
            ("/stock/0/quantity_milli", json!(-1), &["stock_sign"]),
            ("/stock/0/kind", json!("waste"), &["stock_sign"]),
            ("/stock/0/kind", json!("correction"), &[]),
            ("/stock/0/kind", json!("a_new_word"), &[]),
            ("/stock", json!([row, row]), &["movement_twice"]),
            ("/sales/0/article", json!("a\u{0}b"), &["schema"]),
            ("/sales/0/amount_cents", json!(1.5), &["schema"]),
        ];
        for (place, value, wanted) in table {
            assert_eq!(bent(place, value.clone()), *wanted, "{place} = {value}");
        }
    }

    #[test]
    fn a_batch_that_was_given_up_is_taken_with_its_losses() {
        let mut body = batch();
        (body.tills, body.sales, body.stock) = (Vec::new(), Vec::new(), Vec::new());
        let loss = json!({"id":"01930b5e/81234/0","till":"3","minute":"2026-11-23T09:41:00Z",
            "count":5,"cents":585,"reason":"no_room"});
        body.losses = vec![serde_json::from_value(loss).unwrap()];
        assert_eq!(rules_of(&record(&body), &Limits::default()), [""; 0]);
    }

    #[test]
    fn a_receipt_that_stands_in_two_rows_of_a_till_is_there_twice() {
        let mut body = batch();
        let mut again = body.tills[0].clone();
        again.channel = shared::words::Channel::SelfScan;
        again.receipt_ids.clear();
        again.receipt_count = 4;
        body.sales.push(body.sales[0].clone());
        body.tills.push(again);
        assert_eq!(rules_of(&record(&body), &Limits::default()), ["receipt_twice"]);
        body.tills[1].series = "2026-11-23/2".parse().unwrap();
        assert_eq!(rules_of(&record(&body), &Limits::default()), [""; 0]);
    }

    #[test]
    fn every_header_is_looked_at() {
        for (name, value) in [
            ("ce_specversion", "2.0"),
            ("ce_id", "81234"),
            ("ce_source", "/stores/"),
            ("ce_type", "another"),
            ("ce_time", "yesterday"),
            ("ce_dataschema", "another"),
            ("content-type", "text/plain"),
        ] {
            let mut other = record(&batch());
            other.headers.iter_mut().filter(|(one, _)| one == name).for_each(|header| {
                header.1 = value.into();
            });
            assert_eq!(rules_of(&other, &Limits::default()), ["headers"], "{name} = {value}");
            let mut missing = record(&batch());
            missing.headers.retain(|(one, _)| one != name);
            assert_eq!(rules_of(&missing, &Limits::default()), ["headers"], "{name} missing");
            let mut twice = record(&batch());
            twice.headers.push((name.to_owned(), b"x".to_vec()));
            assert_eq!(rules_of(&twice, &Limits::default()), ["headers"], "{name} twice");
        }
    }

    #[test]
    fn key_and_body_must_be_there() {
        let mut keyless = record(&batch());
        keyless.key = None;
        assert_eq!(rules_of(&keyless, &Limits::default()), ["key"]);
        keyless.key = Some(vec![0xff]);
        assert_eq!(rules_of(&keyless, &Limits::default()), ["key"]);
        let mut empty = record(&batch());
        empty.body = None;
        assert_eq!(rules_of(&empty, &Limits::default()), ["schema"]);
    }

    #[test]
    fn a_schema_fault_names_its_place() {
        let mut bent = record(&batch());
        let mut body = json_batch();
        body["sales"][0]["amount_cents"] = json!("597");
        bent.body = Some(body.to_string().into_bytes());
        let found = content(&bent.submission(), &Limits::default());
        assert!(found.reasons.as_slice()[0].says.starts_with("at \"/sales/0/amount_cents\""));
        let mut tail = record(&batch());
        tail.body.as_mut().unwrap().extend(b" {}");
        assert_eq!(rules_of(&tail, &Limits::default()), ["schema"]);
    }

    #[test]
    fn the_oldest_business_day_is_the_configured_one() {
        let limits = Limits { oldest_business_day: Some("2026-11-24".parse().unwrap()) };
        assert_eq!(rules_of(&record(&batch()), &limits), ["business_day"]);
    }

    /// Every reason points into the record; what is absent is pointed at by its parent's place.
    fn assert_points_into(record: &Owned) {
        let found = content(&record.submission(), &Limits::default());
        let body = record.body.as_deref().and_then(|body| serde_json::from_slice(body).ok());
        let body: Value = body.unwrap_or(Value::Null);
        for reason in found.reasons.as_slice() {
            let place = reason.at.strip_prefix("/body").filter(|place| !place.is_empty());
            let there = place.is_none_or(|place| {
                let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
                body.pointer(place).is_some() || body.pointer(parent).is_some()
            });
            let known = ["/body", "/headers/", "/key"].iter().any(|one| reason.at.starts_with(one));
            // Beyond what a reason quotes, a pointer is cut off.
            assert!(known && (there || reason.at.len() >= 300), "{reason:?} in {body}");
        }
    }

    #[test]
    fn a_reason_points_to_the_field() {
        for (place, value, wanted) in [
            ("/minute", json!("2026-11-23T09:53:00Z"), "/body/minute"),
            ("/sales/0/quantity_milli", json!(i64::MIN), "/body/sales/0/quantity_milli"),
            ("/tills/0/total_cents", json!(1), "/body/tills/0/total_cents"),
            ("/tills/0/payments/0/cents", json!(i64::MAX), "/body/tills/0/payments/0/cents"),
            ("/tills/0/receipt_ids", json!(["A", "A"]), "/body/tills/0/receipt_ids/1"),
            ("/stock/0/quantity_milli", json!(-1), "/body/stock/0/quantity_milli"),
            ("/sales/0/lines", json!("two"), "/body/sales/0/lines"),
        ] {
            let mut body = json_batch();
            *body.pointer_mut(place).unwrap() = value;
            let mut bent = record(&batch());
            bent.body = Some(body.to_string().into_bytes());
            let found = content(&bent.submission(), &Limits::default());
            let places: Vec<&str> =
                found.reasons.as_slice().iter().map(|one| one.at.as_str()).collect();
            assert!(places.contains(&wanted), "{wanted} is not among {places:?}");
        }
    }

    /// Whatever a message can be: it is refused with its fault's place, or rightly taken.
    #[test]
    fn everything_that_a_message_can_be_is_refused_with_a_place_or_rightly_taken() {
        let full = |bend: &dyn Fn(&mut Value)| {
            let mut body = json_batch();
            bend(&mut body);
            body.to_string().into_bytes()
        };
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        let status = json!({"store":"0417","at":"2026-11-23T09:41:00Z","backlog":0,"version":"1"});
        for (what, body, wanted) in [
            ("empty", Vec::new(), Some("/body")),
            ("huge", vec![b'x'; 2_000_000], Some("/body")),
            ("not JSON", b"\xff\x00<xml/>".to_vec(), Some("/body")),
            ("nested without end", deep, Some("/body")),
            ("JSON of another topic", status.to_string().into_bytes(), Some("/body")),
            ("a number", b"7".to_vec(), Some("/body")),
            ("wrong types", full(&|one| one["tills"] = json!({"a": 1})), Some("/body/tills")),
            (
                "a zero byte",
                full(&|one| one["tills"][0]["series"] = json!("a\0")),
                Some("/body/tills/0/series"),
            ),
            (
                "a path for a store",
                full(&|one| one["store"] = json!("../../etc")),
                Some("/body/store"),
            ),
            (
                "beyond 64 bits",
                full(&|one| one["sales"][0]["amount_cents"] = json!(1e30)),
                Some("/body/sales/0/amount_cents"),
            ),
            (
                "the edge of 64 bits",
                full(&|one| one["sequence"] = json!(u64::MAX)),
                Some("/body/sequence"),
            ),
            (
                "SQL in a label",
                full(&|one| one["sales"][0]["text"] = json!("'); DROP TABLE sale; --")),
                None,
            ),
            ("a field of tomorrow", full(&|one| one["tomorrow"] = json!([1])), None),
            ("a kind of tomorrow", full(&|one| one["sales"][0]["kind"] = json!("rental")), None),
        ] {
            let mut bent = record(&batch());
            bent.body = Some(body);
            let found = content(&bent.submission(), &Limits::default());
            let places: Vec<&str> =
                found.reasons.as_slice().iter().map(|one| one.at.as_str()).collect();
            match wanted {
                None => assert_eq!(places, [""; 0], "{what}"),
                Some(wanted) => assert!(
                    places.iter().any(|place| place.starts_with(wanted)),
                    "{what}: {places:?}"
                ),
            }
        }
    }

    proptest::proptest! {
        /// Any field replaced by anything: no panic, and each reason points into the record.
        #[test]
        fn a_bent_batch_is_refused_with_places_or_taken(
            bends in proptest::collection::vec((0_usize..200, 0_usize..14), 1..5),
        ) {
            let mut body = json_batch();
            for (place, value) in bends {
                let places = places_of(&body);
                let values = [
                    json!(null), json!(true), json!(0), json!(-1), json!(i64::MAX), json!(i64::MIN),
                    json!(u64::MAX), json!(1.5), json!(""), json!("../x"), json!("a\u{0}\n"),
                    json!([]), json!({}), json!("'; DROP TABLE sale; --"),
                ];
                *body.pointer_mut(&places[place % places.len()]).unwrap() = values[value].clone();
            }
            let mut bent = record(&batch());
            bent.body = Some(body.to_string().into_bytes());
            assert_points_into(&bent);
        }
    }

    /// Every place of a document but the whole.
    fn places_of(value: &Value) -> Vec<String> {
        let below = |key: String, part: &Value| {
            let deeper = places_of(part).into_iter().map(|rest| format!("/{key}{rest}"));
            std::iter::once(format!("/{key}")).chain(deeper).collect::<Vec<_>>()
        };
        match value {
            Value::Array(list) => {
                list.iter().enumerate().flat_map(|(n, part)| below(n.to_string(), part)).collect()
            }
            Value::Object(map) => {
                map.iter().flat_map(|(key, part)| below(key.clone(), part)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }
}
