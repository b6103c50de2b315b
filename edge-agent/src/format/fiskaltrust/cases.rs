//! The case codes of the fiskaltrust interface: what a receipt, a charge item and a pay item are.
//! Facts after the German reference tables of the vendor's interface-doc (ftReceiptCase,
//! ftChargeItemCase, ftPayItemCase) and, for codes of version 2, after its published enumerations.
//! Codes alone do not tell money apart: tills sell vouchers under the code of an unknown service and
//! take cards under that of cash, so that the words beside them decide where they are clear.

use shared::words::{LineKind, NotCounted, PaymentKind};

const TRAINING: u64 = 0x0002_0000;
const VOID: u64 = 0x0004_0000;

const V2_DISCOUNT: u64 = 0x0004_0000;
const V2_DOWN_PAYMENT: u64 = 0x0008_0000;
const V2_RETURNABLE: u64 = 0x0010_0000;
const V2_REFUND: u64 = 0x0002_0000;
const V2_CHANGE: u64 = 0x0020_0000;

/// Tells whether a code is of the interface's second version: the digit behind the country says so.
fn second(code: u64) -> bool {
    (code >> 44) & 0xF == 2
}

/// What a receipt's code says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReceiptKind {
    /// It counts, as far as its items do.
    Sale,
    /// It moves cash.
    CashMove,
    /// It closes the day of a till.
    DailyClosing,
    /// It is no sale.
    Not(NotCounted),
}

/// Tells what a receipt is. Orders, delivery notes, information invoices, own use and protocols are
/// no sales: what comes of them is rung up by a receipt of its own.
pub(super) fn receipt_kind(code: u64) -> ReceiptKind {
    if code & TRAINING != 0 {
        return ReceiptKind::Not(NotCounted::Training);
    }
    let low = code & 0xFFFF;
    if second(code) {
        return match low {
            0x0000 | 0x0001 | 0x0003 | 0x0004 | 0x1000..=0x1003 => ReceiptKind::Sale,
            0x0002 => ReceiptKind::CashMove,
            0x2011 => ReceiptKind::DailyClosing,
            0x2000..=0x2FFF | 0x4000..=0x4FFF => ReceiptKind::Not(NotCounted::Control),
            _ => ReceiptKind::Not(NotCounted::Other),
        };
    }
    match low {
        0x00 | 0x01 | 0x0C | 0x0D | 0x15 => ReceiptKind::Sale,
        0x07 => ReceiptKind::DailyClosing,
        0x0B => ReceiptKind::Not(NotCounted::Aborted),
        0x08..=0x0A => ReceiptKind::Not(NotCounted::Suspended),
        0x02..=0x06 => ReceiptKind::Not(NotCounted::Control),
        0x11 => ReceiptKind::CashMove,
        _ => ReceiptKind::Not(NotCounted::Other),
    }
}

/// Tells whether a receipt takes a whole earlier one back.
pub(super) fn is_void(code: u64) -> bool {
    code & VOID != 0
}

/// What a charge item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Charge {
    /// A line of this kind; goods with a negative amount come back.
    Line(LineKind),
    /// A line of goods that somebody else sells through the till.
    Agency,
    /// A discount or an extra charge: money without goods.
    Adjustment,
    /// Cash put in or taken out, and what for; nothing where the sign says it.
    Cash(Option<&'static str>),
}

/// Tells what a charge item is by its code, and by its words where the code is too general.
pub(super) fn charge(code: u64, description: &str) -> Charge {
    let by_code = if second(code) { charge_second(code) } else { charge_first(code) };
    if by_code != Charge::Line(LineKind::Sale) {
        return by_code;
    }
    let words = description.trim().to_lowercase();
    // Only codes of no VAT: a taxed "voucher" is a single-purpose one, and goods by its code.
    let untaxed = if second(code) {
        matches!(code & 0xF, 0x0 | 0x7 | 0x8)
    } else {
        matches!(code & 0xFF, 0x00 | 0x05 | 0x06)
    };
    match words.as_str() {
        "tip" | "trinkgeld" if untaxed => Charge::Line(LineKind::Tip),
        _ if untaxed && words.contains("gutschein") => Charge::Line(LineKind::VoucherSale),
        _ => by_code,
    }
}

