//! The settings of a telegram's layout: a TOML file of its own, checked whole before the first byte.

use std::collections::BTreeMap;

use chrono::format::{Item, StrftimeItems};
use serde::Deserialize;
use shared::ids::{Label, TillId};
use shared::words::{AdjustmentKind, LineKind, NotCounted, PaymentKind, Unit};

/// How a telegram is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Framing {
    /// STX, data, ETX, check character.
    #[serde(rename = "stx-etx")]
    StxEtx,
    /// STX, data with every DLE doubled, DLE, ETX, check character.
    #[serde(rename = "3964r")]
    Dust3964r,
}

impl Framing {
    /// Returns how many bytes end the data.
    pub(super) fn tail(self) -> usize {
        match self {
            Self::StxEtx => 1,
            Self::Dust3964r => 2,
        }
    }
}

/// What follows ETX. Unless the name says otherwise it covers what follows STX, the end included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    None,
    Xor,
    XorWithStx,
    XorWithoutEtx,
    /// In two hexadecimal digits.
    XorHex,
    /// Modulo 256.
    Sum,
    /// Modulo 256, in two hexadecimal digits.
    SumHex,
}

impl Check {
    pub(super) fn length(self) -> usize {
        match self {
            Self::None => 0,
            Self::Xor | Self::XorWithStx | Self::XorWithoutEtx | Self::Sum => 1,
            Self::XorHex | Self::SumHex => 2,
        }
    }

    /// Tells whether a trailer is that of a frame, which reaches from STX to ETX.
    pub(super) fn proves(self, framing: Framing, frame: &[u8], trailer: &[u8]) -> bool {
        let covered = match self {
            Self::XorWithStx => frame,
            Self::XorWithoutEtx => &frame[1..frame.len() - framing.tail()],
            Self::None | Self::Xor | Self::XorHex | Self::Sum | Self::SumHex => &frame[1..],
        };
        let xor = || covered.iter().fold(0, |all: u8, byte| all ^ byte);
        let sum = || covered.iter().fold(0, |all: u8, byte| all.wrapping_add(*byte));
        let hex = |value: u8| format!("{value:02X}").into_bytes();
        match self {
            Self::None => true,
            Self::Xor | Self::XorWithStx | Self::XorWithoutEtx => trailer == [xor()],
            Self::Sum => trailer == [sum()],
            Self::XorHex => trailer.eq_ignore_ascii_case(&hex(xor())),
            Self::SumHex => trailer.eq_ignore_ascii_case(&hex(sum())),
        }
    }
}

/// How bytes are letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    Ascii,
    Cp437,
    Din66003,
    Latin1,
}

/// How much of a receipt one telegram holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Span {
    /// A whole receipt.
    Telegram,
    /// One record; the total's ends the receipt.
    Joined,
}

/// How decimals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Numbers {
    /// Digits alone; how many of them are decimals is set.
    Implied,
    /// `1.234,50`.
    Comma,
    /// `1234.50`.
    Point,
}

/// Where the sign of an amount stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sign {
    Leading,
    Trailing,
    /// Amounts have none; what the record's kind takes back is negative.
    Kind,
}

/// What an article's field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ArticleField {
    /// A number as the scanner gives it: a GTIN, else the vendor's own.
    Scanned,
    /// A number that only the vendor understands.
    Own,
    Plu,
    Text,
}

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Header,
    Line,
    Payment,
    Adjustment,
    Total,
    /// Nothing that is read.
    Ignored,
}

/// What a field tells. What is not named here is never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Field {
    Store,
    Till,
    Series,
    Receipt,
    Date,
    Time,
    Position,
    Kind,
    Article,
    Quantity,
    Unit,
    Amount,
    Vat,
}

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Place {
    /// The field between separators, the record's mark being field 0.
    Field(usize),
    /// First column, from 0, and number of columns.
    Columns([usize; 2]),
}

/// One type of record.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    pub(super) role: Role,
    /// What such a record begins with.
    pub(super) mark: String,
    #[serde(default)]
    pub(super) fields: BTreeMap<Field, Place>,
}

/// A VAT code of the till.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VatCode {
    pub(super) key: Label,
    pub(super) bp: Option<u32>,
}

/// What a line's kind is called in the settings: a word of ours, or `void`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "LineKind")]
pub(super) struct KindCode {
    pub(super) kind: LineKind,
    pub(super) void: bool,
}

impl From<LineKind> for KindCode {
    fn from(kind: LineKind) -> Self {
        let void = kind.as_str() == "void";
        Self { kind: if void { LineKind::Sale } else { kind }, void }
    }
}

