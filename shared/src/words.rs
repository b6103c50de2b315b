//! Words with a fixed list today and a longer one tomorrow. A reader keeps an unknown word as it
//! is and treats it as `other`: a new word is never a reason to refuse a message.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{Label, check_text, printable};

/// Bytes that a word may have: the longest of ours has 16.
const WORD_BYTES_MAX: usize = 64;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A word that this version does not know, kept as it came.
            Unknown(Label),
        }

        impl $name {
            /// Returns the word as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(word) => word.as_str(),
                }
            }

            /// Reads a word; one that is not known is kept.
            pub fn new(text: &str) -> Result<Self, crate::ids::IdError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => {
                        check_text("a word", other, WORD_BYTES_MAX, printable)?;
                        Label::new(other).map(Self::Unknown)
                    }
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "minLength": 1, "maxLength": WORD_BYTES_MAX,
                    "examples": [$($text),+]
                })
            }
        }
    };
}

words! {
    /// What a receipt's line is. Only `sale` and `return` move goods and are turnover.
    LineKind {
        /// Goods sold.
        Sale = "sale",
        /// Goods taken back.
        Return = "return",
        /// Deposit charged.
        Deposit = "deposit",
        /// Empties taken back.
        DepositRefund = "deposit_refund",
        /// A voucher sold: money for later goods.
        VoucherSale = "voucher_sale",
        /// A tip.
        Tip = "tip",
        /// A donation.
        Donation = "donation",
        /// A fee or a service.
        Fee = "fee",
        /// A down payment.
        Prepayment = "prepayment",
        /// A claim on the customer.
        Receivable = "receivable",
        /// Anything else with an amount.
        Other = "other",
    }
}

impl LineKind {
    /// Returns true where a line of this kind moves goods and is turnover.
    pub fn moves_goods(&self) -> bool {
        matches!(self, Self::Sale | Self::Return)
    }
}

words! {
    /// The unit that a quantity is thousandths of.
    Unit {
        /// Pieces.
        Pieces = "pcs",
        /// Kilograms.
        Kilograms = "kg",
        /// Litres.
        Litres = "l",
        /// Metres.
        Metres = "m",
    }
}

words! {
    /// How a customer paid.
    PaymentKind {
        /// Notes and coins given.
        Cash = "cash",
        /// Cash given back, negative.
        Change = "change",
        /// Cash paid out on top of a card payment, negative.
        Cashback = "cashback",
        /// The German debit scheme.
        Girocard = "girocard",
        /// An international card.
        Credit = "credit",
        /// A phone.
        Mobile = "mobile",
        /// A gift card.
        GiftCard = "gift_card",
        /// A voucher.
        Voucher = "voucher",
        /// A slip from the reverse vending machine.
        DepositVoucher = "deposit_voucher",
        /// On account.
        OnAccount = "on_account",
        /// Loyalty points.
        Points = "points",
        /// A down payment used.
        Prepayment = "prepayment",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// Why an amount of a whole receipt differs from its lines.
    AdjustmentKind {
        /// An employee's discount.
        Employee = "employee",
        /// A coupon.
        Coupon = "coupon",
        /// A loyalty programme.
        Loyalty = "loyalty",
        /// A promotion.
        Promotion = "promotion",
        /// Sub-cent remainders of the lines.
        Rounding = "rounding",
        /// A difference that no element of the receipt explains.
        Unexplained = "unexplained",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// Where a receipt was rung up.
    Channel {
        /// A staffed till.
        Till = "till",
        /// A self-checkout.
        SelfCheckout = "self_checkout",
        /// A mobile scanner or app.
        SelfScan = "self_scan",
        /// An online order.
        Online = "online",
    }
}

words! {
    /// Why a transaction of a till is no sale.
    NotCounted {
        /// Parked, to be finished by another receipt.
        Suspended = "suspended",
        /// Given up before payment.
        Aborted = "aborted",
        /// Rung up for training.
        Training = "training",
        /// A drawer opened, a sign-on, a report: a number without goods.
        Control = "control",
        /// The opening of the drawer without a sale.
        NoSale = "no_sale",
        /// Cash put in or taken out.
        CashMove = "cash_move",
        /// A second copy that the till itself marks as one.
        Reprint = "reprint",
        /// Anything else that is no sale.
        Other = "other",
    }
}

words! {
    /// What moved stock.
    StockKind {
        /// Goods announced by a despatch advice: moves nothing.
        Announced = "announced",
        /// Goods received, positive.
        Delivery = "delivery",
        /// Goods thrown away, negative.
        Waste = "waste",
        /// Goods counted: what is there, not a change.
        Count = "count",
        /// Goods from another store, positive.
        TransferIn = "transfer_in",
        /// Goods to another store, negative.
        TransferOut = "transfer_out",
        /// Goods used by the store itself, negative.
        OwnUse = "own_use",
        /// Goods sent back to the supplier, negative.
        SupplierReturn = "supplier_return",
        /// Goods made in the store, positive.
        Produced = "produced",
        /// Ingredients used up, negative.
        Consumed = "consumed",
        /// Goods barred from sale, negative.
        Blocked = "blocked",
        /// Goods sold past the tills, negative.
        SaleOther = "sale_other",
        /// A correction by hand, of either sign.
        Correction = "correction",
    }
}

/// What a stock movement does to the quantity on hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockEffect {
    /// Changes nothing.
    None,
    /// Adds its signed quantity.
    Change,
    /// Sets the quantity at its time.
    Count,
}

impl StockKind {
    /// Tells what a movement of this kind does to the quantity on hand.
    pub fn effect(&self) -> StockEffect {
        match self {
            Self::Announced | Self::Unknown(_) => StockEffect::None,
            Self::Count => StockEffect::Count,
            Self::Delivery
            | Self::Waste
            | Self::TransferIn
            | Self::TransferOut
            | Self::OwnUse
            | Self::SupplierReturn
            | Self::Produced
            | Self::Consumed
            | Self::Blocked
            | Self::SaleOther
            | Self::Correction => StockEffect::Change,
        }
    }

    /// Returns the sign that a movement's quantity must have: 1, -1, or 0 where both may be.
    pub fn sign(&self) -> i64 {
        match self {
            Self::Delivery | Self::TransferIn | Self::Produced | Self::Announced | Self::Count => 1,
            Self::Waste
            | Self::TransferOut
            | Self::OwnUse
            | Self::SupplierReturn
            | Self::Consumed
            | Self::Blocked
            | Self::SaleOther => -1,
            Self::Correction | Self::Unknown(_) => 0,
        }
    }
}

words! {
    /// Whether a batch is the first for its minute and business day; it informs and decides nothing.
    BatchKind {
        /// The first batch.
        Original = "original",
        /// A further one: adds to it, replaces nothing.
        Supplement = "supplement",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_word_is_kept_and_an_unreadable_one_refused() {
        let kind: LineKind = serde_json::from_str("\"subscription\"").unwrap();
        assert_eq!(kind.as_str(), "subscription");
        assert!(!kind.moves_goods());
        assert_eq!(serde_json::to_string(&kind).unwrap(), "\"subscription\"");
        assert!(serde_json::from_str::<LineKind>("\"a\\u0000b\"").is_err());
        assert_eq!(LineKind::new("deposit_refund").unwrap(), LineKind::DepositRefund);
    }
}