fn charge_first(code: u64) -> Charge {
    match code & 0xFF {
        0x00..=0x1F | 0xA1 => Charge::Line(LineKind::Sale),
        0x20..=0x27 => Charge::Line(LineKind::Deposit),
        0x28..=0x2F => Charge::Line(LineKind::DepositRefund),
        0x30..=0x3F => Charge::Adjustment,
        0x50..=0x59 => Charge::Line(LineKind::Tip),
        // A voucher redeemed takes back what its sale promised: the same kind, negative.
        0x60..=0x6F => Charge::Line(LineKind::VoucherSale),
        0x70..=0x7F => Charge::Line(LineKind::Receivable),
        0x80..=0x8F => Charge::Line(LineKind::Prepayment),
        0x90 => Charge::Cash(Some("float")),
        0x93 => Charge::Cash(None),
        0x92 | 0x95 => Charge::Cash(Some("paid_in")),
        0x91 | 0x94 | 0x96 => Charge::Cash(Some("paid_out")),
        0x97 => Charge::Cash(Some("difference")),
        0xA2 => Charge::Agency,
        _ => Charge::Line(LineKind::Other),
    }
}

fn charge_second(code: u64) -> Charge {
    if code & V2_DISCOUNT != 0 {
        return Charge::Adjustment;
    }
    if code & V2_DOWN_PAYMENT != 0 {
        return Charge::Line(LineKind::Prepayment);
    }
    if code & V2_RETURNABLE != 0 {
        let back = code & V2_REFUND != 0;
        return Charge::Line(if back { LineKind::DepositRefund } else { LineKind::Deposit });
    }
    match code & 0xF0 {
        0x00 | 0x10 | 0x20 | 0x50 => Charge::Line(LineKind::Sale),
        0x30 => Charge::Line(LineKind::Tip),
        0x40 => Charge::Line(LineKind::VoucherSale),
        0x60 => Charge::Agency,
        0x90 => Charge::Line(LineKind::Receivable),
        0xA0 => Charge::Cash(None),
        _ => Charge::Line(LineKind::Other),
    }
}

/// Returns the VAT key of a charge item as DSFinV-K numbers them, given its rate in basis points.
pub(super) fn vat_key(code: u64, bp: u32) -> u32 {
    let own = |bp: u32| if bp == 0 { 7 } else { 1000 + bp };
    if second(code) {
        // The second version numbers rates anew; only rates that stand in the key table keep a key.
        return match (code & 0xF, bp) {
            (_, 1900 | 1600) => 1,
            (_, 700 | 500) => 2,
            (0x8, 0) => 5,
            (0x7, 0) => 6,
            (_, bp) => own(bp),
        };
    }
    match code & 0xFF {
        0x49 | 0x59 | 0x60 | 0x68 | 0x90..=0xAF => 5,
        low => match low & 0x7 {
            key @ 1..=6 => u32::try_from(key).unwrap_or(7),
            _ => own(bp),
        },
    }
}

/// What a pay item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pay {
    /// A means of payment.
    Means(PaymentKind),
    /// A subsidy, in whose place old tills write their cancellation.
    Grant,
    /// Cash put in or taken out: the drawer's side of it has the other sign.
    Cash,
}

/// Tells what a pay item is by its code, and by its words where the code is that of cash.
pub(super) fn pay(code: u64, description: &str) -> Pay {
    if second(code) { pay_second(code, description) } else { pay_first(code, description) }
}

fn pay_first(code: u64, description: &str) -> Pay {
    Pay::Means(match code & 0xFF {
        0x00..=0x02 => cash_or(description, PaymentKind::Cash),
        0x04 => PaymentKind::Girocard,
        0x05 => PaymentKind::Credit,
        0x06 => PaymentKind::Mobile,
        0x07 => PaymentKind::GiftCard,
        0x0B | 0x0C => cash_or(description, PaymentKind::Change),
        0x0D => PaymentKind::Voucher,
        0x0E => PaymentKind::OnAccount,
        0x0F => PaymentKind::Prepayment,
        0x11 => return Pay::Grant,
        0x12..=0x17 => return Pay::Cash,
        _ => PaymentKind::Other,
    })
}

fn pay_second(code: u64, description: &str) -> Pay {
    let cash = if code & V2_CHANGE != 0 { PaymentKind::Change } else { PaymentKind::Cash };
    Pay::Means(match code & 0xFF {
        0x00 | 0x01 => cash_or(description, cash),
        0x04 => PaymentKind::Girocard,
        0x05 => PaymentKind::Credit,
        0x06 => PaymentKind::Voucher,
        0x07 => PaymentKind::Mobile,
        0x08 => PaymentKind::Points,
        0x09 => PaymentKind::OnAccount,
        0x0C => return Pay::Cash,
        0x0E => return Pay::Grant,
        _ => PaymentKind::Other,
    })
}

/// Reads the words of what is paid under a code of cash.
fn cash_or(description: &str, cash: PaymentKind) -> PaymentKind {
    let words = description.trim().to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if has(&["gutschein", "voucher"]) {
        PaymentKind::Voucher
    } else if has(&["mastercard", "visa", "american express", "amex", "diners", "kreditkarte"]) {
        PaymentKind::Credit
    } else if has(&["bankomat", "girocard", "maestro"])
        || matches!(words.as_str(), "ec" | "ec-karte")
    {
        PaymentKind::Girocard
    } else if matches!(words.as_str(), "ar" | "rechnung" | "ausgangsrechnung") {
        PaymentKind::OnAccount
    } else {
        cash
    }
}

