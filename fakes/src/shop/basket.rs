//! What a customer puts on the belt: lines with discounts, deposits, empties, voids and returns.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use shared::ids::{Article, Label};
use shared::money::{Cents, Milli};
use shared::receipt::Line;
use shared::words::{LineKind, Unit};

use super::assortment::{Assortment, Item, VatClass, deposit_article};
use super::{Country, divided};

/// Lines of a receipt: the twentieths of a lognormal with mu 1.70 and sigma 0.87.
const LINES: [u32; 20] = [1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 11, 12, 15, 19, 30];

/// What kind of customer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basket {
    Sale,
    Return,
    Voided,
}

/// Puts goods on the belt.
pub(crate) fn lines(
    dice: &mut ChaCha8Rng,
    assortment: &Assortment,
    (basket, country): (Basket, Country),
) -> Vec<Line> {
    let mut lines = Vec::new();
    match basket {
        Basket::Return => {
            let item = assortment.pick(dice);
            let back = taken_back(sold(dice, item, country));
            push(&mut lines, back);
        }
        Basket::Sale => shop(dice, assortment, country, &mut lines),
        Basket::Voided => {
            shop(dice, assortment, country, &mut lines);
            lines.retain(|line| !line.void);
            for at in 0..lines.len() {
                let void = voided(&lines[at]);
                push(&mut lines, void);
            }
            for (line, position) in lines.iter_mut().zip(1..) {
                line.position = position;
            }
        }
    }
    lines
}

fn shop(dice: &mut ChaCha8Rng, assortment: &Assortment, country: Country, lines: &mut Vec<Line>) {
    for _ in 0..LINES[dice.random_range(0..LINES.len())] {
        let item = assortment.pick(dice);
        let line = sold(dice, item, country);
        let pieces = line.quantity_milli;
        push(lines, line);
        if item.deposit_cents > 0 && country == Country::Germany {
            let deposit = deposit(LineKind::Deposit, pieces.0 / 1000 * item.deposit_cents, pieces);
            push(lines, deposit);
        }
        if dice.random_ratio(8, 1000) {
            let last = lines.last().map(voided);
            lines.extend(last);
            renumber(lines);
        }
    }
    if dice.random_ratio(10, 100) {
        let bottles = dice.random_range(1..=20_i64);
        let mut refund = deposit(LineKind::DepositRefund, -bottles * 25, Milli(-bottles * 1000));
        if country == Country::America {
            (refund.vat_key, refund.vat_bp) = (None, None);
        }
        push(lines, refund);
    }
}

fn push(lines: &mut Vec<Line>, line: Line) {
    lines.push(line);
    renumber(lines);
}

fn renumber(lines: &mut [Line]) {
    let position = u32::try_from(lines.len()).expect("a basket is small");
    if let Some(line) = lines.last_mut() {
        line.position = position;
    }
}

fn sold(dice: &mut ChaCha8Rng, item: &Item, country: Country) -> Line {
    let quantity = match item.unit {
        Unit::Kilograms | Unit::Unknown(_) => dice.random_range(8..250_i64) * 10,
        Unit::Pieces | Unit::Litres | Unit::Metres => pieces(dice) * 1000,
    };
    let regular = divided(quantity * item.price_cents, 1000);
    let discount = match country {
        Country::Germany if dice.random_ratio(15, 100) => {
            divided(regular * dice.random_range(5..=47_i64), 100)
        }
        Country::Germany | Country::America => 0,
    };
    let vat = (country == Country::Germany).then_some(item.vat);
    let mut line = line(item.article.clone(), LineKind::Sale, vat);
    line.unit = item.unit.clone();
    line.quantity_milli = Milli(quantity);
    line.amount_cents = Cents(regular - discount);
    line.discount_cents = Cents(discount);
    line
}

/// Measured: 79.9 % of lines hold one piece, 14.7 % two, 2.8 % three.
fn pieces(dice: &mut ChaCha8Rng) -> i64 {
    match dice.random_range(0..1000_u32) {
        0..799 => 1,
        799..946 => 2,
        946..974 => 3,
        974..989 => 4,
        989.. => dice.random_range(5..=12),
    }
}

fn deposit(kind: LineKind, cents: i64, quantity: Milli) -> Line {
    let mut line = line(deposit_article(), kind, Some(VatClass::Full));
    line.quantity_milli = quantity;
    line.amount_cents = Cents(cents);
    line
}

fn line(article: Article, kind: LineKind, vat: Option<VatClass>) -> Line {
    Line {
        position: 0,
        article,
        text: None,
        kind,
        void: false,
        unit: Unit::Pieces,
        quantity_milli: Milli::ZERO,
        amount_cents: Cents::ZERO,
        discount_cents: Cents::ZERO,
        adjustment_share_cents: Cents::ZERO,
        vat_key: vat.map(|vat| Label::new(vat.key()).expect("a key is a label")),
        vat_bp: vat.map(VatClass::bp),
        reductions: Vec::new(),
        seller: None,
        restock: None,
    }
}

/// Goods come back for what they cost.
fn taken_back(sold: Line) -> Line {
    let void = reversed(&sold);
    Line { kind: LineKind::Return, ..void }
}

fn voided(line: &Line) -> Line {
    Line { void: true, ..reversed(line) }
}

/// Returns a line with every sign turned, but for its share of what the whole receipt costs less.
pub(crate) fn reversed(line: &Line) -> Line {
    Line {
        quantity_milli: -line.quantity_milli,
        amount_cents: -line.amount_cents,
        discount_cents: -line.discount_cents,
        ..line.clone()
    }
}
