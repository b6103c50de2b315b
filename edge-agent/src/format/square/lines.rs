//! The positions of an order. A line's total holds the tax that is added on top and its part of
//! service charges; both stand by themselves on a receipt and are taken out of it.

use shared::ids::Article;
use shared::money::{Cents, Milli};
use shared::receipt::{Line, Reduction};
use shared::words::{AdjustmentKind, LineKind, Unit};

use super::wire::{AppliedTax, LineItem, MeasurementUnit, Money, Order, ServiceCharge, Tax};
use super::{OrderError, VENDOR, label};
use crate::format::article::{self, Articles};

const ADDITIVE: &str = "ADDITIVE";

/// Whether goods leave or come back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Sold,
    Back,
}

impl Way {
    fn signed(self, cents: Cents) -> Cents {
        match self {
            Self::Sold => cents,
            Self::Back => Cents(-cents.0),
        }
    }
}

/// Returns the lines of an order: goods, services and tips, those that come back negative.
pub(super) fn of(order: &Order, articles: &Articles) -> Result<Vec<Line>, OrderError> {
    let mut lines = Vec::new();
    for item in &order.line_items {
        add(&mut lines, goods(item, (order, &order.taxes), Way::Sold, articles));
    }
    for charge in &order.service_charges {
        add(&mut lines, service(charge, &order.taxes, Way::Sold, articles));
    }
    let tip = order.total_tip_money.as_ref().map_or(Cents::ZERO, Money::cents);
    add(&mut lines, plain(LineKind::Tip, "tip", tip, articles));
    for back in &order.returns {
        for item in &back.return_line_items {
            add(&mut lines, goods(item, (order, &back.return_taxes), Way::Back, articles));
        }
        for charge in &back.return_service_charges {
            add(&mut lines, service(charge, &back.return_taxes, Way::Back, articles));
        }
        for tip in back.return_tips.iter().filter_map(|tip| tip.applied_money.as_ref()) {
            add(&mut lines, plain(LineKind::Tip, "tip", Way::Back.signed(tip.cents()), articles));
        }
    }
    let nothing = |line: &Line| line.kind == LineKind::Tip && line.amount_cents == Cents::ZERO;
    let mut lines: Vec<Line> = lines.into_iter().collect::<Result<_, _>>()?;
    lines.retain(|line| !nothing(line));
    for (at, line) in lines.iter_mut().enumerate() {
        line.position = u32::try_from(at + 1).map_err(|_| OrderError::TooLarge)?;
    }
    Ok(lines)
}

type Added = Vec<Result<Line, OrderError>>;

/// Adds a line; a fault names it by its place among all.
fn add(lines: &mut Added, line: Result<Line, OrderError>) {
    let place = lines.len() + 1;
    lines.push(line.map_err(|fault| match fault {
        OrderError::Quantity(_, source) => OrderError::Quantity(place, source),
        OrderError::Line { gross, discount, amount, .. } => {
            OrderError::Line { at: place, gross, discount, amount }
        }
        other @ (OrderError::Json(_)
        | OrderError::Missing(_)
        | OrderError::Id(..)
        | OrderError::Store(_)
        | OrderError::Time(_)
        | OrderError::Currencies(..)
        | OrderError::TooLarge
        | OrderError::Settle(_)) => other,
    }));
}

/// Returns the tax on top of the prices.
pub(super) fn tax_added(order: &Order) -> Result<Cents, OrderError> {
    let additive = |tax: &&Tax| tax.kind.as_deref() == Some(ADDITIVE);
    let money = |tax: &Tax| tax.applied_money.as_ref().map_or(Cents::ZERO, Money::cents);
    let sold = order.taxes.iter().filter(additive).map(money);
    let back = order.returns.iter().flat_map(|back| &back.return_taxes).filter(additive);
    let back = back.map(|tax| Cents(-money(tax).0));
    Cents::checked_sum(sold.chain(back)).ok_or(OrderError::TooLarge)
}

fn goods(
    item: &LineItem,
    (order, taxes): (&Order, &[Tax]),
    way: Way,
    articles: &Articles,
) -> Result<Line, OrderError> {
    let total = item.total_money.as_ref().ok_or(OrderError::Missing("line's total_money"))?;
    let service = item.total_service_charge_money.as_ref().map_or(Cents::ZERO, Money::cents);
    let on_top = applied(&item.applied_taxes, taxes, Kind::Additive)?;
    let amount = less(less(total.cents(), on_top)?, service)?;
    let discount = item.total_discount_money.as_ref().map_or(Cents::ZERO, Money::cents);
    if let Some(gross) = item.gross_sales_money.as_ref().map(Money::cents) {
        // Where tax is inside the prices, some countries' gross amount holds it and some do not.
        let inside = applied(&item.applied_taxes, taxes, Kind::Inclusive)?;
        let made = less(gross, discount)?;
        if made != amount && made.checked_add(inside) != Some(amount) {
            return Err(OrderError::Line { at: 0, gross, discount, amount });
        }
    }
    let kind = match (item.item_type.as_deref(), way) {
        (Some("GIFT_CARD"), _) => LineKind::VoucherSale,
        (_, Way::Sold) => LineKind::Sale,
        (_, Way::Back) => LineKind::Return,
    };
    let (unit, milli) = quantity(item)?;
    let (article, text) = named(item, articles)?;
    let mut line = plain(kind, "-", way.signed(amount), articles)?;
    line.article = article;
    line.text = text;
    line.unit = unit;
    line.quantity_milli = if way == Way::Back { Milli(-milli.0) } else { milli };
    line.discount_cents = way.signed(discount);
    line.reductions = reductions(item, order, way);
    Ok(line)
}

