//! Writing XML: elements, attributes and escaped text. Knows nothing of receipts.

use std::fmt::Display;

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