/// Tells whether a pay item is a cancellation, as tills write it that know no flag for it.
pub(super) fn is_old_void(description: &str) -> bool {
    description.trim().to_lowercase().starts_with("storno")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DE: u64 = 0x4445_0000_0000_0000;
    const DE2: u64 = 0x4445_2000_0000_0000;

    #[test]
    fn a_receipt_is_what_its_low_word_and_flags_say() {
        for (code, kind) in [
            (DE, ReceiptKind::Sale),
            (DE | 0x1_0000_0001, ReceiptKind::Sale),
            (DE | 0x0D, ReceiptKind::Sale),
            (DE | 0x4_0001, ReceiptKind::Sale),
            (DE | 0x2_0001, ReceiptKind::Not(NotCounted::Training)),
            (DE | 0x02, ReceiptKind::Not(NotCounted::Control)),
            (DE | 0x07, ReceiptKind::DailyClosing),
            (DE | 0x08, ReceiptKind::Not(NotCounted::Suspended)),
            (DE | 0x0F, ReceiptKind::Not(NotCounted::Other)),
            (DE | 0x10, ReceiptKind::Not(NotCounted::Other)),
            (DE | 0x11, ReceiptKind::CashMove),
            (DE | 0x14, ReceiptKind::Not(NotCounted::Other)),
            (DE2 | 0x0001, ReceiptKind::Sale),
            (DE2 | 0x2011, ReceiptKind::DailyClosing),
            (DE2 | 0x3004, ReceiptKind::Not(NotCounted::Other)),
        ] {
            assert_eq!(receipt_kind(code), kind, "{code:x}");
        }
    }

    #[test]
    fn a_charge_item_has_its_kind_and_its_vat_key() {
        let line = Charge::Line;
        for (code, words, bp, kind, key) in [
            (DE | 0x01, "Bier", 1900, line(LineKind::Sale), 1),
            (DE | 0x12, "Brot", 700, line(LineKind::Sale), 2),
            (DE | 0x1A, "Service", 700, line(LineKind::Sale), 2),
            (DE, "Gutscheine KA-501", 0, line(LineKind::VoucherSale), 7),
            (DE | 0x06, "Tip", 0, line(LineKind::Tip), 6),
            (DE | 0x21, "Pfand", 1900, line(LineKind::Deposit), 1),
            (DE | 0x2A, "Pfand zurück", 700, line(LineKind::DepositRefund), 2),
            (DE | 0x31, "Rabatt", 1900, Charge::Adjustment, 1),
            (DE | 0x3A, "Aufschlag", 700, Charge::Adjustment, 2),
            (DE | 0x59, "TG", 0, line(LineKind::Tip), 5),
            (DE | 0x60, "G", 0, line(LineKind::VoucherSale), 5),
            (DE | 0x61, "Kino", 1900, line(LineKind::VoucherSale), 1),
            (DE | 0x17, "Wein", 1070, line(LineKind::Sale), 2070),
            (DE | 0x93, "Abschöpfung", 0, Charge::Cash(None), 5),
            (DE | 0xA2, "Lotto", 0, Charge::Agency, 5),
            (DE2 | 0x13, "Bier", 1900, line(LineKind::Sale), 1),
            (DE2 | 0x10_0013, "Pfand", 1900, line(LineKind::Deposit), 1),
            (DE2 | 0x12_0013, "Leergut", 1900, line(LineKind::DepositRefund), 1),
            (DE2 | 0x04_0011, "Rabatt", 700, Charge::Adjustment, 2),
        ] {
            assert_eq!((charge(code, words), vat_key(code, bp)), (kind, key), "{code:x} {words}");
        }
    }

    #[test]
    fn words_tell_cards_and_vouchers_under_the_code_of_cash() {
        for (code, words, kind) in [
            (DE | 0x01, "Bar", PaymentKind::Cash),
            (DE | 0x01, "MasterCard", PaymentKind::Credit),
            (DE | 0x01, "Bankomat", PaymentKind::Girocard),
            (DE, "Gutschein", PaymentKind::Voucher),
            (DE | 0x0B, "AR", PaymentKind::OnAccount),
            (DE | 0x0B, "Rückgeld", PaymentKind::Change),
            (DE | 0x08, "Konto", PaymentKind::Other),
            (DE2 | 0x20_0001, "Rückgeld", PaymentKind::Change),
        ] {
            assert_eq!(pay(code, words), Pay::Means(kind), "{code:x} {words}");
        }
        assert_eq!(pay(DE | 0x11, "Storno"), Pay::Grant);
        assert!(is_old_void(" STORNO 3") && !is_old_void("Bar"));
    }
}