fn service(
    charge: &ServiceCharge,
    taxes: &[Tax],
    way: Way,
    articles: &Articles,
) -> Result<Line, OrderError> {
    let total = charge.total_money.as_ref().ok_or(OrderError::Missing("charge's total_money"))?;
    let amount = less(total.cents(), applied(&charge.applied_taxes, taxes, Kind::Additive)?)?;
    let name = charge.name.as_deref().filter(|name| !name.trim().is_empty());
    plain(LineKind::Fee, name.unwrap_or("service charge"), way.signed(amount), articles)
}

/// Returns a line of one piece that is known by its text.
fn plain(
    kind: LineKind,
    text: &str,
    cents: Cents,
    articles: &Articles,
) -> Result<Line, OrderError> {
    let sign = if cents.0 < 0 { -1 } else { 1 };
    Ok(Line {
        position: 0,
        article: articles.text(text).map_err(|fault| OrderError::Id("article", fault))?,
        text: label(text),
        kind,
        void: false,
        unit: Unit::Pieces,
        quantity_milli: Milli(1000 * sign),
        amount_cents: cents,
        discount_cents: Cents::ZERO,
        adjustment_share_cents: Cents::ZERO,
        vat_key: None,
        vat_bp: None,
        reductions: Vec::new(),
        seller: None,
        restock: None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Additive,
    Inclusive,
}

fn applied(parts: &[AppliedTax], taxes: &[Tax], kind: Kind) -> Result<Cents, OrderError> {
    let is_kind = |part: &&AppliedTax| {
        let tax = taxes.iter().find(|tax| tax.uid.is_some() && tax.uid == part.tax_uid);
        let additive = tax.is_some_and(|tax| tax.kind.as_deref() == Some(ADDITIVE));
        additive == (kind == Kind::Additive)
    };
    let money = |part: &AppliedTax| part.applied_money.as_ref().map_or(Cents::ZERO, Money::cents);
    Cents::checked_sum(parts.iter().filter(is_kind).map(money)).ok_or(OrderError::TooLarge)
}

fn less(from: Cents, what: Cents) -> Result<Cents, OrderError> {
    from.0.checked_sub(what.0).map(Cents).ok_or(OrderError::TooLarge)
}

/// Returns unit and quantity; grams, millilitres and centimetres become our units where that is
/// exact, and what has no unit of ours keeps its own word.
fn quantity(item: &LineItem) -> Result<(Unit, Milli), OrderError> {
    let milli = Milli::parse_half_up(item.quantity.trim())
        .map_err(|fault| OrderError::Quantity(0, fault))?;
    let measured = item.quantity_unit.as_ref().and_then(|unit| unit.measurement_unit.as_ref());
    let Some(name) = measured.and_then(unit_name) else { return Ok((Unit::Pieces, milli)) };
    let small = |unit, parts: i64| (milli.0 % parts == 0).then(|| (unit, Milli(milli.0 / parts)));
    let ours = match name {
        "METRIC_KILOGRAM" => Some((Unit::Kilograms, milli)),
        "METRIC_GRAM" => small(Unit::Kilograms, 1000),
        "METRIC_LITER" => Some((Unit::Litres, milli)),
        "METRIC_MILLILITER" => small(Unit::Litres, 1000),
        "METRIC_METER" => Some((Unit::Metres, milli)),
        "METRIC_CENTIMETER" => small(Unit::Metres, 100),
        "METRIC_MILLIMETER" => small(Unit::Metres, 1000),
        _ => None,
    };
    let word = match name {
        "IMPERIAL_POUND" => "lb".to_owned(),
        "IMPERIAL_WEIGHT_OUNCE" => "oz".to_owned(),
        other => other.to_lowercase(),
    };
    match ours {
        Some(found) => Ok(found),
        None => Unit::new(&word)
            .map(|unit| (unit, milli))
            .map_err(|fault| OrderError::Id("unit", fault)),
    }
}

fn unit_name(unit: &MeasurementUnit) -> Option<&str> {
    [&unit.weight_unit, &unit.volume_unit, &unit.length_unit]
        .into_iter()
        .flatten()
        .next()
        .map(String::as_str)
}

/// Returns the article: the catalogue's id, else the text on the receipt, which then travels along.
fn named(
    item: &LineItem,
    articles: &Articles,
) -> Result<(Article, Option<shared::ids::Label>), OrderError> {
    let fault = |fault| OrderError::Id("article", fault);
    if let Some(id) = item.catalog_object_id.as_deref().filter(|id| !id.trim().is_empty()) {
        return Ok((article::own(VENDOR, id.trim()).map_err(fault)?, None));
    }
    let name = item.name.as_deref().unwrap_or("custom amount").trim();
    let text = match item.variation_name.as_deref().map(str::trim) {
        Some(variation) if !variation.is_empty() => format!("{name} {variation}"),
        _ => name.to_owned(),
    };
    let text = if text.is_empty() { "custom amount".to_owned() } else { text };
    Ok((articles.text(&text).map_err(fault)?, label(&text)))
}

fn reductions(item: &LineItem, order: &Order, way: Way) -> Vec<Reduction> {
    let parts = item.applied_discounts.iter().filter_map(|part| {
        let discount =
            order.discounts.iter().find(|it| it.uid.is_some() && it.uid == part.discount_uid);
        let id = discount.and_then(|it| it.catalog_object_id.as_deref()).and_then(label);
        let cents = way.signed(part.applied_money.as_ref()?.cents());
        Some(Reduction { kind: AdjustmentKind::Promotion, id, cents })
    });
    parts.collect()
}
