//! What a dialect is made of: a table that gives every part of a receipt its direction, and the few
//! words that differ. Figures are read without their sign; the direction alone decides it, and a
//! mark that the dialect does not explain refuses the receipt. Pure.

use shared::words::{LineKind, PaymentKind, Unit};

use super::record::{Change, Item, LineFlags, Tender};

/// A part of a receipt that has an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Element `Sale`.
    Sale,
    /// Element `Return`, or an item type that gives money back.
    Return,
    /// Element `Tender`.
    Tender,
    /// Element `Tender` with `TypeCode="Refund"`.
    Refund,
    /// Element `TenderChange`.
    Change,
    /// Element `Discount` beside the lines.
    Discount,
    /// A rounding, or VAT as the till summed it up: its sign stands in the file.
    Signed,
}

/// What a receipt's own status does to its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It stands for itself.
    Own,
    /// It takes back an earlier receipt, whose parts it repeats.
    PostVoided,
}

/// What a line says of how it was rung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing.
    Unsaid,
    /// A sale.
    Normal,
    /// A return.
    Return,
    /// A word that is not known.
    Unknown,
}

/// All that may decide a direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) part: Part,
    pub(super) flags: LineFlags,
    pub(super) standing: Standing,
    pub(super) mode: Mode,
    /// The signs of the figures as they stand: 1, 0 or -1.
    pub(super) quantity: i64,
    pub(super) amount: i64,
}

/// Where goods and money go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Goods go out, money comes in.
    Plus,
    /// Goods come in, money goes out.
    Minus,
    /// The part counts nothing: it never reached the receipt.
    Nothing,
    /// The dialect does not explain such a mark.
    Unknown,
}

impl Direction {
    /// Returns the other way.
    pub(super) fn reversed(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
            Self::Nothing => Self::Nothing,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Returns the other way where something turns it.
    fn turned(self, turn: bool) -> Self {
        if turn { self.reversed() } else { self }
    }
}

/// A dialect whose receipts are filled by its table.
pub(super) struct Rules {
    /// The scheme of article numbers that are no GTIN.
    pub(super) vendor: &'static str,
    /// The table of directions.
    pub(super) direction: fn(&Mark) -> Direction,
    /// The kind of an item type or line type that the standard does not have.
    pub(super) kind: fn(&Item) -> OwnKind,
    /// The kind of a tender that the standard does not have.
    pub(super) payment: fn(&Tender) -> Option<PaymentKind>,
}

/// What a dialect's own words say of a line's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OwnKind {
    /// Nothing: the standard's words decide.
    Standard,
    /// This kind.
    Is(LineKind),
    /// The word is none that this dialect has.
    Refused,
}

/// The direction where figures are absolute: by element, turned by `VoidFlag` and by a post-void.
pub(super) fn absolute(mark: &Mark) -> Direction {
    if mark.part == Part::Signed {
        return signed(mark);
    }
    if mark.quantity < 0 || mark.amount < 0 {
        return Direction::Unknown;
    }
    plain(mark.part).turned(mark.flags.void).turned(mark.standing == Standing::PostVoided)
}

/// The direction of a figure whose sign stands in the file.
pub(super) fn signed(mark: &Mark) -> Direction {
    let direction = if mark.amount < 0 { Direction::Minus } else { Direction::Plus };
    direction.turned(mark.flags.void).turned(mark.standing == Standing::PostVoided)
}

/// The direction of a part that nothing turns.
pub(super) fn plain(part: Part) -> Direction {
    match part {
        Part::Sale | Part::Tender | Part::Signed => Direction::Plus,
        Part::Return | Part::Refund | Part::Change | Part::Discount => Direction::Minus,
    }
}

/// The kind of a line by the standard's words and by the direction that nothing has turned.
pub(super) fn standard_kind(item: &Item, unturned: Direction) -> LineKind {
    let comes_back = unturned == Direction::Minus;
    if item.voucher {
        return LineKind::VoucherSale;
    }
    match item.item_type.as_deref() {
        None | Some("Stock" | "Grade") if comes_back => LineKind::Return,
        None | Some("Stock" | "Grade") => LineKind::Sale,
        Some("DepositRefund") => LineKind::DepositRefund,
        Some("Deposit") if comes_back => LineKind::DepositRefund,
        Some("Deposit") => LineKind::Deposit,
        Some("Fee" | "FeeRefund" | "Service" | "Alteration" | "Warranty") => LineKind::Fee,
        Some("GiftCertificate" | "GiftCard" | "Voucher") => LineKind::VoucherSale,
        Some("Donation") => LineKind::Donation,
        Some(_) => LineKind::Other,
    }
}

/// Tells whether an item type gives money back whatever its element.
pub(super) fn gives_back(item_type: Option<&str>) -> bool {
    matches!(item_type, Some("DepositRefund" | "FeeRefund"))
}

