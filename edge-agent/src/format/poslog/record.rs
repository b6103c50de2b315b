//! A `Transaction` as it stands in the file: texts, not yet judged. This is the list of what may be
//! read at all. Operator, customer, loyalty number, card and signature are not on it, so they cannot
//! leave the decoder.

use std::collections::BTreeMap;

use super::xml::{Element, Xml, XmlError};

/// Why a unit is no transaction that can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the Transaction is not readable")]
    Xml(#[from] XmlError),
    #[error("{0} stands twice in one element")]
    Twice(&'static str),
    #[error("the flag {0} is neither true nor false")]
    Flag(&'static str),
    #[error("a line has the flag {0}, whose meaning this dialect does not tell")]
    UnknownFlag(&'static str),
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) training: bool,
    pub(super) store: Option<String>,
    pub(super) till: Option<String>,
    pub(super) number: Option<String>,
    pub(super) business_day: Option<String>,
    pub(super) ended: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) body: Body,
}

/// What kind of transaction it is.
#[derive(Debug, Default)]
pub(super) enum Body {
    /// It says nothing.
    #[default]
    Nothing,
    /// A sale.
    Retail(Retail),
    /// A report, a sign-on, a drawer opened.
    Control { no_sale: bool },
    /// Cash put in or taken out.
    Cash,
    /// Something else, by its name.
    Other(String),
}

/// A sale.
#[derive(Debug, Default)]
pub(super) struct Retail {
    pub(super) status: Option<String>,
    pub(super) items: Vec<Item>,
    pub(super) discounts: Vec<Discount>,
    pub(super) tenders: Vec<Tender>,
    pub(super) rewards: Vec<Reward>,
    /// Amounts by `TotalType` without prefix.
    pub(super) totals: BTreeMap<String, String>,
}

/// A line with goods.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) position: Option<String>,
    pub(super) void: bool,
    pub(super) weighed: bool,
    /// The element is `Return`, not `Sale`.
    pub(super) returned: bool,
    pub(super) item_type: Option<String>,
    pub(super) id: Option<String>,
    pub(super) amount: Option<String>,
    pub(super) discount: Option<String>,
    pub(super) quantity: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) vat_key: Option<String>,
    pub(super) vat_percent: Option<String>,
}

/// A discount on the whole receipt.
#[derive(Debug, Default)]
pub(super) struct Discount {
    pub(super) void: bool,
    pub(super) kind: Option<String>,
    pub(super) vat_key: Option<String>,
    pub(super) amount: Option<String>,
}

/// A means of payment.
#[derive(Debug, Default)]
pub(super) struct Tender {
    pub(super) void: bool,
    pub(super) kind: Option<String>,
    pub(super) code: Option<String>,
    pub(super) amount: Option<String>,
}

/// What a loyalty programme gave.
#[derive(Debug, Default)]
pub(super) struct Reward {
    pub(super) promotion: Option<String>,
    pub(super) category: Option<String>,
    pub(super) summarized: bool,
    pub(super) amount: Option<String>,
}

type Read<T> = Result<T, RecordError>;

/// Reads the one transaction of a unit.
pub(super) fn read(text: &str) -> Read<Transaction> {
    let mut xml = Xml::new(text);
    match xml.child()? {
        Some(element) => transaction(&mut xml, &element),
        None => Err(RecordError::Xml(XmlError::Unfinished)),
    }
}

