//! Article numbers. A GTIN becomes 14 digits; a number that only means something inside of one chain
//! carries its scheme, and the digits that hold a price or a weight never become part of a key.
//!
//! Check digits after the GS1 General Specifications, 7.9: weights 3 and 1 from the right; the price
//! check digit of in-store codes by the weighted products 5+, 2-, 5-, 5+, 2-. Which prefix holds what
//! is a chain's own choice (GS1: restricted circulation, 02 and 20 to 29), hence a table and no rule.

use serde::Deserialize;
use shared::ids::{Article, IdError};
use shared::money::{Cents, Milli};

/// Letters of an in-store code's pattern: GTIN-13 has as many digits.
const PATTERN_CHARS: usize = 13;

/// Digits of an in-store code without a layout that stay in its key: prefix and article. Those behind
/// may hold a price.
const UNKNOWN_KEEPS: usize = 7;

/// Why the table of article numbers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArticlesError {
    /// It is no TOML of this form.
    #[error("{0}")]
    Form(String),
    /// A layout contradicts itself.
    #[error("in_store {prefix:?}: {what}")]
    Layout {
        /// The layout's prefix.
        prefix: String,
        /// What is wrong and what would be right.
        what: &'static str,
    },
    /// The chain's name cannot be part of a key.
    #[error("chain: it must be 1 to 32 letters, digits or dashes")]
    Chain,
}

/// How a chain's article numbers are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Articles {
    chain: String,
    in_store: Vec<Layout>,
}

impl Default for Articles {
    fn default() -> Self {
        Self { chain: "store".to_owned(), in_store: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    chain: String,
    #[serde(default)]
    in_store: Vec<Layout>,
}

/// What the digits of an in-store code mean.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    /// The digits that the code begins with.
    prefix: String,
    /// One letter a digit: `P` prefix, `A` article, `I` check digit over the value, `V` value,
    /// `C` check digit, `X` nothing.
    pattern: String,
    value: Value,
    /// Decimals of the value: 2 for a price in cents, 3 for a weight in grams.
    #[serde(default)]
    decimals: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Value {
    Price,
    Weight,
    Pieces,
    None,
}

/// An article number that was scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// The key, free of values.
    pub article: Article,
    /// What the code says of this very piece.
    pub embedded: Option<Embedded>,
}

/// A value inside of an in-store code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// The price of the piece.
    Price(Cents),
    /// Its weight in thousandths of a kilogram.
    Weight(Milli),
    /// Its number of pieces, in thousandths.
    Pieces(Milli),
}

impl Articles {
    /// Reads the table: the chain's name and the layouts of its in-store codes.
    pub fn parse(text: &str) -> Result<Self, ArticlesError> {
        let form = |error: toml::de::Error| {
            ArticlesError::Form(error.to_string().trim_end().replace('\n', " "))
        };
        let table: Table = toml::from_str(text).map_err(form)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=32).contains(&table.chain.len()) || !table.chain.bytes().all(plain) {
            return Err(ArticlesError::Chain);
        }
        table.in_store.iter().try_for_each(Layout::check)?;
        Ok(Self { chain: table.chain, in_store: table.in_store })
    }

    /// Returns the chain's name as it stands in keys.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Reads a number as a scanner gives it; `vendor` names the scheme of what is no GTIN.
    pub fn scanned(&self, code: &str, vendor: &str) -> Result<Scanned, IdError> {
        let code = code.trim();
        let plain = |article: Result<Article, IdError>| {
            article.map(|article| Scanned { article, embedded: None })
        };
        if !is_gtin(code) {
            return plain(own(vendor, code));
        }
        let digits = format!("{code:0>14}");
        match &digits[..3] {
            "002" | "020" | "021" | "022" | "023" | "024" | "025" | "026" | "027" | "028"
            | "029"
                if code.len() != 8 =>
            {
                self.in_store(&digits[1..])
            }
            // Coupons (98, 99) may hold a value behind their issuer's number.
            "098" | "099" if code.len() != 8 => plain(own("coupon", &digits[1..=UNKNOWN_KEEPS])),
            _ if code.len() == 8 && code.starts_with(['0', '2']) => plain(own(&self.chain, code)),
            _ => plain(Article::new(&digits)),
        }
    }

    /// Returns the key of an article that a receipt names by its text alone. Blanks are folded.
    pub fn text(&self, text: &str) -> Result<Article, IdError> {
        let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Article::new(&format!("text:{}:{folded}", self.chain))
    }

    fn in_store(&self, code: &str) -> Result<Scanned, IdError> {
        let Some(layout) = self.in_store.iter().find(|layout| code.starts_with(&layout.prefix))
        else {
            let article = own(&self.chain, &code[..UNKNOWN_KEEPS])?;
            return Ok(Scanned { article, embedded: None });
        };
        let key = [layout.digits(code, 'P'), layout.digits(code, 'A')].concat();
        Ok(Scanned { article: own(&self.chain, &key)?, embedded: layout.embedded(code) })
    }
}