/// How telegrams are framed and what they say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub(super) framing: Framing,
    pub(super) bcc: Check,
    pub(super) encoding: Encoding,
    pub(super) receipt: Span,
    /// Between fields; without it fields stand in columns.
    pub(super) separator: Option<char>,
    /// Between the records of one telegram.
    pub(super) record_end: Option<String>,
    pub(super) numbers: Numbers,
    #[serde(default = "two")]
    pub(super) amount_decimals: usize,
    #[serde(default = "three")]
    pub(super) quantity_decimals: usize,
    pub(super) sign: Sign,
    pub(super) date: String,
    pub(super) time: String,
    pub(super) article: ArticleField,
    /// The scheme of numbers that are no GTIN.
    pub(super) vendor: String,
    /// The till where no field names it.
    pub(super) till: Option<TillId>,
    pub(super) records: Vec<Layout>,
    #[serde(default)]
    pub(super) kinds: BTreeMap<String, KindCode>,
    #[serde(default)]
    pub(super) units: BTreeMap<String, Unit>,
    #[serde(default)]
    pub(super) vat: BTreeMap<String, VatCode>,
    #[serde(default)]
    pub(super) payments: BTreeMap<String, PaymentKind>,
    #[serde(default)]
    pub(super) adjustments: BTreeMap<String, AdjustmentKind>,
    /// Kinds of a header or total whose receipt is no sale.
    #[serde(default)]
    pub(super) not_counted: BTreeMap<String, NotCounted>,
}

fn two() -> usize {
    2
}

fn three() -> usize {
    3
}

impl Settings {
    /// Returns how telegrams are framed, which whoever answers them must know.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Tells whether a check character proves a telegram.
    pub fn is_proved(&self) -> bool {
        self.bcc != Check::None
    }

    /// Says what contradicts itself or is missing.
    pub(super) fn fault(&self) -> Option<String> {
        let marks = || self.records.iter().map(|layout| layout.mark.as_str());
        let has = |field| self.records.iter().any(|layout| layout.fields.contains_key(&field));
        let totals = self.records.iter().filter(|layout| layout.role == Role::Total);
        let say = |what: &str| Some(what.to_owned());
        if self.amount_decimals > 6 || self.quantity_decimals > 6 {
            return say("amount_decimals and quantity_decimals are 0 to 6");
        }
        if self.vendor.is_empty() || !self.vendor.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return say("vendor: letters and digits are needed");
        }
        if !is_pattern(&self.date) || !is_pattern(&self.time) {
            return say("date and time: patterns such as %d.%m.%Y and %H:%M:%S are needed");
        }
        if marks().enumerate().any(|(at, mark)| {
            self.records[..at].iter().any(|earlier| match self.separator {
                Some(_) => mark == earlier.mark,
                None => mark.starts_with(&earlier.mark),
            })
        }) {
            return say("records: a mark begins with an earlier one and is never reached");
        }
        if totals.clone().count() == 0 || !totals.clone().all(has_amount) {
            return say("records: a total with its amount is needed");
        }
        if !has(Field::Receipt) || !has(Field::Date) || !has(Field::Time) {
            return say("records: the fields receipt, date and time are needed");
        }
        if !has(Field::Till) && self.till.is_none() {
            return say("till: no field names it, so the settings must");
        }
        let money = [Role::Line, Role::Payment, Role::Adjustment];
        if !self.records.iter().filter(|layout| money.contains(&layout.role)).all(has_amount) {
            return say("records: a line, a payment or an adjustment needs its amount");
        }
        if !self.records.iter().filter(|layout| layout.role == Role::Line).all(has_article) {
            return say("records: a line needs its article");
        }
        if !self.places().all(|place| self.fits(place)) {
            return say(
                "fields: numbers where there is a separator, [first, count] where there is none",
            );
        }
        match self.receipt {
            Span::Telegram => None,
            Span::Joined => self.fault_of_joined(),
        }
    }

    fn fault_of_joined(&self) -> Option<String> {
        if self.record_end.is_some() {
            return Some("record_end: a joined receipt has one record a telegram".to_owned());
        }
        for layout in self.records.iter().filter(|layout| layout.role != Role::Ignored) {
            let has = |field| layout.fields.contains_key(&field);
            if !has(Field::Receipt) || (!has(Field::Till) && self.till.is_none()) {
                return Some(format!("record {:?}: till and receipt are needed", layout.mark));
            }
            let counted = !matches!(layout.role, Role::Header | Role::Total);
            if counted && !has(Field::Position) {
                let why = "without it a line that is sent again cannot be told from a second one";
                return Some(format!("record {:?}: position is needed: {why}", layout.mark));
            }
        }
        None
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.records.iter().flat_map(|layout| layout.fields.values())
    }

    fn fits(&self, place: &Place) -> bool {
        match place {
            Place::Field(_) => self.separator.is_some(),
            Place::Columns([first, count]) => {
                self.separator.is_none() && first.checked_add(*count).is_some() && *count > 0
            }
        }
    }
}

fn has_amount(layout: &Layout) -> bool {
    layout.fields.contains_key(&Field::Amount)
}

fn has_article(layout: &Layout) -> bool {
    layout.fields.contains_key(&Field::Article)
}

fn is_pattern(text: &str) -> bool {
    let mut items = StrftimeItems::new(text).peekable();
    items.peek().is_some() && items.all(|item| item != Item::Error)
}
