//! POSLog as other vendors write it: one walk over a receipt, and per vendor what is signed, what
//! becomes of a voided line, how the clock is written. Facts are those of real files and of the
//! standard; `docs/formats.md` says which vendor's were seen.

use chrono_tz::Tz;
use shared::money::{Cents, Milli};
use shared::receipt::{Adjustment, Line, Payment, Receipt};
use shared::words::{LineKind, NotCounted, PaymentKind, Unit};

use super::local_time;
use super::poslog_fakes::status;
use super::voids::{Fate, fates};
use super::xml::Xml;
use super::xml::{cash_moved, taken_back};
use crate::shop::{is_receipt_void, turned};

/// Whose POSLog it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vendor {
    /// Diebold Nixdorf TP.net, POSLog 2.2.1.
    WnTpnet,
    /// ROQQIO (Futura), POSLog 6.
    Roqqio,
    /// Visma (Extenda), POSLog 6.
    Visma,
    /// GK, POSLog 3.
    Gk,
    /// The standard's own words, POSLog 6.
    V6,
}

/// What becomes of a line that is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voids {
    /// A further line takes it back.
    FurtherLine,
    /// Both are left out; a number is missing.
    LeftOut,
    /// The line itself is flagged, nothing follows.
    Flagged,
}

impl Vendor {
    fn root(self) -> &'static str {
        match self {
            Self::WnTpnet => {
                "POSLog xmlns=\"http://www.nrf-arts.org/IXRetail/namespace/\" xmlns:WN=\"http://www.wincor-nixdorf.com\""
            }
            Self::Roqqio => {
                "POSLog xmlns=\"http://www.nrf-arts.org/IXRetail/namespace/\" xmlns:fu=\"http://www.futura4retail.com/pos/namespace/\" MajorVersion=\"6\" MinorVersion=\"0\" FixVersion=\"0\""
            }
            Self::Visma => {
                "POSLog xmlns=\"http://www.nrf-arts.org/IXRetail/namespace/\" xmlns:VRExt=\"http://schemas.vismaretail.com/poslog/\" MajorVersion=\"6\" MinorVersion=\"0\" FixVersion=\"0\""
            }
            Self::Gk => {
                "POSLog xmlns=\"http://www.nrf-arts.org/IXRetail/namespace/\" xmlns:SES=\"http://www.gk-software.com/poslog\""
            }
            Self::V6 => {
                "POSLog xmlns=\"http://www.nrf-arts.org/IXRetail/namespace/\" MajorVersion=\"6\" MinorVersion=\"0\" FixVersion=\"0\""
            }
        }
    }

    fn voids(self) -> Voids {
        match self {
            Self::WnTpnet | Self::Gk | Self::V6 => Voids::FurtherLine,
            Self::Roqqio => Voids::LeftOut,
            Self::Visma => Voids::Flagged,
        }
    }

    fn names_business_unit(self) -> bool {
        matches!(self, Self::Roqqio | Self::Visma | Self::V6)
    }

    fn amount(self, cents: Cents) -> String {
        match self {
            Self::Roqqio => format!("{cents}0"),
            Self::WnTpnet | Self::Visma | Self::Gk | Self::V6 => cents.to_string(),
        }
    }

    fn currency(self, cents: Cents) -> &'static str {
        match self {
            Self::Roqqio if cents == Cents::ZERO => " Currency=\"XXX\"",
            Self::Roqqio | Self::Visma | Self::V6 => " Currency=\"EUR\"",
            Self::WnTpnet | Self::Gk => "",
        }
    }
}

pub(super) fn file(vendor: Vendor, receipts: &[Receipt], zone: Tz) -> String {
    let mut xml = Xml::default();
    xml.open("?xml version=\"1.0\" encoding=\"UTF-8\"?");
    xml.line();
    xml.open(vendor.root());
    for receipt in receipts {
        xml.line();
        Writer { vendor, zone, xml: &mut xml }.transaction(receipt);
    }
    xml.line();
    xml.close("POSLog");
    xml.line();
    xml.finish()
}

struct Writer<'a> {
    vendor: Vendor,
    zone: Tz,
    xml: &'a mut Xml,
}