impl Layout {
    fn check(&self) -> Result<(), ArticlesError> {
        let fault = |what| Err(ArticlesError::Layout { prefix: self.prefix.clone(), what });
        let count = |letter| self.pattern.chars().filter(|&found| found == letter).count();
        if self.pattern.len() != PATTERN_CHARS || self.pattern.contains(|c| !"PAIVCX".contains(c)) {
            return fault("pattern: 13 letters out of P A I V C X are needed");
        }
        let prefix = self.pattern.starts_with(&"P".repeat(self.prefix.len()));
        let digits = self.prefix.bytes().all(|byte| byte.is_ascii_digit());
        if !prefix || !digits || self.prefix.is_empty() || count('P') != self.prefix.len() {
            return fault("pattern: it must begin with a P for each digit of the prefix");
        }
        if count('A') == 0 || !self.pattern.ends_with('C') || count('C') != 1 {
            return fault("pattern: it needs an A, and a C at its end");
        }
        if (count('V') == 0) != (self.value == Value::None) {
            return fault("value: V in the pattern and a value go together; \"none\" has no V");
        }
        if count('I') > 1 || (count('I') == 1 && count('V') != 5) {
            return fault("pattern: the check digit I stands once, over five digits V");
        }
        if self.decimals.is_some_and(|decimals| decimals > 3) {
            return fault("decimals: 0 to 3");
        }
        Ok(())
    }

    fn digits(&self, code: &str, letter: char) -> String {
        let chosen = |(found, digit): (char, char)| (found == letter).then_some(digit);
        self.pattern.chars().zip(code.chars()).filter_map(chosen).collect()
    }

    /// Returns the value, unless its own check digit contradicts it.
    fn embedded(&self, code: &str) -> Option<Embedded> {
        let value = self.digits(code, 'V');
        let check = self.digits(code, 'I');
        if !check.is_empty()
            && price_check_digit(&value).map(|digit| digit.to_string()) != Some(check)
        {
            return None;
        }
        let number: i64 = value.parse().ok()?;
        let scaled = |decimals: u32, to: u32| {
            let up = 10_i64.pow(to.saturating_sub(decimals));
            let down = 10_i64.pow(decimals.saturating_sub(to));
            number * up / down
        };
        match self.value {
            Value::Price => Some(Embedded::Price(Cents(scaled(self.decimals.unwrap_or(2), 2)))),
            Value::Weight => Some(Embedded::Weight(Milli(scaled(self.decimals.unwrap_or(3), 3)))),
            Value::Pieces => Some(Embedded::Pieces(Milli(scaled(self.decimals.unwrap_or(0), 3)))),
            Value::None => None,
        }
    }
}

/// Returns the key of a number that only one vendor or chain understands.
pub fn own(vendor: &str, number: &str) -> Result<Article, IdError> {
    Article::new(&format!("own:{vendor}:{number}"))
}

