//! The fields of an order that are read. Money is whole numbers of the smallest unit, quantities are
//! decimal texts: no floating point comes near either.

use serde::Deserialize;
use shared::money::Cents;

/// An answer that holds one order.
#[derive(Debug, Deserialize)]
pub(super) struct Wrapped {
    #[serde(default)]
    pub(super) order: Option<Order>,
}

/// An order.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) id: Option<String>,
    pub(super) location_id: Option<String>,
    pub(super) state: Option<String>,
    pub(super) version: Option<u64>,
    pub(super) created_at: Option<String>,
    pub(super) updated_at: Option<String>,
    pub(super) closed_at: Option<String>,
    #[serde(default)]
    pub(super) line_items: Vec<LineItem>,
    #[serde(default)]
    pub(super) taxes: Vec<Tax>,
    #[serde(default)]
    pub(super) discounts: Vec<Discount>,
    #[serde(default)]
    pub(super) service_charges: Vec<ServiceCharge>,
    #[serde(default)]
    pub(super) returns: Vec<Return>,
    #[serde(default)]
    pub(super) tenders: Vec<Tender>,
    #[serde(default)]
    pub(super) refunds: Vec<Refund>,
    pub(super) rounding_adjustment: Option<Rounding>,
    pub(super) net_amounts: Option<Amounts>,
    pub(super) total_money: Option<Money>,
    pub(super) total_tip_money: Option<Money>,
}

/// An amount.
#[derive(Debug, Deserialize)]
pub(super) struct Money {
    pub(super) amount: Option<i64>,
    pub(super) currency: Option<String>,
}

impl Money {
    /// Returns the amount; none is nothing.
    pub(super) fn cents(&self) -> Cents {
        Cents(self.amount.unwrap_or(0))
    }
}

/// Totals.
#[derive(Debug, Deserialize)]
pub(super) struct Amounts {
    pub(super) total_money: Option<Money>,
}

/// A position, sold or returned: both have the same fields, but for the gross amount's name.
#[derive(Debug, Deserialize)]
pub(super) struct LineItem {
    pub(super) quantity: String,
    pub(super) quantity_unit: Option<QuantityUnit>,
    pub(super) name: Option<String>,
    pub(super) variation_name: Option<String>,
    pub(super) catalog_object_id: Option<String>,
    pub(super) item_type: Option<String>,
    #[serde(alias = "gross_return_money")]
    pub(super) gross_sales_money: Option<Money>,
    pub(super) total_money: Option<Money>,
    pub(super) total_discount_money: Option<Money>,
    pub(super) total_service_charge_money: Option<Money>,
    #[serde(default)]
    pub(super) applied_taxes: Vec<AppliedTax>,
    #[serde(default)]
    pub(super) applied_discounts: Vec<AppliedDiscount>,
}

/// The unit of a quantity.
#[derive(Debug, Deserialize)]
pub(super) struct QuantityUnit {
    pub(super) measurement_unit: Option<MeasurementUnit>,
}

/// The unit's name, by what it measures.
#[derive(Debug, Deserialize)]
pub(super) struct MeasurementUnit {
    pub(super) weight_unit: Option<String>,
    pub(super) volume_unit: Option<String>,
    pub(super) length_unit: Option<String>,
}

/// A tax of the order.
#[derive(Debug, Deserialize)]
pub(super) struct Tax {
    pub(super) uid: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) applied_money: Option<Money>,
}

/// A tax's part of a line.
#[derive(Debug, Deserialize)]
pub(super) struct AppliedTax {
    pub(super) tax_uid: Option<String>,
    pub(super) applied_money: Option<Money>,
}

/// A discount of the order.
#[derive(Debug, Deserialize)]
pub(super) struct Discount {
    pub(super) uid: Option<String>,
    pub(super) catalog_object_id: Option<String>,
}

/// A discount's part of a line.
#[derive(Debug, Deserialize)]
pub(super) struct AppliedDiscount {
    pub(super) discount_uid: Option<String>,
    pub(super) applied_money: Option<Money>,
}

/// A charge for a service.
#[derive(Debug, Deserialize)]
pub(super) struct ServiceCharge {
    pub(super) name: Option<String>,
    pub(super) total_money: Option<Money>,
    #[serde(default)]
    pub(super) applied_taxes: Vec<AppliedTax>,
}

/// What comes back.
#[derive(Debug, Deserialize)]
pub(super) struct Return {
    pub(super) source_order_id: Option<String>,
    #[serde(default)]
    pub(super) return_line_items: Vec<LineItem>,
    #[serde(default)]
    pub(super) return_service_charges: Vec<ServiceCharge>,
    #[serde(default)]
    pub(super) return_taxes: Vec<Tax>,
    #[serde(default)]
    pub(super) return_tips: Vec<ReturnTip>,
    pub(super) rounding_adjustment: Option<Rounding>,
}

/// A tip that comes back.
#[derive(Debug, Deserialize)]
pub(super) struct ReturnTip {
    pub(super) applied_money: Option<Money>,
}

/// Cash that is rounded to what coins there are.
#[derive(Debug, Deserialize)]
pub(super) struct Rounding {
    pub(super) amount_money: Option<Money>,
}

/// A payment.
#[derive(Debug, Deserialize)]
pub(super) struct Tender {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) amount_money: Option<Money>,
    pub(super) cash_details: Option<CashDetails>,
}

/// Notes and coins given and given back.
#[derive(Debug, Deserialize)]
pub(super) struct CashDetails {
    pub(super) buyer_tendered_money: Option<Money>,
    pub(super) change_back_money: Option<Money>,
}

/// Money paid back.
#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) amount_money: Option<Money>,
}