fn transaction(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Transaction> {
    let training = flag(element, "TrainingModeFlag")?;
    let mut found = Transaction { training, ..Transaction::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "RetailStoreID" => once("RetailStoreID", &mut found.store, xml)?,
            "WorkstationID" => once("WorkstationID", &mut found.till, xml)?,
            "SequenceNumber" => once("SequenceNumber", &mut found.number, xml)?,
            "BusinessDayDate" => once("BusinessDayDate", &mut found.business_day, xml)?,
            "EndDateTime" => once("EndDateTime", &mut found.ended, xml)?,
            "CurrencyCode" => once("CurrencyCode", &mut found.currency, xml)?,
            name if name.ends_with("Transaction") => {
                if !matches!(found.body, Body::Nothing) {
                    return Err(RecordError::Twice("the transaction's kind"));
                }
                found.body = body(xml, &child)?;
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn body(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Body> {
    match element.name() {
        "RetailTransaction" => retail(xml, element).map(Body::Retail),
        "ControlTransaction" => control(xml),
        "TenderControlTransaction" => {
            xml.skip()?;
            Ok(Body::Cash)
        }
        other => {
            let name = other.to_owned();
            xml.skip()?;
            Ok(Body::Other(name))
        }
    }
}

fn control(xml: &mut Xml<'_>) -> Read<Body> {
    let mut no_sale = false;
    while let Some(child) = xml.child()? {
        match child.name() {
            "NoSale" => {
                no_sale = true;
                xml.skip()?;
            }
            "ReasonCode" => no_sale |= matches!(xml.text()?.as_str(), "NoSale" | "no_sale"),
            _ => xml.skip()?,
        }
    }
    Ok(Body::Control { no_sale })
}

fn retail(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Retail> {
    let mut found = Retail { status: element.attribute("TransactionStatus")?, ..Retail::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "LineItem" => line(xml, &child, &mut found)?,
            "Total" => total(xml, &child, &mut found.totals)?,
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
    let kind = element.attribute("TotalType")?.unwrap_or_default();
    let amount = xml.text()?;
    match totals.insert(without_prefix(kind), amount) {
        Some(_) => Err(RecordError::Twice("a TotalType")),
        None => Ok(()),
    }
}

fn line(xml: &mut Xml<'_>, element: &Element<'_>, retail: &mut Retail) -> Read<()> {
    for name in ["CancelFlag", "DeleteFlag"] {
        if flag(element, name)? {
            return Err(RecordError::UnknownFlag(name));
        }
    }
    let void = flag(element, "VoidFlag")?;
    let weighed = flag(element, "weightItem")?;
    let mut position = None;
    let first_item = retail.items.len();
    while let Some(child) = xml.child()? {
        match child.name() {
            "SequenceNumber" => once("SequenceNumber", &mut position, xml)?,
            "Sale" | "Return" => {
                let mut read = item(xml, &child)?;
                (read.void, read.weighed) = (void, weighed);
                retail.items.push(read);
            }
            "Discount" => {
                let read = discount(xml, &child)?;
                retail.discounts.push(Discount { void, ..read });
            }
            "Tender" => {
                let read = tender(xml, &child)?;
                retail.tenders.push(Tender { void, ..read });
            }
            "LoyaltyReward" => retail.rewards.push(reward(xml, &child)?),
            _ => xml.skip()?,
        }
    }
    for item in &mut retail.items[first_item..] {
        item.position.clone_from(&position);
    }
    Ok(())
}

fn item(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Item> {
    let item_type = element.attribute("ItemType")?.map(without_prefix);
    let mut found = Item { returned: element.name() == "Return", item_type, ..Item::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "ItemID" => once("ItemID", &mut found.id, xml)?,
            "ExtendedAmount" => once("ExtendedAmount", &mut found.amount, xml)?,
            "ExtendedDiscountAmount" => {
                once("ExtendedDiscountAmount", &mut found.discount, xml)?;
            }
            "Quantity" => {
                found.unit = child.attribute("UnitOfMeasureCode")?;
                once("Quantity", &mut found.quantity, xml)?;
            }
            "Tax" => tax(xml, &mut found)?,
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

fn discount(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Discount> {
    let mut found = Discount { kind: element.attribute("TypeCode")?, ..Discount::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "TaxGroupID" => once("TaxGroupID", &mut found.vat_key, xml)?,
            "Amount" => once("Amount", &mut found.amount, xml)?,
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
            "Amount" => once("Amount", &mut found.amount, xml)?,
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

fn once(name: &'static str, field: &mut Option<String>, xml: &mut Xml<'_>) -> Read<()> {
    match field.replace(xml.text()?) {
        Some(_) => Err(RecordError::Twice(name)),
        None => Ok(()),
    }
}

fn flag(element: &Element<'_>, name: &'static str) -> Read<bool> {
    match element.attribute(name)?.as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(RecordError::Flag(name)),
    }
}

/// Takes the prefix off a name that stands as a value, as in `TotalType="acs:GrossPositive"`.
fn without_prefix(name: String) -> String {
    name.rsplit_once(':').map_or(name.clone(), |(_, local)| local.to_owned())
}