/// Returns the key of a price look-up code (IFPS: 4 digits, 5 for organic), leading zeros aside.
pub fn plu(number: &str) -> Result<Article, IdError> {
    Article::new(&format!("plu:{}", number.trim_start_matches('0')))
}

/// Tells whether a text is a GTIN-8, -12, -13 or -14 with the right check digit.
pub fn is_gtin(code: &str) -> bool {
    matches!(code.len(), 8 | 12 | 13 | 14)
        && code.bytes().all(|byte| byte.is_ascii_digit())
        && code.bytes().any(|byte| byte != b'0')
        && check_digit(&code[..code.len() - 1]) == code.as_bytes()[code.len() - 1] - b'0'
}

/// Returns the check digit of digits, as GTIN, GLN and SSCC have it.
pub fn check_digit(digits: &str) -> u8 {
    let weighted = digits.bytes().rev().enumerate().map(|(at, byte)| {
        let weight = if at % 2 == 0 { 3 } else { 1 };
        u32::from(byte - b'0') * weight
    });
    let rest = u8::try_from(weighted.sum::<u32>() % 10).expect("a remainder of ten is small");
    (10 - rest) % 10
}

/// Returns the check digit over a five-digit value; nothing where it is not five digits.
pub fn price_check_digit(value: &str) -> Option<u8> {
    const FIVE_PLUS: [u8; 10] = [0, 5, 1, 6, 2, 7, 3, 8, 4, 9];
    const TWO_MINUS: [u8; 10] = [0, 2, 4, 6, 8, 9, 1, 3, 5, 7];
    const FIVE_MINUS: [u8; 10] = [0, 5, 9, 4, 8, 3, 7, 2, 6, 1];
    const TABLES: [[u8; 10]; 5] = [FIVE_PLUS, TWO_MINUS, FIVE_MINUS, FIVE_PLUS, TWO_MINUS];
    if value.len() != TABLES.len() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let products = value.bytes().zip(TABLES).map(|(byte, table)| table[usize::from(byte - b'0')]);
    let rest = (10 - products.sum::<u8>() % 10) % 10;
    FIVE_MINUS.iter().position(|&product| product == rest).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        chain = "frischmarkt"
        [[in_store]]
        prefix = "28"
        pattern = "PPAAAAIVVVVVC"
        value = "price"
        [[in_store]]
        prefix = "29"
        pattern = "PPAAAAIVVVVVC"
        value = "weight"
        [[in_store]]
        prefix = "20"
        pattern = "PPAAAAAAAAAAC"
        value = "none"
        [[in_store]]
        prefix = "02"
        pattern = "PPAAAAAVVVVVC"
        value = "weight"
        decimals = 2
    "#;

    fn scanned(code: &str) -> (String, Option<Embedded>) {
        let scanned = Articles::parse(TABLE).unwrap().scanned(code, "gk").unwrap();
        (scanned.article.to_string(), scanned.embedded)
    }

    #[test]
    fn a_gtin_of_any_length_is_fourteen_digits_and_a_wrong_check_digit_is_no_gtin() {
        for (code, key) in [
            ("4012345678901", "04012345678901"),
            ("96385074", "00000096385074"),
            ("036000291452", "00036000291452"),
            ("14012345678908", "14012345678908"),
            ("4012345678902", "own:gk:4012345678902"),
            ("00000000", "own:gk:00000000"),
            ("4711", "own:gk:4711"),
            ("20123451", "own:frischmarkt:20123451"),
        ] {
            assert_eq!(scanned(code), (key.to_owned(), None), "{code}");
        }
    }

    #[test]
    fn a_value_leaves_the_key_and_is_told_beside_it() {
        let price = Some(Embedded::Price(Cents(14_685)));
        assert_eq!(scanned("2810276146856"), ("own:frischmarkt:281027".to_owned(), price));
        let weight = Some(Embedded::Weight(Milli(408)));
        assert_eq!(scanned("2957776004085"), ("own:frischmarkt:295777".to_owned(), weight));
        // The same piece as a scanner gives it with the leading zero of a GTIN-14.
        assert_eq!(scanned("02957776004085").0, "own:frischmarkt:295777");
        let code = format!("202000000000{}", check_digit("202000000000"));
        assert_eq!(scanned(&code), ("own:frischmarkt:202000000000".to_owned(), None));
        let upc = format!("20518000123{}", check_digit("20518000123"));
        let weight = Some(Embedded::Weight(Milli(1230)));
        assert_eq!(scanned(&upc), ("own:frischmarkt:0205180".to_owned(), weight));
    }

    #[test]
    fn an_unknown_prefix_keeps_no_digit_that_may_be_a_price() {
        let code = format!("271234512345{}", check_digit("271234512345"));
        assert_eq!(scanned(&code), ("own:frischmarkt:2712345".to_owned(), None));
        let coupon = format!("981234512345{}", check_digit("981234512345"));
        assert_eq!(scanned(&coupon), ("own:coupon:9812345".to_owned(), None));
    }

    #[test]
    fn a_value_that_its_check_digit_contradicts_is_not_told() {
        let code = format!("281027514685{}", check_digit("281027514685"));
        assert_eq!(scanned(&code), ("own:frischmarkt:281027".to_owned(), None));
    }

    #[test]
    fn the_real_in_store_codes_have_both_check_digits() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/data/pos/gs1/instore_ean13_vectors.csv"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: {path} is not there");
            return;
        };
        let mut seen = 0;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(';').collect();
            let [code, prefix, article, internal, value, check, ..] = fields[..] else {
                panic!("{line}")
            };
            assert!(is_gtin(code), "{code}");
            assert_eq!(check_digit(&code[..12]).to_string(), check, "{code}");
            assert_eq!(price_check_digit(value).unwrap().to_string(), internal, "{code}");
            let table = format!(
                "chain = \"c\"\n[[in_store]]\nprefix = \"{prefix}\"\npattern = \"PPAAAAIVVVVVC\"\nvalue = \"price\""
            );
            let found = Articles::parse(&table).unwrap().scanned(code, "v").unwrap();
            assert_eq!(found.article.as_str(), format!("own:c:{prefix}{article}"));
            assert_eq!(found.embedded, Some(Embedded::Price(Cents(value.parse().unwrap()))));
            seen += 1;
        }
        assert_eq!(seen, 24);
    }

    #[test]
    fn a_text_is_a_key_without_its_blanks() {
        let key = Articles::default().text("  BIO   BANANE ").unwrap();
        assert_eq!(key.as_str(), "text:store:BIO BANANE");
        assert_eq!(plu("0004011").unwrap().as_str(), "plu:4011");
    }

    #[test]
    fn a_table_that_contradicts_itself_says_where() {
        for (pattern, value, part) in [
            ("PPAAAAIVVVVC", "price", "13 letters"),
            ("PAAAAAIVVVVVC", "price", "a P for each digit"),
            ("PPAAAAAAAAAAC", "price", "go together"),
            ("PPAAAAIVVVVVC", "none", "go together"),
            ("PPAAAIVVVVVVC", "price", "over five digits"),
            ("PPAAAAIVVVVVX", "price", "at its end"),
        ] {
            let text = format!(
                "chain = \"c\"\n[[in_store]]\nprefix = \"28\"\npattern = \"{pattern}\"\nvalue = \"{value}\""
            );
            let fault = Articles::parse(&text).unwrap_err().to_string();
            assert!(fault.contains(part), "{pattern}: {fault}");
        }
        assert_eq!(Articles::parse("chain = \"a b\"").unwrap_err(), ArticlesError::Chain);
        assert!(Articles::parse("colour = 1").is_err());
    }
}
