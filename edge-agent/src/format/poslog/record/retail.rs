//! A sale as it stands in the file: lines, discounts, tenders, totals. Texts, not yet judged.

use std::collections::BTreeMap;

use super::{
    LINES_MAX, Link, Read, RecordError, flag, keep_link, link, money, once, without_prefix,
};
use crate::format::poslog::xml::{Element, Xml};

/// A sale.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Retail {
    pub(in crate::format::poslog) status: Option<String>,
    pub(in crate::format::poslog) training: bool,
    pub(in crate::format::poslog) items: Vec<Item>,
    pub(in crate::format::poslog) discounts: Vec<Discount>,
    pub(in crate::format::poslog) tenders: Vec<Tender>,
    pub(in crate::format::poslog) rewards: Vec<Reward>,
    pub(in crate::format::poslog) roundings: Vec<Rounding>,
    pub(in crate::format::poslog) taxes: Vec<VatTotal>,
    /// Amounts by `TotalType` without prefix.
    pub(in crate::format::poslog) totals: BTreeMap<String, String>,
    pub(in crate::format::poslog) link: Option<Link>,
    /// The number on the customer's loyalty card.
    pub(in crate::format::poslog) loyalty: Option<String>,
    /// A flag of some line that not every dialect explains.
    pub(in crate::format::poslog) odd_flag: Option<&'static str>,
}

/// The flags of a line.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::format::poslog) struct LineFlags {
    pub(in crate::format::poslog) void: bool,
    pub(in crate::format::poslog) cancel: bool,
    pub(in crate::format::poslog) delete: bool,
    pub(in crate::format::poslog) statistic: bool,
}

/// A line with goods.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Item {
    pub(in crate::format::poslog) position: Option<String>,
    pub(in crate::format::poslog) void: bool,
    pub(in crate::format::poslog) flags: LineFlags,
    pub(in crate::format::poslog) weighed: bool,
    /// The element is `Return`, not `Sale`.
    pub(in crate::format::poslog) returned: bool,
    pub(in crate::format::poslog) item_type: Option<String>,
    pub(in crate::format::poslog) id: Option<String>,
    /// The number that was scanned or keyed, and of what type it is.
    pub(in crate::format::poslog) scanned: Vec<(Option<String>, String)>,
    pub(in crate::format::poslog) amount: Option<String>,
    pub(in crate::format::poslog) discount: Option<String>,
    pub(in crate::format::poslog) quantity: Option<String>,
    pub(in crate::format::poslog) unit: Option<String>,
    pub(in crate::format::poslog) vat_key: Option<String>,
    pub(in crate::format::poslog) vat_percent: Option<String>,
    pub(in crate::format::poslog) modifiers: Vec<Modifier>,
    /// `fu:SalesMode` and `fu:LineType`.
    pub(in crate::format::poslog) mode: Option<String>,
    pub(in crate::format::poslog) line_type: Option<String>,
    /// It holds an element of a voucher that is sold.
    pub(in crate::format::poslog) voucher: bool,
    /// What becomes of returned goods.
    pub(in crate::format::poslog) disposal: Option<String>,
}

/// A discount of one line.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Modifier {
    pub(in crate::format::poslog) method: Option<String>,
    pub(in crate::format::poslog) action: Option<String>,
    pub(in crate::format::poslog) amount: Option<String>,
    pub(in crate::format::poslog) promotion: Option<String>,
}

/// A discount on the whole receipt.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Discount {
    pub(in crate::format::poslog) void: bool,
    pub(in crate::format::poslog) flags: LineFlags,
    pub(in crate::format::poslog) kind: Option<String>,
    pub(in crate::format::poslog) promotion: Option<String>,
    pub(in crate::format::poslog) vat_key: Option<String>,
    pub(in crate::format::poslog) amount: Option<String>,
}

/// A means of payment.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Tender {
    pub(in crate::format::poslog) void: bool,
    pub(in crate::format::poslog) flags: LineFlags,
    pub(in crate::format::poslog) change: Change,
    pub(in crate::format::poslog) kind: Option<String>,
    pub(in crate::format::poslog) code: Option<String>,
    pub(in crate::format::poslog) card: Option<String>,
    pub(in crate::format::poslog) amount: Option<String>,
}

/// Whether a tender gives money back on top of a payment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::format::poslog) enum Change {
    /// It is a payment, or the refund of one.
    #[default]
    No,
    /// The element is `TenderChange`.
    Yes,
}

/// A rounding of the whole receipt.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Rounding {
    pub(in crate::format::poslog) flags: LineFlags,
    pub(in crate::format::poslog) direction: Option<String>,
    pub(in crate::format::poslog) amount: Option<String>,
}