impl Writer<'_> {
    fn transaction(&mut self, receipt: &Receipt) {
        let training = receipt.reason == Some(NotCounted::Training);
        let mut element = "Transaction".to_owned();
        if training {
            element.push_str(" TrainingModeFlag=\"true\"");
        }
        self.xml.open(&element);
        self.place(receipt);
        // ROQQIO writes the day and the times behind the sale, and they are UTC there alone.
        let roqqio = self.vendor == Vendor::Roqqio;
        if !roqqio {
            self.times(receipt);
        }
        match status(receipt) {
            Some(status) => self.retail(receipt, status),
            None if receipt.reason == Some(NotCounted::CashMove) => self.cash(receipt),
            None => self.control(),
        }
        if roqqio {
            self.times(receipt);
        }
        self.xml.close("Transaction");
    }

    fn place(&mut self, receipt: &Receipt) {
        if self.vendor.names_business_unit() {
            self.xml.open("BusinessUnit");
            self.xml.leaf("UnitID", &receipt.store);
            self.xml.close("BusinessUnit");
            self.xml.leaf("WorkstationID TypeCode=\"POS\"", &receipt.till);
        } else {
            self.xml.leaf("RetailStoreID", &receipt.store);
            self.xml.leaf("WorkstationID", &receipt.till);
        }
        self.xml.leaf("SequenceNumber", &receipt.receipt);
        if self.vendor.names_business_unit() {
            let local = local_time(receipt.ended_at, self.zone);
            self.xml.leaf("POSLogDateTime", format!("{local}.000"));
            self.xml.leaf("ReceiptNumber", &receipt.receipt);
        }
        self.xml.leaf("OperatorID", 91);
    }

    fn times(&mut self, receipt: &Receipt) {
        let ended = match self.vendor {
            Vendor::Roqqio => receipt.ended_at.utc().format("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
            Vendor::Visma | Vendor::Gk => {
                let local = receipt.ended_at.utc().with_timezone(&self.zone);
                local.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
            Vendor::WnTpnet | Vendor::V6 => local_time(receipt.ended_at, self.zone),
        };
        self.xml.leaf("BusinessDayDate", receipt.business_day);
        self.xml.leaf("BeginDateTime", &ended);
        self.xml.leaf("EndDateTime", &ended);
    }

    fn control(&mut self) {
        self.xml.open("ControlTransaction");
        self.xml.open("OperatorSignOff");
        self.xml.close("OperatorSignOff");
        self.xml.close("ControlTransaction");
    }

    fn cash(&mut self, receipt: &Receipt) {
        let vendor = self.vendor;
        cash_moved(self.xml, &receipt.cash_moves, |cents| {
            (vendor.currency(cents), vendor.amount(cents))
        });
    }

    /// A receipt that takes back another one repeats its lines and tenders; only totals are turned.
    fn retail(&mut self, receipt: &Receipt, status: &str) {
        self.xml.open(&format!("RetailTransaction TransactionStatus=\"{status}\""));
        let is_void = is_receipt_void(receipt);
        let told = if is_void { &turned(receipt) } else { receipt };
        for (line, fate) in told.lines.iter().zip(fates(&told.lines)) {
            self.line(line, fate);
        }
        let mut position = told.lines.last().map_or(0, |line| line.position);
        for adjustment in &told.adjustments {
            position += 1;
            self.discount(adjustment, position);
        }
        for payment in &told.payments {
            position += 1;
            self.tender(payment, position);
        }
        let tax: Cents = receipt.vat.iter().map(|vat| vat.tax_cents).sum();
        let net = Cents(receipt.total_cents.0 - tax.0);
        for (name, cents) in [
            ("TransactionGrandAmount", receipt.total_cents),
            ("TransactionNetAmount", net),
            ("TransactionTaxAmount", tax),
        ] {
            let text = self.vendor.amount(cents);
            self.xml.leaf(&format!("Total TotalType=\"{name}\""), text);
        }
        if let Some(other) = receipt.refers_to.as_ref().filter(|_| is_void) {
            taken_back(self.xml, other, receipt.business_day);
        }
        self.xml.close("RetailTransaction");
    }

    fn line(&mut self, line: &Line, fate: Fate) {
        let flags = match (self.vendor.voids(), fate) {
            (Voids::LeftOut, Fate::TakenBack | Fate::TakesBack { .. })
            | (Voids::Flagged, Fate::TakesBack { .. }) => return,
            (Voids::Flagged, Fate::TakenBack) => " CancelFlag=\"true\" VoidFlag=\"false\"",
            (Voids::Flagged, Fate::Stands) => " CancelFlag=\"false\" VoidFlag=\"false\"",
            (Voids::FurtherLine, Fate::TakesBack { at_once: true })
                if self.vendor == Vendor::WnTpnet =>
            {
                " VoidFlag=\"true\" CancelFlag=\"true\""
            }
            (Voids::FurtherLine, Fate::TakesBack { .. }) => " VoidFlag=\"true\"",
            (Voids::FurtherLine | Voids::LeftOut, Fate::Stands)
            | (Voids::FurtherLine, Fate::TakenBack) => "",
        };
        let weighed = match (self.vendor, &line.unit) {
            (Vendor::WnTpnet, Unit::Kilograms) => " WN:WeightFlag=\"true\"",
            (_, _) => "",
        };
        // TP.net repeats for its statistics what was taken back before it reached the receipt.
        let twin = self.vendor == Vendor::WnTpnet && fate == Fate::TakesBack { at_once: true };
        for statistic in ["", " WN:StatisticFlag=\"true\""].iter().take(1 + usize::from(twin)) {
            self.xml.open(&format!("LineItem EntryMethod=\"Scanned\"{flags}{weighed}{statistic}"));
            self.numbered(line);
        }
    }

    fn numbered(&mut self, line: &Line) {
        if self.vendor != Vendor::Roqqio {
            self.xml.leaf("SequenceNumber", line.position);
        }
        self.item(line);
        if self.vendor == Vendor::Roqqio {
            self.xml.leaf("SequenceNumber", line.position);
        }
        self.xml.close("LineItem");
    }

    fn item(&mut self, line: &Line) {
        let vendor = self.vendor;
        let (element, item_type) = words(vendor, &line.kind);
        self.xml.open(&format!("{element} ItemType=\"{item_type}\""));
        match vendor {
            Vendor::WnTpnet | Vendor::Gk => {
                self.xml.open("POSIdentity POSIDType=\"EAN\"");
                self.xml.leaf("POSItemID", ean13(line.article.as_str()));
                self.xml.close("POSIdentity");
            }
            Vendor::Roqqio | Vendor::Visma | Vendor::V6 => {}
        }
        self.xml.leaf("ItemID", ean13(line.article.as_str()));
        self.xml.leaf("Description", format!("Artikel <{}> & mehr", line.unit));
        for (name, cents) in [
            ("ExtendedAmount", line.amount_cents.abs()),
            ("ExtendedDiscountAmount", line.discount_cents.abs()),
        ] {
            let element = format!("{name}{}", vendor.currency(cents));
            self.xml.leaf(&element, vendor.amount(cents));
        }
        self.quantity(line);
        if let (Some(key), Some(bp)) = (&line.vat_key, line.vat_bp) {
            self.xml.open("Tax");
            self.xml.leaf("TaxGroupID", key);
            self.xml.leaf("Percent", Cents(i64::from(bp)));
            self.xml.close("Tax");
        }
        if vendor == Vendor::Roqqio {
            let back = line.quantity_milli < Milli::ZERO;
            self.xml.leaf("fu:SalesMode", if back { "RETOUR" } else { "MODE_NORMAL" });
            self.xml.leaf("fu:LineType", "ITEM_SALE");
        }
        self.xml.close(element);
    }

    fn quantity(&mut self, line: &Line) {
        let quantity = match self.vendor {
            Vendor::Roqqio => line.quantity_milli,
            Vendor::WnTpnet | Vendor::Visma | Vendor::Gk | Vendor::V6 => line.quantity_milli.abs(),
        };
        let unit = match (self.vendor, &line.unit) {
            // TP.net writes its own name of the unit.
            (Vendor::WnTpnet, Unit::Pieces) => "ST",
            (Vendor::WnTpnet, Unit::Kilograms) => "KG",
            (_, Unit::Pieces) => "EA",
            (_, Unit::Kilograms) => "KGM",
            (_, Unit::Litres) => "LTR",
            (_, Unit::Metres) => "MTR",
            (_, Unit::Unknown(word)) => word.as_str(),
        };
        let units = match self.vendor {
            Vendor::Visma => "Units=\"0.00\" ",
            Vendor::WnTpnet | Vendor::Roqqio | Vendor::Gk | Vendor::V6 => "",
        };
        self.xml.leaf(&format!("Quantity {units}UnitOfMeasureCode=\"{unit}\""), quantity);
    }

    fn discount(&mut self, adjustment: &Adjustment, position: u32) {
        let cents = adjustment.cents.abs();
        self.xml.open("LineItem");
        self.xml.leaf("SequenceNumber", position);
        self.xml.open(&format!("Discount TypeCode=\"{}\"", adjustment.kind));
        if let Some(key) = &adjustment.vat_key {
            self.xml.leaf("TaxGroupID", key);
        }
        let element = format!("Amount{}", self.vendor.currency(cents));
        self.xml.leaf(&element, self.vendor.amount(cents));
        self.xml.close("Discount");
        self.xml.close("LineItem");
    }

    /// Money that goes back is change where something was given, and a refund where nothing was.
    fn tender(&mut self, payment: &Payment, position: u32) {
        let cents = payment.cents.abs();
        let amount = format!("Amount{}", self.vendor.currency(cents));
        let text = self.vendor.amount(cents);
        let kind = tender_type(&payment.kind);
        self.xml.open("LineItem");
        self.xml.leaf("SequenceNumber", position);
        if payment.cents >= Cents::ZERO {
            self.xml.open(&format!("Tender TenderType=\"{kind}\" TypeCode=\"Sale\""));
            self.xml.leaf(&amount, text);
            self.xml.close("Tender");
        } else if self.vendor == Vendor::Roqqio {
            self.xml.open("TenderChange TypeCode=\"Refund\"");
            self.xml.open(&format!("TenderChange TenderType=\"{kind}\""));
            self.xml.leaf(&amount, text);
            self.xml.close("TenderChange");
            self.xml.close("TenderChange");
        } else {
            self.xml.open(&format!("Tender TenderType=\"{kind}\" TypeCode=\"Refund\""));
            self.xml.leaf(&amount, text);
            self.xml.close("Tender");
        }
        self.xml.close("LineItem");
    }
}

/// Where a vendor writes returned goods and empties as an element of their own, and where not.
fn words(vendor: Vendor, kind: &LineKind) -> (&'static str, &'static str) {
    let back = match vendor {
        Vendor::Roqqio => "Sale",
        Vendor::WnTpnet | Vendor::Visma | Vendor::Gk | Vendor::V6 => "Return",
    };
    match kind {
        LineKind::Return => (back, "Stock"),
        LineKind::Deposit => ("Sale", "Deposit"),
        LineKind::DepositRefund => (back, "DepositRefund"),
        LineKind::Sale
        | LineKind::VoucherSale
        | LineKind::Tip
        | LineKind::Donation
        | LineKind::Fee
        | LineKind::Prepayment
        | LineKind::Receivable
        | LineKind::Other
        | LineKind::Unknown(_) => ("Sale", "Stock"),
    }
}

fn tender_type(kind: &PaymentKind) -> &'static str {
    match kind {
        PaymentKind::Cash | PaymentKind::Change | PaymentKind::Cashback => "Cash",
        PaymentKind::Girocard => "DebitCard",
        PaymentKind::Credit => "CreditCard",
        PaymentKind::GiftCard => "GiftCard",
        PaymentKind::Voucher | PaymentKind::DepositVoucher => "Voucher",
        PaymentKind::Points => "LoyaltyPoints",
        PaymentKind::OnAccount => "AccountsReceivable",
        PaymentKind::Mobile
        | PaymentKind::Prepayment
        | PaymentKind::Other
        | PaymentKind::Unknown(_) => "Other",
    }
}

/// A till scans 13 digits; the canonical form has 14.
fn ean13(article: &str) -> &str {
    match article.strip_prefix('0') {
        Some(short) if article.len() == 14 => short,
        Some(_) | None => article,
    }
}