/// The kind of a tender by the standard's words.
pub(super) fn standard_payment(tender: &Tender) -> PaymentKind {
    let kind = tender.kind.as_deref().map(|kind| kind.rsplit(':').next().unwrap_or(kind));
    match kind {
        Some("Cash") => PaymentKind::Cash,
        Some("CreditDebit") if tender.card.as_deref() == Some("Debit") => PaymentKind::Girocard,
        Some("CreditDebit" | "Credit" | "CreditCard") => PaymentKind::Credit,
        Some("Debit" | "DebitCard" | "EC" | "Girocard") => PaymentKind::Girocard,
        Some("GiftCard" | "GiftCertificate" | "StoredValue") => PaymentKind::GiftCard,
        Some("Voucher" | "Coupon" | "ManufacturerCoupon" | "StoreCredit") => PaymentKind::Voucher,
        Some("DepositVoucher" | "Empties") => PaymentKind::DepositVoucher,
        Some("CustomerAccount" | "HouseAccount" | "PurchaseOrder") => PaymentKind::OnAccount,
        Some("LoyaltyPoints" | "Points") => PaymentKind::Points,
        Some("Mobile" | "MobilePayment" | "EWallet") => PaymentKind::Mobile,
        Some("Deposit" | "Prepayment") => PaymentKind::Prepayment,
        None | Some(_) => PaymentKind::Other,
    }
}

/// A dialect whose tenders use the standard's words alone.
pub(super) fn no_own_payment(_: &Tender) -> Option<PaymentKind> {
    None
}

/// The part that a tender is.
pub(super) fn tender_part(tender: &Tender) -> Part {
    match (tender.change, tender.code.as_deref()) {
        (Change::Yes, _) => Part::Change,
        (Change::No, Some("Refund")) => Part::Refund,
        (Change::No, _) => Part::Tender,
    }
}

/// The unit of a code; one that is not known is kept as a word, and without one `unsaid` is meant.
pub(super) fn unit(code: Option<&str>, unsaid: Unit) -> Result<Unit, shared::ids::IdError> {
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        return Ok(unsaid);
    };
    match code.to_lowercase().as_str() {
        "ea" | "st" | "stk" | "stck" | "stück" | "pce" | "pcs" => Ok(Unit::Pieces),
        "kg" | "kgm" => Ok(Unit::Kilograms),
        "l" | "ltr" => Ok(Unit::Litres),
        "m" | "mtr" => Ok(Unit::Metres),
        other => Unit::new(other),
    }
}

#[cfg(test)]
pub(super) mod tables {
    use super::*;

    /// A mark with nothing special about it.
    pub(crate) fn mark(part: Part) -> Mark {
        let (flags, standing) = (LineFlags::default(), Standing::Own);
        Mark { part, flags, standing, mode: Mode::Unsaid, quantity: 1, amount: 1 }
    }

    /// A mark with these flags, by their first letters: v, c, d, s.
    pub(crate) fn flagged(part: Part, letters: &str) -> Mark {
        let flags = LineFlags {
            void: letters.contains('v'),
            cancel: letters.contains('c'),
            delete: letters.contains('d'),
            statistic: letters.contains('s'),
        };
        Mark { flags, ..mark(part) }
    }

    /// Holds a table against rows of (mark, direction).
    pub(crate) fn holds(direction: fn(&Mark) -> Direction, rows: &[(Mark, Direction)]) {
        for (mark, wanted) in rows {
            assert_eq!(direction(mark), *wanted, "{mark:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tables::{flagged, holds, mark};
    use super::*;

    #[test]
    fn absolute_figures_are_turned_by_each_flag_alone_and_back_by_both() {
        let voided = |mark: Mark| Mark { standing: Standing::PostVoided, ..mark };
        holds(
            absolute,
            &[
                (mark(Part::Sale), Direction::Plus),
                (mark(Part::Return), Direction::Minus),
                (mark(Part::Tender), Direction::Plus),
                (mark(Part::Change), Direction::Minus),
                (mark(Part::Discount), Direction::Minus),
                (flagged(Part::Sale, "v"), Direction::Minus),
                (flagged(Part::Return, "v"), Direction::Plus),
                (voided(mark(Part::Sale)), Direction::Minus),
                (voided(flagged(Part::Sale, "v")), Direction::Plus),
                (voided(mark(Part::Refund)), Direction::Plus),
                (Mark { quantity: -1, ..mark(Part::Sale) }, Direction::Unknown),
                (Mark { amount: -1, ..mark(Part::Sale) }, Direction::Unknown),
                (Mark { amount: -1, ..mark(Part::Signed) }, Direction::Minus),
                (voided(Mark { amount: -1, ..mark(Part::Signed) }), Direction::Plus),
            ],
        );
    }

    #[test]
    fn units_are_found_by_code_and_by_name_and_others_are_kept() {
        for (code, unsaid, wanted) in [
            (None, Unit::Pieces, "pcs"),
            (None, Unit::Kilograms, "kg"),
            (Some("EA"), Unit::Kilograms, "pcs"),
            (Some("KGM"), Unit::Pieces, "kg"),
            (Some("Kg"), Unit::Pieces, "kg"),
            (Some("Stück"), Unit::Pieces, "pcs"),
            (Some("LTR"), Unit::Pieces, "l"),
            (Some("6Pack"), Unit::Pieces, "6pack"),
        ] {
            assert_eq!(unit(code, unsaid).unwrap().as_str(), wanted, "{code:?}");
        }
    }
}
