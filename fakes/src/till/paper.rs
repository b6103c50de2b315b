//! The text of a printed receipt, line by line, in the layout of a German grocery chain: no GTIN, a
//! short text instead; quantity under the item; discounts and VAT letters at the end of a line.

use chrono_tz::Tz;
use shared::money::{Cents, Milli};
use shared::receipt::{Line, Receipt};
use shared::words::{LineKind, NotCounted, PaymentKind, Unit};

use super::{fiscal, local_time};
use crate::shop::is_receipt_void;

/// Characters of a line.
const WIDTH: usize = 38;
/// Characters of an article's text.
const TEXT: usize = 16;
/// First words of articles; the number behind makes the text the article's own.
const WORDS: [&str; 10] = [
    "KÄSE",
    "MÜSLI",
    "BRÖTCHEN",
    "SÜSSKRAM",
    "APFEL",
    "H-MILCH",
    "GEWÜRZ",
    "WEISSBROT",
    "SAFT",
    "ÖL",
];

/// Returns the lines of a receipt, or nothing where no slip is printed.
pub(super) fn lines(receipt: &Receipt, zone: Tz) -> Option<Vec<String>> {
    let mut paper = Vec::new();
    head(&mut paper, receipt)?;
    if receipt.reason == Some(NotCounted::CashMove) {
        let moved = receipt.cash_moves.iter().map(|moved| moved.cents).sum::<Cents>();
        paper.push(summed("BETRAG", moved.abs()));
        foot(&mut paper, receipt, zone);
        return Some(paper);
    }
    paper.push(format!("{:>width$}", "EUR", width = WIDTH - 3));
    for line in &receipt.lines {
        item(&mut paper, line);
    }
    for part in &receipt.adjustments {
        let letter = letter(part.vat_key.as_ref().map(|key| key.as_str()));
        paper.push(priced(" Mitarbeiterrabatt 5%", part.cents, letter));
    }
    paper.push("-".repeat(WIDTH));
    if receipt.reason == Some(NotCounted::Aborted) {
        paper.push(centred("*** BONABBRUCH ***"));
    }
    paper.push(summed("SUMME", receipt.total_cents));
    paper.push("=".repeat(WIDTH));
    for payment in &receipt.payments {
        let (name, goes_back) = tender(&payment.kind);
        paper.push(summed(name, if goes_back { -payment.cents } else { payment.cents }));
    }
    if receipt.counts {
        vat_table(&mut paper, receipt);
        tse_block(&mut paper, receipt, zone);
    }
    foot(&mut paper, receipt, zone);
    Some(paper)
}

/// A copy and whatever is no sale say so above all else.
fn head(paper: &mut Vec<String>, receipt: &Receipt) -> Option<()> {
    let taken_out = receipt.cash_moves.iter().any(|moved| moved.cents < Cents::ZERO);
    let banner = match &receipt.reason {
        None if is_receipt_void(receipt) => Some("*** STORNO ***"),
        None => None,
        // The slip has two words where a till knows more reasons.
        Some(NotCounted::CashMove) if taken_out => Some("AUSZAHLUNG"),
        Some(NotCounted::CashMove) => Some("EINZAHLUNG"),
        Some(NotCounted::Reprint) => Some("*** DUPLIKAT ***"),
        Some(NotCounted::Training) => Some("*** TRAINING ***"),
        // Only what is printed already tells what was given up: the word stands behind it.
        Some(NotCounted::Aborted) => None,
        Some(NotCounted::Suspended) => Some("*** PARKBON ***"),
        Some(
            NotCounted::Control | NotCounted::NoSale | NotCounted::Other | NotCounted::Unknown(_),
        ) => return None,
    };
    paper.extend(banner.map(centred));
    paper.push(centred("Frischmarkt"));
    paper.push(centred("Marktstraße 1, 12345 Musterstadt"));
    paper.push(centred("UID Nr.: DE123456789"));
    Some(())
}

/// An item at its regular price, its quantity under it, what it costs less in a line of its own.
fn item(paper: &mut Vec<String>, line: &Line) {
    let regular = Cents(line.amount_cents.0 + line.discount_cents.0);
    let letter = letter(line.vat_key.as_ref().map(|key| key.as_str()));
    let (name, letter) = match line.kind {
        LineKind::Deposit => ("PFAND 0,25 EUR".to_owned(), format!("{letter} *")),
        LineKind::DepositRefund => ("LEERGUT EINWEG".to_owned(), format!("{letter} *")),
        LineKind::Sale
        | LineKind::Return
        | LineKind::VoucherSale
        | LineKind::Tip
        | LineKind::Donation
        | LineKind::Fee
        | LineKind::Prepayment
        | LineKind::Receivable
        | LineKind::Other
        | LineKind::Unknown(_) => (text(line.article.as_str()), letter.to_owned()),
    };
    paper.push(priced(&name, regular, &letter));
    let quantity = Milli(line.quantity_milli.0.abs());
    let price = comma(unit_price(quantity, regular.abs()));
    match line.unit {
        Unit::Kilograms => {
            let weight = quantity.to_string().replace('.', ",");
            paper.push(format!("  {weight} kg x {price:>6} EUR/kg"));
        }
        Unit::Pieces | Unit::Litres | Unit::Metres | Unit::Unknown(_) => {
            if quantity != Milli(1000) {
                paper.push(format!("{:>14} Stk x {price:>7}", quantity.0 / 1000));
            }
        }
    }
    if line.discount_cents != Cents::ZERO {
        paper.push(priced(" Aktionsrabatt", -line.discount_cents, &letter));
    }
}

