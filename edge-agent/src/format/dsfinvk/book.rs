//! What a line of an export is: its business case, its sign, its quantity, its article. Signs are
//! taken as they stand, also those of a receipt that takes another one back; where they contradict
//! each other the receipt is refused.

use shared::ids::{Article, IdError, Label};
use shared::money::{Cents, Milli};
use shared::receipt::{Adjustment, Line, Reduction};
use shared::words::{AdjustmentKind, LineKind};

use super::super::article::{Articles, is_gtin, own};
use super::super::units::Measure;
use super::export::{Position, Z};
use super::table::CENT;

/// Why a line cannot be booked.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineFault {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not usable")]
    Id(&'static str, #[source] IdError),
    #[error("its P_STORNO is 1 and its MENGE takes nothing back")]
    Void,
    #[error("its MENGE and its POS_BRUTTO have different signs")]
    Sign,
    #[error("its quantity is finer than a thousandth, or larger than any till's")]
    Quantity,
    #[error("its amount is larger than any till's")]
    TooLarge,
}

/// What a business case does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Booking {
    /// It is a line.
    Line(LineKind),
    /// It changes the price of the lines of its VAT key.
    Adjustment,
    /// It moves cash without a sale.
    Cash(&'static str),
}

/// Tells what a business case does; one that is not known is a line of kind `other`.
pub(super) fn booking(case: &str) -> Result<Booking, IdError> {
    Ok(match case.to_ascii_lowercase().as_str() {
        "umsatz" => Booking::Line(LineKind::Sale),
        "pfand" => Booking::Line(LineKind::Deposit),
        "pfandrueckzahlung" => Booking::Line(LineKind::DepositRefund),
        "rabatt" | "aufschlag" => Booking::Adjustment,
        "trinkgeldag" | "trinkgeldan" => Booking::Line(LineKind::Tip),
        "einzweckgutscheinkauf" | "mehrzweckgutscheinkauf" => Booking::Line(LineKind::VoucherSale),
        "einzweckgutscheineinloesung" | "mehrzweckgutscheineinloesung" => {
            Booking::Line(LineKind::new("voucher_redemption")?)
        }
        "forderungsentstehung" | "forderungsaufloesung" => Booking::Line(LineKind::Receivable),
        "anzahlungseinstellung" | "anzahlungsaufloesung" => Booking::Line(LineKind::Prepayment),
        "anfangsbestand" => Booking::Cash("float"),
        "geldtransit" => Booking::Cash("drop"),
        "privateinlage" | "einzahlung" => Booking::Cash("paid_in"),
        "privatentnahme" | "lohnzahlung" | "auszahlung" => Booking::Cash("paid_out"),
        "differenzsollist" => Booking::Cash("difference"),
        _ => Booking::Line(LineKind::Other),
    })
}

/// Rounds an amount half up, away from zero.
pub(super) fn cents(amount: i64) -> Cents {
    Cents((amount.abs() + CENT / 2) / CENT * amount.signum())
}

/// Returns a line's gross amount over all its VAT keys.
pub(super) fn gross(position: &Position) -> Result<i64, LineFault> {
    if position.vat.is_empty() {
        return Err(LineFault::Missing("its row in lines_vat.csv"));
    }
    let sum: i128 = position.vat.iter().map(|(_, [gross, ..])| i128::from(*gross)).sum();
    i64::try_from(sum).map_err(|_| LineFault::TooLarge)
}

