//! What of a receipt survives a format, so that what several formats say of the same minutes can be
//! compared: figures are summed by what both sides can say, and by nothing else.

use std::collections::BTreeMap;

use shared::ids::TillId;
use shared::money::{Cents, Milli};
use shared::receipt::{Line, Receipt, ReceiptReference};
use shared::time::Minute;
use shared::words::{LineKind, PaymentKind};

use super::Dialect;
use super::voids::{Fate, fates};

/// What a format can say. True where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carries {
    /// The article's GTIN.
    pub gtin: bool,
    /// The VAT key of a line.
    pub vat_key: bool,
    /// The discount inside a line's amount; else it stands beside the lines, as an adjustment.
    pub line_discount: bool,
    /// Lines that were taken back and those that take back; else neither.
    pub voided_lines: bool,
    /// Whether a negative line is a return or takes back another one.
    pub void_or_return: bool,
    /// What was given and what came back; else what was kept.
    pub change: bool,
    /// Which kind of card paid; else any.
    pub cards: bool,
    /// What cash was moved for; else only whether it came or went.
    pub cash_reasons: bool,
    /// Which receipt is taken back by another one; else only that its amounts are turned.
    pub taken_back: bool,
}

/// What a till did in a minute, as far as a format can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Receipts that count.
    pub receipts: u64,
    /// Sum of their totals.
    pub total_cents: Cents,
    /// Sum of what stands beside the lines.
    pub adjustment_cents: Cents,
    /// Quantity and amount by what is known of a line.
    pub lines: BTreeMap<LineKey, (Milli, Cents)>,
    /// What was paid, by kind.
    pub payments: BTreeMap<PaymentKind, Cents>,
    /// What was put into the drawer and taken out beside sales, by what for.
    pub cash_moves: BTreeMap<String, Cents>,
    /// Receipts that were taken back, in the order of those that do.
    pub taken_back: Vec<ReceiptReference>,
}

/// What is known of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    article: Option<String>,
    kind: LineKind,
    void: Option<bool>,
    unit: String,
    vat_key: Option<String>,
}

impl Carries {
    /// Everything.
    pub const ALL: Self = Self {
        gtin: true,
        vat_key: true,
        line_discount: true,
        voided_lines: true,
        void_or_return: true,
        change: true,
        cards: true,
        cash_reasons: true,
        taken_back: true,
    };

    /// Tells whether lines can be said as they are: their article, their discount, and whether they take
    /// another one back.
    pub fn says_lines(self) -> bool {
        self.gtin && self.line_discount && self.voided_lines && self.void_or_return
    }

    /// Returns what a dialect can say; the table stands in the module's documentation.
    pub fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Jsonl | Dialect::PoslogFakes | Dialect::Telegram => Self::ALL,
            Dialect::NcrAcs => Self {
                vat_key: false,
                line_discount: false,
                change: false,
                cards: false,
                taken_back: false,
                ..Self::ALL
            },
            Dialect::WnTpnet | Dialect::Gk | Dialect::V6 => Self { change: false, ..Self::ALL },
            Dialect::Roqqio => Self { voided_lines: false, ..Self::ALL },
            Dialect::Visma => Self { voided_lines: false, change: false, ..Self::ALL },
            Dialect::Escpos => Self {
                gtin: false,
                line_discount: false,
                void_or_return: false,
                cash_reasons: false,
                taken_back: false,
                ..Self::ALL
            },
            Dialect::Fiskaltrust => {
                Self { line_discount: false, void_or_return: false, taken_back: false, ..Self::ALL }
            }
            Dialect::Dsfinvk => Self { change: false, ..Self::ALL },
        }
    }

    /// Returns what two formats can both say.
    pub fn and(self, other: Self) -> Self {
        Self {
            gtin: self.gtin && other.gtin,
            vat_key: self.vat_key && other.vat_key,
            line_discount: self.line_discount && other.line_discount,
            voided_lines: self.voided_lines && other.voided_lines,
            void_or_return: self.void_or_return && other.void_or_return,
            change: self.change && other.change,
            cards: self.cards && other.cards,
            cash_reasons: self.cash_reasons && other.cash_reasons,
            taken_back: self.taken_back && other.taken_back,
        }
    }
}