/// Returns the price per unit that makes exactly this amount of this quantity, where there is one.
fn unit_price(quantity: Milli, amount: Cents) -> Cents {
    let milli = quantity.0.max(1);
    let near = (amount.0 * 1000 + milli / 2) / milli;
    let width = 1000 / milli + 2;
    let candidates = (0..=width).flat_map(|step| [near - step, near + step]);
    let exact = candidates.into_iter().find(|price| (price * milli + 500) / 1000 == amount.0);
    Cents(exact.unwrap_or(near))
}

/// An article's short text: a word, and its number in the chain.
fn text(article: &str) -> String {
    let number: usize = article.get(7..13).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let text = format!("{} {number}", WORDS[number % WORDS.len()]);
    text.chars().take(TEXT).collect()
}

/// `A` is the general rate and `B` the reduced one, as the table at the end says.
fn letter(vat_key: Option<&str>) -> &'static str {
    match vat_key {
        Some("1") => "A",
        Some("2") | None => "B",
        Some(_) => "C",
    }
}

/// Returns a tender's words, and whether they stand for money that goes back.
fn tender(kind: &PaymentKind) -> (&'static str, bool) {
    match kind {
        PaymentKind::Cash => ("Geg. BAR", false),
        PaymentKind::Change | PaymentKind::Cashback => ("Rückgeld BAR", true),
        PaymentKind::Girocard => ("Geg. EC-Cash", false),
        PaymentKind::Credit => ("Geg. VISA", false),
        PaymentKind::Mobile
        | PaymentKind::GiftCard
        | PaymentKind::Voucher
        | PaymentKind::DepositVoucher
        | PaymentKind::OnAccount
        | PaymentKind::Points
        | PaymentKind::Prepayment
        | PaymentKind::Other
        | PaymentKind::Unknown(_) => ("Geg. Gutschein", false),
    }
}

fn vat_table(paper: &mut Vec<String>, receipt: &Receipt) {
    let row = |name: &str, cells: [Cents; 3]| {
        let [net, tax, gross] = cells.map(comma);
        format!("{name:<11}{net:>9}{tax:>9}{gross:>9}")
    };
    paper.push("Steuer  %      Netto   Steuer   Brutto".to_owned());
    for vat in &receipt.vat {
        let rate = comma(Cents(i64::from(vat.bp.unwrap_or(0))));
        let rate = rate.strip_suffix('0').unwrap_or(&rate);
        let name = format!("{}= {rate:>5}%", letter(Some(vat.key.as_str())));
        paper.push(row(&name, [vat.net_cents, vat.tax_cents, vat.gross_cents]));
    }
    let net = receipt.vat.iter().map(|vat| vat.net_cents).sum();
    let tax = receipt.vat.iter().map(|vat| vat.tax_cents).sum();
    paper.push(row("Gesamtbetr.", [net, tax, receipt.total_cents]));
}

/// The device's times are printed without a zone, as the till's clock shows them.
fn tse_block(paper: &mut Vec<String>, receipt: &Receipt, zone: Tz) {
    let at = local_time(receipt.ended_at, zone);
    paper.push("TSE-Signatur:".to_owned());
    let signature = fiscal::signature(receipt);
    paper.extend([signature[..32].to_owned(), signature[32..].to_owned()]);
    let number = fiscal::transaction(receipt);
    paper.push(format!("TSE-Signaturzähler: {}", number * 2));
    paper.push(format!("TSE-Transaktion: {number}"));
    paper.push(format!("TSE-Start: {at}"));
    paper.push(format!("TSE-Stop: {at}"));
    paper.push("Seriennummer Kasse:".to_owned());
    let serial = fiscal::serial(receipt);
    paper.extend([serial[..32].to_owned(), serial[32..].to_owned()]);
}

fn foot(paper: &mut Vec<String>, receipt: &Receipt, zone: Tz) {
    let local = receipt.ended_at.utc().with_timezone(&zone);
    let number = &receipt.receipt;
    paper.push(String::new());
    paper.push(format!("  {}     Bon-Nr.:{number}", local.format("%d.%m.%Y     %H:%M")));
    paper.push(format!("  Markt:{}     Kasse:{}   Bed.:919191", receipt.store, receipt.till));
    paper.push("*".repeat(WIDTH));
    paper.push(centred("Vielen Dank für Ihren Einkauf!"));
}

fn centred(text: &str) -> String {
    format!("{text:^WIDTH$}").trim_end().to_owned()
}

fn priced(name: &str, cents: Cents, letter: &str) -> String {
    format!("{name:<26}{:>9} {letter}", comma(cents))
}

fn summed(name: &str, cents: Cents) -> String {
    format!("{name:<24}EUR{:>9}", comma(cents))
}

/// Amounts are printed with a comma, thousands with a point.
fn comma(cents: Cents) -> String {
    let (whole, rest) = (cents.0.unsigned_abs() / 100, cents.0.unsigned_abs() % 100);
    let sign = if cents < Cents::ZERO { "-" } else { "" };
    match (whole / 1000, whole % 1000) {
        (0, whole) => format!("{sign}{whole},{rest:02}"),
        (thousands, whole) => format!("{sign}{thousands}.{whole:03},{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_price_makes_the_amount_exactly() {
        for (milli, price) in
            [(90, 629), (790, 249), (2490, 39), (12_000, 25), (80, 39), (1010, 99)]
        {
            let amount = (milli * price + 500) / 1000;
            let found = unit_price(Milli(milli), Cents(amount));
            assert_eq!((found.0 * milli + 500) / 1000, amount, "{milli} at {price}");
        }
    }

    #[test]
    fn amounts_have_a_comma_and_a_point_before_the_hundreds() {
        let texts = [5, -5, 123_456, -100_000].map(|cents| comma(Cents(cents)));
        assert_eq!(texts, ["0,05", "-0,05", "1.234,56", "-1.000,00"]);
    }
}