/// Makes the line of a position.
pub(super) fn line(
    position: &Position,
    kind: LineKind,
    z: &Z,
    articles: &Articles,
) -> Result<Line, LineFault> {
    let gross = gross(position)?;
    let mut quantity = quantity(position, gross)?;
    if position.void && !takes_back(position, &kind, [quantity, gross]) {
        return Err(LineFault::Void);
    }
    if quantity.signum() * gross.signum() < 0 {
        // A deposit's count is not an article's: there the amount tells the direction.
        match kind {
            LineKind::Sale | LineKind::Return => return Err(LineFault::Sign),
            LineKind::Deposit
            | LineKind::DepositRefund
            | LineKind::VoucherSale
            | LineKind::Tip
            | LineKind::Donation
            | LineKind::Fee
            | LineKind::Prepayment
            | LineKind::Receivable
            | LineKind::Other
            | LineKind::Unknown(_) => quantity = -quantity,
        }
    }
    let is_return = kind == LineKind::Sale && quantity < 0 && !position.void;
    let measure = Measure::of(&position.unit).map_err(|error| LineFault::Id("EINHEIT", error))?;
    let (unit, quantity_milli) = measure.apply(Milli(quantity)).ok_or(LineFault::Quantity)?;
    let (article, text) = article(position, articles)?;
    let vat_key = only_key(position);
    let rate = vat_key.and_then(|key| z.rates.get(key)).copied();
    let (discount_cents, reductions) = discount(position, gross);
    let seller = Some(position.agency.as_str()).filter(|agency| !matches!(*agency, "" | "0"));
    Ok(Line {
        position: position.line.parse().map_err(|_| LineFault::Missing("POS_ZEILE as a number"))?,
        article,
        text,
        kind: if is_return { LineKind::Return } else { kind },
        void: position.void,
        unit,
        quantity_milli,
        amount_cents: cents(gross),
        discount_cents,
        adjustment_share_cents: Cents::ZERO,
        vat_key: vat_key.map(|key| label("UST_SCHLUESSEL", key)).transpose()?,
        vat_bp: rate.and_then(|rate| u32::try_from(rate).ok()),
        reductions,
        seller: seller.map(|agency| label("AGENTUR_ID", agency)).transpose()?,
        restock: None,
    })
}

/// Tells whether a voiding line has the sign that reverses its case: goods by their count, all else by
/// its amount. Empties that come in are negative, so that taking them back is not; in a receipt that
/// takes back another one everything is turned once more.
fn takes_back(position: &Position, kind: &LineKind, [quantity, gross]: [i64; 2]) -> bool {
    let (figure, comes_in) = match kind {
        LineKind::Sale | LineKind::Return => (quantity, false),
        LineKind::DepositRefund => (gross, true),
        LineKind::Deposit
        | LineKind::VoucherSale
        | LineKind::Tip
        | LineKind::Donation
        | LineKind::Fee
        | LineKind::Prepayment
        | LineKind::Receivable
        | LineKind::Other
        | LineKind::Unknown(_) => (gross, false),
    };
    if comes_in == position.turned { figure < 0 } else { figure > 0 }
}

/// Makes the adjustments of a position, one per VAT key.
pub(super) fn adjustments(position: &Position) -> Result<Vec<Adjustment>, LineFault> {
    gross(position)?;
    let made = position.vat.iter().map(|(key, [gross, ..])| {
        Ok(Adjustment {
            kind: AdjustmentKind::Other,
            id: None,
            vat_key: Some(label("UST_SCHLUESSEL", key)?),
            cents: cents(*gross),
        })
    });
    made.collect()
}

/// Returns quantity times container size, in thousandths; the quantity alone where only that agrees
/// with the unit price and the amount.
fn quantity(position: &Position, gross: i64) -> Result<i64, LineFault> {
    let quantity = position.quantity.ok_or(LineFault::Missing("MENGE"))?;
    let factor = position.factor.filter(|factor| *factor != 0).unwrap_or(1000);
    let base = i128::from(quantity) * i128::from(factor);
    let whole = (base % 1000 == 0).then(|| i64::try_from(base / 1000)).transpose();
    let whole = whole.map_err(|_| LineFault::Quantity)?;
    if factor == 1000 {
        return Ok(quantity);
    }
    let agrees = |quantity: i64| {
        let price = i128::from(position.unit_price.unwrap_or(0));
        let made = (i128::from(quantity) * price / 1000).abs();
        let base = Some(priced(position, &["base_amount", "grundpreis"])).filter(|base| *base != 0);
        [Some(gross), base]
            .iter()
            .flatten()
            .any(|amount| (made - i128::from(*amount).abs()).abs() <= i128::from(CENT))
    };
    match whole {
        Some(whole) if agrees(whole) || !agrees(quantity) => Ok(whole),
        Some(_) => Ok(quantity),
        None if agrees(quantity) => Ok(quantity),
        None => Err(LineFault::Quantity),
    }
}

