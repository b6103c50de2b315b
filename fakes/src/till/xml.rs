//! Writing XML: elements, attributes and escaped text, and the two parts of POSLog that all vendors
//! write alike.

use std::fmt::Display;

use shared::money::Cents;
use shared::receipt::{CashMove, ReceiptReference};
use shared::time::BusinessDay;

/// A document as it grows.
#[derive(Debug, Default)]
pub(super) struct Xml {
    text: String,
}

impl Xml {
    /// Opens an element whose attributes are written out, such as `Sale ItemType="Stock"`.
    pub(super) fn open(&mut self, element: &str) {
        self.text.push('<');
        self.text.push_str(element);
        self.text.push('>');
    }

    /// Closes an element.
    pub(super) fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    /// Writes an element around a text.
    pub(super) fn leaf(&mut self, element: &str, value: impl Display) {
        self.open(element);
        escape(&value.to_string(), &mut self.text);
        self.close(element.split(' ').next().unwrap_or(element));
    }

    /// Breaks the line between two elements, where readers skip it.
    pub(super) fn line(&mut self) {
        self.text.push('\n');
    }

    /// Returns the document.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Writes money that was put into the drawer or taken out; what for stands in the element's name, so
/// that the amount has no sign. `amount` says how a vendor writes one: its currency and its digits.
pub(super) fn cash_moved(
    xml: &mut Xml,
    moves: &[CashMove],
    amount: impl Fn(Cents) -> (&'static str, String),
) {
    xml.open("TenderControlTransaction");
    for moved in moves {
        let element = match moved.kind.as_str() {
            "float" => "TenderLoan",
            "drop" => "SafeDrop",
            "paid_in" => "PaidIn",
            _ => "PaidOut",
        };
        let (currency, digits) = amount(moved.cents.abs());
        xml.open(element);
        xml.leaf(&format!("Amount{currency}"), digits);
        xml.close(element);
    }
    xml.close("TenderControlTransaction");
}

/// Names the receipt that another one takes back as a whole.
pub(super) fn taken_back(xml: &mut Xml, other: &ReceiptReference, day: BusinessDay) {
    xml.open("TransactionLink ReasonCode=\"Voided\"");
    xml.leaf("WorkstationID", &other.till);
    xml.leaf("BusinessDayDate", day);
    xml.leaf("SequenceNumber", &other.receipt);
    xml.close("TransactionLink");
}

fn escape(value: &str, text: &mut String) {
    for found in value.chars() {
        match found {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_attributes_do_not_stand_in_the_end_tag() {
        let mut xml = Xml::default();
        xml.leaf("Total TotalType=\"A\"", "1 < 2 & 3");
        assert_eq!(xml.finish(), "<Total TotalType=\"A\">1 &lt; 2 &amp; 3</Total>");
    }
}
