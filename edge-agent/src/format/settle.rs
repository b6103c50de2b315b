//! The last step of every decoder: a receipt's figures are held against each other, and its
//! adjustments are spread over its lines, which nobody can do later, since receipts do not leave the
//! store. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::Label;
use shared::money::Cents;
use shared::receipt::{Line, Receipt, StockMovement, SumFault};
use shared::words::NotCounted;

/// The largest amount of a field, in cents: ten thousand million. It keeps every sum of a day far
/// from what 64 bits hold.
pub const CENTS_MAX: i64 = 1_000_000_000_000;

/// The largest quantity of a field, in thousandths.
pub const MILLI_MAX: i64 = 1_000_000_000_000;

/// Why a receipt or a movement cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleFault {
    /// An amount or quantity is beyond what a till can mean.
    #[error("{0} is larger than any till's")]
    TooLarge(&'static str),
    /// The receipt's figures contradict each other.
    #[error("its figures contradict each other")]
    Sums(#[source] SumFault),
    /// An adjustment has no line to stand on.
    #[error("no line can carry an adjustment of {cents}{}", of_key(.key.as_ref()))]
    NoLine {
        /// The VAT key that the adjustment names.
        key: Option<Label>,
        /// Its amount.
        cents: Cents,
    },
    /// The receipt says both that it counts and why it does not.
    #[error("it counts, and says why it does not")]
    Contradiction,
    /// A movement's quantity has the wrong sign for its kind.
    #[error("a movement of kind {0} has the wrong sign")]
    MovementSign(String),
}

fn of_key(key: Option<&Label>) -> String {
    key.map_or_else(String::new, |key| format!(" for VAT key {key}"))
}

/// Checks a receipt and spreads its adjustments over its lines; one that does not count is emptied.
pub fn settle(receipt: &mut Receipt) -> Result<(), SettleFault> {
    let moves = &receipt.cash_moves;
    moves.iter().try_for_each(|part| within("a cash move", part.cents.0, CENTS_MAX))?;
    if !receipt.counts {
        empty(receipt);
        return Ok(());
    }
    if receipt.reason.is_some() || !receipt.cash_moves.is_empty() {
        return Err(SettleFault::Contradiction);
    }
    check_bounds(receipt)?;
    receipt.check_sums().map_err(SettleFault::Sums)?;
    spread(receipt)
}

/// Checks a movement of stock.
pub fn settle_movement(movement: &StockMovement) -> Result<(), SettleFault> {
    let quantity = movement.quantity_milli.0;
    within("a movement's quantity", quantity, MILLI_MAX)?;
    match movement.kind.sign() * quantity.signum() {
        -1 => Err(SettleFault::MovementSign(movement.kind.to_string())),
        _ => Ok(()),
    }
}

/// Leaves of a receipt that does not count nothing but its number and the reason: whatever amounts it
/// shows, nobody paid them. Only cash that was moved stays.
fn empty(receipt: &mut Receipt) {
    if *receipt.reason.get_or_insert(NotCounted::Other) != NotCounted::CashMove {
        receipt.cash_moves.clear();
    }
    receipt.lines.clear();
    receipt.vat.clear();
    receipt.adjustments.clear();
    receipt.payments.clear();
    receipt.tax_added_cents = Cents::ZERO;
    receipt.adjustment_cents = Cents::ZERO;
    receipt.total_cents = Cents::ZERO;
}

fn within(what: &'static str, value: i64, most: i64) -> Result<(), SettleFault> {
    if (-most..=most).contains(&value) { Ok(()) } else { Err(SettleFault::TooLarge(what)) }
}

fn check_bounds(receipt: &Receipt) -> Result<(), SettleFault> {
    let money = |what, cents: Cents| within(what, cents.0, CENTS_MAX);
    money("the total", receipt.total_cents)?;
    money("the tax", receipt.tax_added_cents)?;
    for line in &receipt.lines {
        within("a quantity", line.quantity_milli.0, MILLI_MAX)?;
        money("a line's amount", line.amount_cents)?;
        money("a line's discount", line.discount_cents)?;
        line.reductions.iter().try_for_each(|part| money("a reduction", part.cents))?;
    }
    for vat in &receipt.vat {
        for cents in [vat.gross_cents, vat.net_cents, vat.tax_cents] {
            money("a VAT amount", cents)?;
        }
    }
    receipt.adjustments.iter().try_for_each(|part| money("an adjustment", part.cents))?;
    receipt.payments.iter().try_for_each(|part| money("a payment", part.cents))
}

/// Spreads the adjustments of each VAT key over the lines of that key, those without over all lines.
fn spread(receipt: &mut Receipt) -> Result<(), SettleFault> {
    let mut per_key: BTreeMap<Option<Label>, Cents> = BTreeMap::new();
    for adjustment in &receipt.adjustments {
        let sum = per_key.entry(adjustment.vat_key.clone()).or_default();
        *sum = sum.checked_add(adjustment.cents).ok_or(SettleFault::TooLarge("an adjustment"))?;
    }
    let bearers = bearers(&receipt.lines);
    for line in &mut receipt.lines {
        line.adjustment_share_cents = Cents::ZERO;
    }
    for (key, cents) in per_key {
        spread_key(&mut receipt.lines, &bearers, key, cents)?;
    }
    let shares = Cents::checked_sum(receipt.lines.iter().map(|line| line.adjustment_share_cents));
    assert_eq!(shares, Some(receipt.adjustment_cents), "the shares make the adjustments");
    Ok(())
}

fn spread_key(
    lines: &mut [Line],
    bearers: &BTreeSet<usize>,
    key: Option<Label>,
    cents: Cents,
) -> Result<(), SettleFault> {
    if cents == Cents::ZERO {
        return Ok(());
    }
    let carries = |line: &Line| key.is_none() || line.vat_key == key;
    let chosen: Vec<usize> =
        bearers.iter().copied().filter(|&index| carries(&lines[index])).collect();
    if chosen.is_empty() {
        return Err(SettleFault::NoLine { key, cents });
    }
    let amounts: Vec<i64> = chosen.iter().map(|&index| lines[index].amount_cents.0).collect();
    for (&index, share) in chosen.iter().zip(shares(cents.0, &weights(&amounts))) {
        let line = &mut lines[index];
        line.adjustment_share_cents = Cents(line.adjustment_share_cents.0 + share);
    }
    Ok(())
}

/// Finds the lines that can carry a share: neither a void nor the line that it takes back.
fn bearers(lines: &[Line]) -> BTreeSet<usize> {
    let mut bearers: BTreeSet<usize> = (0..lines.len()).filter(|&at| !lines[at].void).collect();
    for (at, void) in lines.iter().enumerate().filter(|(_, line)| line.void) {
        // The line taken back stands before its void; the nearest one is meant.
        let taken_back =
            bearers.range(..at).rev().copied().find(|&at| takes_back(void, &lines[at]));
        if let Some(taken_back) = taken_back {
            bearers.remove(&taken_back);
        }
    }
    bearers
}

fn takes_back(void: &Line, line: &Line) -> bool {
    (&void.article, &void.kind, &void.unit) == (&line.article, &line.kind, &line.unit)
        && void.quantity_milli == -line.quantity_milli
        && void.amount_cents == -line.amount_cents
}

/// Weighs lines by their amounts: those that cost, else those that bring, else all alike.
fn weights(amounts: &[i64]) -> Vec<u64> {
    let weigh = |keep: fn(i64) -> i64| -> Vec<u64> {
        amounts.iter().map(|&amount| keep(amount).max(0).unsigned_abs()).collect()
    };
    let candidates = [weigh(|amount| amount), weigh(|amount| -amount)];
    let heavy = candidates.into_iter().find(|weights| weights.iter().any(|&weight| weight > 0));
    heavy.unwrap_or_else(|| vec![1; amounts.len()])
}

/// Splits an amount by weights, the cents left over going to the largest remainders, the first of
/// equals first.
fn shares(total: i64, weights: &[u64]) -> Vec<i64> {
    let (sign, total) = (i128::from(total.signum()), i128::from(total).abs());
    let whole: i128 = weights.iter().map(|&weight| i128::from(weight)).sum();
    assert!(whole > 0, "something weighs");
    let parts = weights.iter().map(|&weight| total * i128::from(weight));
    let (mut floors, rests): (Vec<i128>, Vec<i128>) =
        parts.map(|part| (part / whole, part % whole)).unzip();
    let left = total - floors.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(rests[at]));
    for at in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        floors[at] += 1;
    }
    let fits = "a share is no larger than the whole";
    floors.into_iter().map(|floor| i64::try_from(sign * floor).expect(fits)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::ids::Article;
    use shared::money::Milli;
    use shared::receipt::Adjustment;
    use shared::words::{AdjustmentKind, LineKind, Unit};

    use super::*;

    #[test]
    fn shares_follow_the_largest_remainder_and_the_first_of_equals() {
        for (total, weights, want) in [
            (-20, vec![398], vec![-20]),
            (100, vec![1, 1, 1], vec![34, 33, 33]),
            (-100, vec![1, 1, 1], vec![-34, -33, -33]),
            (10, vec![3, 3, 1], vec![4, 4, 2]),
            (1, vec![0, 0, 5], vec![0, 0, 1]),
            (-585, vec![35474, 0], vec![-585, 0]),
        ] {
            assert_eq!(shares(total, &weights), want, "{total} over {weights:?}");
        }
    }

    #[test]
    fn a_voided_line_and_its_void_carry_nothing() {
        let mut receipt = receipt(&[(500, "1"), (300, "1"), (200, "1")], &[(-100, Some("1"))]);
        let mut void = receipt.lines[0].clone();
        (void.void, void.amount_cents, void.quantity_milli) = (true, Cents(-500), Milli(-1000));
        receipt.lines.push(void);
        receipt.total_cents = Cents(400);
        settle(&mut receipt).unwrap();
        assert_eq!(carried(&receipt), [0, -60, -40, 0]);
    }

    #[test]
    fn an_adjustment_stays_with_its_vat_key() {
        let mut receipt = receipt(&[(500, "1"), (500, "2")], &[(-7, Some("2")), (-10, None)]);
        settle(&mut receipt).unwrap();
        assert_eq!(carried(&receipt), [-5, -12]);
    }

    #[test]
    fn an_adjustment_that_no_line_can_carry_is_refused() {
        let mut receipt = receipt(&[(500, "1")], &[(-7, Some("2"))]);
        let fault = settle(&mut receipt).unwrap_err();
        assert_eq!(fault.to_string(), "no line can carry an adjustment of -0.07 for VAT key 2");
    }

    #[test]
    fn a_receipt_that_does_not_count_keeps_its_number_and_no_amount() {
        let mut receipt = receipt(&[(500, "1")], &[]);
        (receipt.counts, receipt.total_cents) = (false, Cents(77));
        settle(&mut receipt).unwrap();
        assert_eq!((receipt.total_cents, receipt.lines.len()), (Cents(0), 0));
        assert_eq!(receipt.reason, Some(NotCounted::Other));
        receipt.counts = true;
        assert_eq!(settle(&mut receipt), Err(SettleFault::Contradiction));
    }

    #[test]
    fn amounts_beyond_every_till_are_refused_before_they_are_summed() {
        for cents in [i64::MIN, i64::MAX, CENTS_MAX + 1] {
            let mut receipt = receipt(&[(500, "1")], &[]);
            receipt.lines[0].amount_cents = Cents(cents);
            assert_eq!(settle(&mut receipt), Err(SettleFault::TooLarge("a line's amount")));
        }
    }

    proptest! {
        #[test]
        fn shares_make_the_adjustment_and_none_is_a_cent_off(
            lines in prop::collection::vec((-50_000_i64..50_000, 0..3_u8), 1..40),
            adjustments in prop::collection::vec((-9_000_i64..9_000, prop::option::of(0..3_u8)), 0..5),
        ) {
            let lines: Vec<(i64, String)> = lines.into_iter().map(|(cents, key)| (cents, key.to_string())).collect();
            let lines: Vec<(i64, &str)> = lines.iter().map(|(cents, key)| (*cents, key.as_str())).collect();
            let keys = ["0", "1", "2"];
            let adjustments: Vec<_> = adjustments.into_iter()
                .map(|(cents, key)| (cents, key.map(|key| keys[usize::from(key)])))
                .filter(|(_, key)| key.is_none_or(|key| lines.iter().any(|line| line.1 == key)))
                .collect();
            let mut receipt = receipt(&lines, &adjustments);
            prop_assert_eq!(settle(&mut receipt), Ok(()));
            prop_assert_eq!(carried(&receipt).iter().sum::<i64>(), receipt.adjustment_cents.0);
            let before = receipt.clone();
            prop_assert_eq!(settle(&mut receipt), Ok(()));
            prop_assert_eq!(before, receipt);
        }

        #[test]
        fn a_share_differs_from_its_exact_part_by_less_than_a_cent(
            total in -1_000_000_i64..1_000_000,
            weights in prop::collection::vec(0_u64..100_000, 1..50),
        ) {
            let whole: u64 = weights.iter().sum();
            prop_assume!(whole > 0);
            let found = shares(total, &weights);
            prop_assert_eq!(found.iter().sum::<i64>(), total);
            for (share, weight) in found.iter().zip(&weights) {
                let off = i128::from(*share) * i128::from(whole) - i128::from(total) * i128::from(*weight);
                prop_assert!(off.abs() < i128::from(whole), "{share} for {weight} of {whole}");
            }
        }
    }

    fn carried(receipt: &Receipt) -> Vec<i64> {
        receipt.lines.iter().map(|line| line.adjustment_share_cents.0).collect()
    }

    fn receipt(lines: &[(i64, &str)], adjustments: &[(i64, Option<&str>)]) -> Receipt {
        let text = r#"{"store":"1","till":"1","series":"s","receipt":"1","business_day":"2026-11-23","ended_at":"2026-11-23T09:41:07Z","counts":true}"#;
        let mut receipt: Receipt = serde_json::from_str(text).unwrap();
        receipt.lines = lines.iter().map(|&(cents, key)| line(cents, key)).collect();
        for &(cents, key) in adjustments {
            let vat_key = key.map(|key| Label::new(key).unwrap());
            let (kind, cents) = (AdjustmentKind::Employee, Cents(cents));
            receipt.adjustments.push(Adjustment { kind, id: None, vat_key, cents });
        }
        receipt.adjustment_cents = receipt.adjustments.iter().map(|part| part.cents).sum();
        receipt.total_cents = Cents(receipt.lines_cents().unwrap().0 + receipt.adjustment_cents.0);
        receipt
    }

    fn line(cents: i64, key: &str) -> Line {
        Line {
            position: 1,
            article: Article::new("04012345678901").unwrap(),
            text: None,
            kind: LineKind::Sale,
            void: false,
            unit: Unit::Pieces,
            quantity_milli: Milli(1000),
            amount_cents: Cents(cents),
            discount_cents: Cents::ZERO,
            adjustment_share_cents: Cents::ZERO,
            vat_key: Some(Label::new(key).unwrap()),
            vat_bp: None,
            reductions: Vec::new(),
            seller: None,
            restock: None,
        }
    }
}