fn priced(position: &Position, kinds: &[&str]) -> i64 {
    let parts = position.pricing.iter().filter(|(kind, _)| kinds.contains(&kind.as_str()));
    parts.fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
}

/// Returns the discount inside of a line's amount, with the amount's sign.
fn discount(position: &Position, gross: i64) -> (Cents, Vec<Reduction>) {
    let found = cents(priced(position, &["discount", "rabatt"])).abs();
    let given = if gross < 0 { -found } else { found };
    if given == Cents::ZERO {
        return (given, Vec::new());
    }
    (given, vec![Reduction { kind: AdjustmentKind::Other, id: None, cents: given }])
}

/// Returns the VAT key of a line that has one; an amount over several keys has none.
fn only_key(position: &Position) -> Option<&str> {
    let mut keys = position.vat.iter().filter(|(_, amounts)| amounts[0] != 0);
    match (keys.next(), keys.next()) {
        (Some((key, _)), None) => Some(key),
        (None, _) => position.vat.first().map(|(key, _)| key.as_str()),
        (Some(_), Some(_)) => None,
    }
}

/// Returns the key of what was sold: its GTIN, else the chain's own number, else its text.
fn article(
    position: &Position,
    articles: &Articles,
) -> Result<(Article, Option<Label>), LineFault> {
    let usable = |what| move |error| LineFault::Id(what, error);
    // An own number of eight digits may look like a GTIN by chance.
    let number = position.number.as_str();
    let code = if number.len() > 8 && is_gtin(number) { number } else { &position.gtin };
    let code = if position.gtin.is_empty() { code } else { &position.gtin };
    if !code.is_empty() {
        let scanned = articles.scanned(code, articles.chain()).map_err(usable("GTIN"))?;
        return Ok((scanned.article, None));
    }
    if !number.is_empty() {
        return Ok((own(articles.chain(), number).map_err(usable("ART_NR"))?, None));
    }
    let text = if position.text.is_empty() { &position.case } else { &position.text };
    let article = articles.text(text).map_err(usable("ARTIKELTEXT"))?;
    Ok((article, Some(label("ARTIKELTEXT", text)?)))
}

pub(super) fn label(what: &'static str, text: &str) -> Result<Label, LineFault> {
    Label::new(text).map_err(|error| LineFault::Id(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voiding_line_has_the_sign_that_reverses_its_case() {
        for (kind, turned, quantity, gross, want) in [
            (LineKind::Sale, false, -1000, -99_000, true),
            (LineKind::Sale, false, 1000, -99_000, false),
            (LineKind::Sale, false, 0, 0, false),
            (LineKind::Sale, true, 1000, 99_000, true),
            (LineKind::Sale, true, -1000, -99_000, false),
            (LineKind::Deposit, false, -1000, -25_000, true),
            (LineKind::DepositRefund, false, 1000, 25_000, true),
            (LineKind::DepositRefund, false, -1000, -25_000, false),
            (LineKind::DepositRefund, true, -1000, -25_000, true),
        ] {
            let position = Position { void: true, turned, ..Position::default() };
            let found = takes_back(&position, &kind, [quantity, gross]);
            assert_eq!(found, want, "{kind} {turned} {quantity} {gross}");
        }
    }

    #[test]
    fn a_factor_multiplies_unless_only_the_quantity_alone_agrees_with_the_price() {
        for (milli, factor, price, gross, want) in [
            (2000, 6000, 50_000, 600_000, Some(12_000)),
            (2000, 6000, 300_000, 600_000, Some(2000)),
            (2000, 6000, 0, 600_000, Some(12_000)),
            (792, 1000, 248_737, 197_000, Some(792)),
            (1500, 333, 100_000, 150_000, Some(1500)),
            (1500, 333, 0, 150_000, None),
        ] {
            let position = Position {
                quantity: Some(milli),
                factor: Some(factor),
                unit_price: Some(price),
                ..Position::default()
            };
            assert_eq!(quantity(&position, gross).ok(), want, "{milli} x {factor} x {price}");
        }
    }

    #[test]
    fn every_amount_rounds_away_from_zero() {
        for (amount, want) in [(500, 1), (499, 0), (-500, -1), (89_000, 89), (-64_000, -64)] {
            assert_eq!(cents(amount), Cents(want));
        }
    }
}
