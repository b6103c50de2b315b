//! How another source's receipt numbers become those of the source that counts a till, where no fiscal
//! device joins them. Pure: a person states the mapping, nothing is guessed.

use std::collections::BTreeMap;
use std::str::FromStr;

use shared::ids::{IdError, ReceiptNumber, Series, TillId};
use shared::receipt::Receipt;

/// A mapping that cannot be applied to a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingFault {
    /// Its till is not mapped.
    #[error("till {0} is not mapped; name it with --till {0}=TILL")]
    Till(TillId),
    /// Its number is none that the offset can be added to.
    #[error("receipt {0} is no number that {1} can be added to")]
    Number(ReceiptNumber, i64),
    /// Its number or series cannot be written.
    #[error("its number cannot be mapped")]
    Id(#[source] IdError),
}

/// What the series of the counting source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesRule {
    /// The business day.
    BusinessDay,
    /// What the other source says.
    AsItStands,
}

/// A word that names no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither \"business-day\" nor \"as-it-stands\"")]
pub struct SeriesRuleError(String);

impl FromStr for SeriesRule {
    type Err = SeriesRuleError;
    fn from_str(text: &str) -> Result<Self, SeriesRuleError> {
        match text {
            "business-day" => Ok(Self::BusinessDay),
            "as-it-stands" => Ok(Self::AsItStands),
            other => Err(SeriesRuleError(other.to_owned())),
        }
    }
}

/// A stated mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The other source's tills, and the counting source's names of them.
    pub tills: BTreeMap<TillId, TillId>,
    /// What the series becomes.
    pub series: SeriesRule,
    /// What is added to a receipt's number.
    pub number_offset: i64,
}

impl Mapping {
    /// Gives a receipt the till, series and number under which the counting source knows it.
    pub fn apply(&self, mut receipt: Receipt) -> Result<Receipt, MappingFault> {
        let till = self.tills.get(&receipt.till);
        receipt.till = till.ok_or_else(|| MappingFault::Till(receipt.till.clone()))?.clone();
        if self.series == SeriesRule::BusinessDay {
            let day = receipt.business_day.to_string();
            receipt.series = Series::new(&day).map_err(MappingFault::Id)?;
        }
        if self.number_offset != 0 {
            let number = receipt.receipt.as_number();
            let moved = number.and_then(|number| number.checked_add_signed(self.number_offset));
            let fault = || MappingFault::Number(receipt.receipt.clone(), self.number_offset);
            let moved = moved.ok_or_else(fault)?.to_string();
            receipt.receipt = ReceiptNumber::new(&moved).map_err(MappingFault::Id)?;
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(number_offset: i64) -> Mapping {
        let tills = BTreeMap::from([("K1".parse().unwrap(), "1".parse().unwrap())]);
        Mapping { tills, series: SeriesRule::BusinessDay, number_offset }
    }

    fn receipt(till: &str, number: &str) -> Receipt {
        let text = format!(
            r#"{{"store":"10","till":"{till}","series":"Z 7","receipt":"{number}","business_day":"2026-11-23",
            "ended_at":"2026-11-23T09:41:07Z","counts":true}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_receipt_gets_the_counting_sources_number() {
        let mapped = mapping(-5).apply(receipt("K1", "0012")).unwrap();
        let key = (mapped.till.as_str(), mapped.series.as_str(), mapped.receipt.as_str());
        assert_eq!(key, ("1", "2026-11-23", "7"));
    }

    #[test]
    fn what_is_not_stated_is_not_guessed() {
        let fault = mapping(0).apply(receipt("K2", "1")).unwrap_err();
        assert_eq!(fault.to_string(), "till K2 is not mapped; name it with --till K2=TILL");
        for (number, offset) in [("3", -4), ("A3", 1)] {
            let fault = mapping(offset).apply(receipt("K1", number)).unwrap_err();
            assert!(matches!(fault, MappingFault::Number(..)), "{fault}");
        }
    }
}