/// VAT of one key as the till computed it.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct VatTotal {
    pub(in crate::format::poslog) flags: LineFlags,
    pub(in crate::format::poslog) key: Option<String>,
    pub(in crate::format::poslog) percent: Option<String>,
    pub(in crate::format::poslog) taxable: Option<String>,
    pub(in crate::format::poslog) taxable_holds_tax: bool,
    pub(in crate::format::poslog) amount: Option<String>,
}

/// What a loyalty programme gave.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Reward {
    pub(in crate::format::poslog) promotion: Option<String>,
    pub(in crate::format::poslog) category: Option<String>,
    pub(in crate::format::poslog) summarized: bool,
    pub(in crate::format::poslog) amount: Option<String>,
}

pub(super) fn retail(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Retail> {
    let (status, training) =
        (element.attribute("TransactionStatus")?, flag(element, "TrainingModeFlag")?);
    let mut found = Retail { status, training, ..Retail::default() };
    let mut lines = 0;
    while let Some(child) = xml.child()? {
        match child.name() {
            "LineItem" => {
                lines += 1;
                if lines > LINES_MAX {
                    return Err(RecordError::TooManyLines);
                }
                line(xml, &child, &mut found)?;
            }
            "Total" => total(xml, &child, &mut found.totals)?,
            // The whole receipt's link goes before those of its lines.
            "TransactionLink" => found.link = Some(link(xml, &child)?),
            "LoyaltyAccount" => loyalty(xml, &mut found.loyalty)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn total(
    xml: &mut Xml<'_>,
    element: &Element<'_>,
    totals: &mut BTreeMap<String, String>,
) -> Read<()> {
    let kind = without_prefix(element.attribute("TotalType")?.unwrap_or_default());
    let amount = xml.text()?;
    // One of Visma's stands once per VAT rate; the rate is in attributes that are not read.
    if kind == "TransactionVatRateAmount" {
        return Ok(());
    }
    match totals.insert(kind, amount) {
        Some(_) => Err(RecordError::Twice("a TotalType")),
        None => Ok(()),
    }
}

fn loyalty(xml: &mut Xml<'_>, number: &mut Option<String>) -> Read<()> {
    while let Some(child) = xml.child()? {
        match child.name() {
            "LoyaltyID" => *number = Some(xml.text()?),
            "LoyaltyCard" => loyalty_card(xml, number)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn loyalty_card(xml: &mut Xml<'_>, number: &mut Option<String>) -> Read<()> {
    while let Some(child) = xml.child()? {
        match child.name() {
            "PrimaryAccountNumber" if number.is_none() => *number = Some(xml.text()?),
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn line(xml: &mut Xml<'_>, element: &Element<'_>, retail: &mut Retail) -> Read<()> {
    let flags = line_flags(element, retail)?;
    let (void, weighed) = (flags.void, flag(element, "weightItem")?);
    let mut position = None;
    let first_item = retail.items.len();
    while let Some(child) = xml.child()? {
        match child.name() {
            "SequenceNumber" => once("SequenceNumber", &mut position, xml)?,
            "Sale" | "Return" => {
                let mut read = item(xml, &child, &mut retail.link)?;
                (read.void, read.flags) = (void, flags);
                read.weighed |= weighed;
                retail.items.push(read);
            }
            "Discount" => {
                let read = discount(xml, &child)?;
                retail.discounts.push(Discount { void, flags, ..read });
            }
            "Tender" => {
                let read = tender(xml, &child)?;
                retail.tenders.push(Tender { void, flags, ..read });
            }
            "TenderChange" => {
                let read = tender_change(xml, &child)?;
                retail.tenders.push(Tender { void, flags, ..read });
            }
            "Rounding" => {
                let direction = child.attribute("RoundingDirection")?;
                let mut read = Rounding { flags, direction, amount: None };
                money("Rounding", &mut read.amount, xml, &child)?;
                retail.roundings.push(read);
            }
            "Tax" => retail.taxes.push(VatTotal { flags, ..vat_total(xml)? }),
            "LoyaltyReward" => retail.rewards.push(reward(xml, &child)?),
            _ => xml.skip()?,
        }
    }
    for item in &mut retail.items[first_item..] {
        item.position.clone_from(&position);
    }
    Ok(())
}

fn line_flags(element: &Element<'_>, retail: &mut Retail) -> Read<LineFlags> {
    let flags = LineFlags {
        void: flag(element, "VoidFlag")?,
        cancel: flag(element, "CancelFlag")?,
        delete: flag(element, "DeleteFlag")?,
        statistic: flag(element, "StatisticFlag")?,
    };
    for (name, set) in [
        ("CancelFlag", flags.cancel),
        ("DeleteFlag", flags.delete),
        ("StatisticFlag", flags.statistic),
    ] {
        if set {
            retail.odd_flag.get_or_insert(name);
        }
    }
    Ok(flags)
}

fn item(xml: &mut Xml<'_>, element: &Element<'_>, links: &mut Option<Link>) -> Read<Item> {
    let item_type = element.attribute("ItemType")?.map(without_prefix);
    let weighed = flag(element, "WeightFlag")?;
    let returned = element.name() == "Return";
    let mut found = Item { returned, item_type, weighed, ..Item::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "ItemID" => once("ItemID", &mut found.id, xml)?,
            "POSIdentity" => identity(xml, &child, &mut found.scanned)?,
            "ExtendedAmount" => money("ExtendedAmount", &mut found.amount, xml, &child)?,
            "ExtendedDiscountAmount" => {
                money("ExtendedDiscountAmount", &mut found.discount, xml, &child)?;
            }
            "Quantity" => {
                found.unit = child.attribute("UnitOfMeasureCode")?;
                once("Quantity", &mut found.quantity, xml)?;
            }
            "RetailPriceModifier" => found.modifiers.push(modifier(xml, &child)?),
            "Tax" => tax(xml, &mut found)?,
            "TransactionLink" => keep_link(links, link(xml, &child)?),
            "SalesMode" => once("SalesMode", &mut found.mode, xml)?,
            "LineType" => once("LineType", &mut found.line_type, xml)?,
            "GiftCertificate" | "GiftCard" | "StoredValueFund" => {
                found.voucher = true;
                xml.skip()?;
            }
            "Disposal" => {
                found.disposal = child.attribute("Method")?;
                xml.skip()?;
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn identity(
    xml: &mut Xml<'_>,
    element: &Element<'_>,
    scanned: &mut Vec<(Option<String>, String)>,
) -> Read<()> {
    let kind = element.attribute("POSIDType")?;
    while let Some(child) = xml.child()? {
        match child.name() {
            "POSItemID" => scanned.push((kind.clone(), xml.text()?)),
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn modifier(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Modifier> {
    let mut found = Modifier { method: element.attribute("MethodCode")?, ..Modifier::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "Amount" => {
                found.action = child.attribute("Action")?;
                money("Amount of a RetailPriceModifier", &mut found.amount, xml, &child)?;
            }
            "PromotionID" => once("PromotionID", &mut found.promotion, xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn tax(xml: &mut Xml<'_>, item: &mut Item) -> Read<()> {
    while let Some(child) = xml.child()? {
        match child.name() {
            "TaxGroupID" => once("TaxGroupID", &mut item.vat_key, xml)?,
            "Percent" => once("Percent", &mut item.vat_percent, xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn vat_total(xml: &mut Xml<'_>) -> Read<VatTotal> {
    let mut found = VatTotal::default();
    while let Some(child) = xml.child()? {
        match child.name() {
            "TaxGroupID" => once("TaxGroupID", &mut found.key, xml)?,
            "Percent" => once("Percent", &mut found.percent, xml)?,
            "TaxableAmount" => {
                found.taxable_holds_tax = flag(&child, "TaxIncludedInTaxableAmountFlag")?;
                money("TaxableAmount", &mut found.taxable, xml, &child)?;
            }
            "Amount" => money("Amount of a tax", &mut found.amount, xml, &child)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn discount(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Discount> {
    let mut found = Discount { kind: element.attribute("TypeCode")?, ..Discount::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "TaxGroupID" => once("TaxGroupID", &mut found.vat_key, xml)?,
            "PromotionID" => once("PromotionID", &mut found.promotion, xml)?,
            "Amount" => money("Amount", &mut found.amount, xml, &child)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn tender(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Tender> {
    let (kind, code) = (element.attribute("TenderType")?, element.attribute("TypeCode")?);
    let mut found = Tender { kind, code, ..Tender::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "Amount" => money("Amount", &mut found.amount, xml, &child)?,
            "CreditDebit" => {
                found.card = child.attribute("CardType")?;
                xml.skip()?;
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

/// Reads change, which some vendors wrap in an element of the same name.
fn tender_change(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Tender> {
    let (change, kind) = (Change::Yes, element.attribute("TenderType")?);
    let mut found = Tender { change, kind, ..Tender::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "Amount" => money("Amount", &mut found.amount, xml, &child)?,
            "TenderChange" => {
                let inner = tender(xml, &child)?;
                if found.amount.is_some() && inner.amount.is_some() {
                    return Err(RecordError::Twice("Amount"));
                }
                found.amount = found.amount.or(inner.amount);
                found.kind = found.kind.or(inner.kind);
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn reward(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Reward> {
    let summarized = flag(element, "summarizedActivity")?;
    let mut found = Reward { summarized, ..Reward::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "PromotionID" => once("PromotionID", &mut found.promotion, xml)?,
            "RewardCategory" => once("RewardCategory", &mut found.category, xml)?,
            "ExtendedRewardAmount" => once("ExtendedRewardAmount", &mut found.amount, xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}