/// Sums the receipts that count, and the cash that moved beside them, by till and minute, as far as
/// `carries` reaches.
pub fn figures<'a>(
    receipts: impl IntoIterator<Item = &'a Receipt>,
    carries: Carries,
) -> BTreeMap<(TillId, Minute), Figures> {
    let mut minutes: BTreeMap<(TillId, Minute), Figures> = BTreeMap::new();
    let says = |receipt: &&Receipt| receipt.counts || !receipt.cash_moves.is_empty();
    for receipt in receipts.into_iter().filter(says) {
        let minute = (receipt.till.clone(), receipt.ended_at.minute());
        let figures = minutes.entry(minute).or_default();
        figures.move_cash(receipt, carries);
        if receipt.counts {
            figures.add(receipt, carries);
        }
    }
    for figures in minutes.values_mut() {
        figures.lines.retain(|_, (quantity, cents)| quantity.0 != 0 || cents.0 != 0);
        figures.payments.retain(|_, cents| cents.0 != 0);
    }
    minutes
}

impl Figures {
    fn add(&mut self, receipt: &Receipt, carries: Carries) {
        self.receipts += 1;
        self.total_cents.0 += receipt.total_cents.0;
        self.adjustment_cents.0 += receipt.adjustment_cents.0;
        for (line, fate) in receipt.lines.iter().zip(fates(&receipt.lines)) {
            if carries.voided_lines || fate == Fate::Stands {
                self.add_line(line, carries);
            }
        }
        self.taken_back.extend(receipt.refers_to.clone().filter(|_| carries.taken_back));
        for payment in &receipt.payments {
            let kind = paid_by(&payment.kind, carries);
            self.payments.entry(kind).or_default().0 += payment.cents.0;
        }
    }

    fn move_cash(&mut self, receipt: &Receipt, carries: Carries) {
        for moved in &receipt.cash_moves {
            let way = if moved.cents < Cents::ZERO { "out" } else { "in" };
            let reason = if carries.cash_reasons { moved.kind.as_str() } else { way };
            self.cash_moves.entry(reason.to_owned()).or_default().0 += moved.cents.0;
        }
    }

    fn add_line(&mut self, line: &Line, carries: Carries) {
        let mut amount = line.amount_cents;
        if !carries.line_discount {
            amount.0 += line.discount_cents.0;
            self.adjustment_cents.0 -= line.discount_cents.0;
        }
        let (sum, cents) = self.lines.entry(key(line, carries)).or_default();
        sum.0 += line.quantity_milli.0;
        cents.0 += amount.0;
    }
}

fn paid_by(kind: &PaymentKind, carries: Carries) -> PaymentKind {
    if *kind == PaymentKind::Change && !carries.change {
        PaymentKind::Cash
    } else if *kind == PaymentKind::Girocard && !carries.cards {
        PaymentKind::Credit
    } else {
        kind.clone()
    }
}

fn key(line: &Line, carries: Carries) -> LineKey {
    let back = line.amount_cents < Cents::ZERO;
    let unsaid = |kind: LineKind| line.kind == kind && !carries.void_or_return;
    // A deposit that is taken back and one that is given back look the same.
    let kind = if unsaid(LineKind::Return) {
        LineKind::Sale
    } else if unsaid(LineKind::Deposit) && back {
        LineKind::DepositRefund
    } else if unsaid(LineKind::DepositRefund) && !back {
        LineKind::Deposit
    } else {
        line.kind.clone()
    };
    LineKey {
        article: carries.gtin.then(|| line.article.to_string()),
        kind,
        void: carries.void_or_return.then_some(line.void),
        unit: line.unit.to_string(),
        vat_key: line.vat_key.as_ref().filter(|_| carries.vat_key).map(ToString::to_string),
    }
}
