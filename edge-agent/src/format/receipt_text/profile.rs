//! A profile: how one chain lays out its receipts. It is a TOML file of patterns; what each key means
//! stands in `docs/receipt-profiles.md`. Everything is checked when it is read.

use serde::Deserialize;
use shared::ids::Label;
use shared::words::{AdjustmentKind, LineKind, NotCounted, PaymentKind};

use super::pattern::Pattern;

/// Patterns of one list; a line is held against each.
const PATTERNS_MAX: usize = 64;

const BUILT_IN: [(&str, &str); 3] = [
    ("rewe", include_str!("profiles/rewe.toml")),
    ("lidl", include_str!("profiles/lidl.toml")),
    ("edeka", include_str!("profiles/edeka.toml")),
];

/// How a chain lays out its receipts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub(super) name: Label,
    pub(super) items: Items,
    pub(super) total: Pattern,
    #[serde(default)]
    pub(super) payments: Vec<Paid>,
    pub(super) vat: VatTable,
    pub(super) key: Vec<Pattern>,
    #[serde(default)]
    pub(super) not_counted: Vec<Mark>,
    pub(super) closing: Option<ClosingLayout>,
    pub(super) end: Option<Pattern>,
}

/// The part with the goods.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Items {
    pub(super) begin: Pattern,
    pub(super) lines: Vec<Pattern>,
    #[serde(default)]
    pub(super) refine: Vec<Refine>,
    #[serde(default)]
    pub(super) ignore: Vec<Pattern>,
    #[serde(default)]
    pub(super) kinds: Vec<Kind>,
    #[serde(default)]
    pub(super) discounts: Vec<Discount>,
    pub(super) strip: Option<Pattern>,
}

/// A line that says how much an item is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refine {
    pub(super) pattern: Pattern,
    #[serde(default)]
    pub(super) of: Of,
}

/// Where the item stands that a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    #[default]
    ItemAbove,
    ItemBelow,
}

/// What kind of line a text is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    pub(super) text: Pattern,
    pub(super) kind: LineKind,
    #[serde(default)]
    pub(super) void: bool,
}

/// A line that is a discount.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discount {
    pub(super) text: Pattern,
    pub(super) kind: AdjustmentKind,
    #[serde(default)]
    pub(super) of: DiscountOf,
}

/// What a discount is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DiscountOf {
    #[default]
    Receipt,
    ItemAbove,
}

/// A line that says how it was paid.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paid {
    pub(super) pattern: Pattern,
    pub(super) kind: PaymentKind,
    /// Money went back: the amount is printed without its minus.
    #[serde(default)]
    pub(super) back: bool,
}

/// The table of VAT.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VatTable {
    pub(super) row: Pattern,
}

/// A line that says that nothing was sold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub(super) pattern: Pattern,
    #[serde(rename = "where")]
    pub(super) place: Where,
    pub(super) reason: NotCounted,
    /// It has no number: it is nothing at all.
    #[serde(default)]
    pub(super) keyless: bool,
    pub(super) cash: Option<Cash>,
}

/// Where on the receipt a mark stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Where {
    /// Its first line that is not blank.
    First,
    /// Before the goods.
    Head,
    /// Among the goods or behind them.
    Body,
}

/// How cash moved.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cash {
    pub(super) pattern: Pattern,
    pub(super) kind: Label,
    /// It left the drawer.
    #[serde(default)]
    pub(super) out: bool,
}

/// How a report of a closing is laid out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClosingLayout {
    pub(super) begin: Pattern,
    pub(super) number: Pattern,
    pub(super) total: Pattern,
}

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No built-in profile has this name.
    #[error("{0:?} is no built-in profile; known are {known}", known = Profile::NAMES.join(", "))]
    Unknown(String),
    /// It is no TOML of this form.
    #[error("{0}")]
    Form(String),
    /// A pattern lacks a group.
    #[error("{key}: the pattern needs a group {group:?}")]
    Group {
        /// The key.
        key: &'static str,
        /// The group.
        group: &'static str,
    },
    /// A list has too many patterns, or none where one is needed.
    #[error("{0}: 1 to 64 patterns are needed")]
    Count(&'static str),
    /// A word is not known.
    #[error("{key}: {word:?} is not known")]
    Word {
        /// The key.
        key: &'static str,
        /// The word.
        word: String,
    },
}

impl Profile {
    /// All built-in profiles.
    pub const NAMES: &'static [&'static str] = &["rewe", "lidl", "edeka"];

    /// Reads a profile.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let form = |error: toml::de::Error| {
            ProfileError::Form(error.to_string().trim_end().replace('\n', " "))
        };
        toml::from_str::<Self>(text).map_err(form)?.checked()
    }

    /// Returns a built-in profile.
    pub fn built_in(name: &str) -> Result<Self, ProfileError> {
        let found = BUILT_IN.iter().find(|(known, _)| *known == name);
        let unknown = || ProfileError::Unknown(name.chars().take(32).collect());
        found.ok_or_else(unknown).and_then(|(_, text)| Self::parse(text))
    }

    /// Checks what its form alone does not say.
    pub(crate) fn checked(self) -> Result<Self, ProfileError> {
        self.check_counts()?;
        self.check_groups()?;
        self.check_words()?;
        Ok(self)
    }

    /// Tells whether a receipt ends with this line.
    pub(super) fn is_last_line(&self, line: &str) -> bool {
        self.end.as_ref().is_some_and(|end| end.matches(line))
    }

    fn check_counts(&self) -> Result<(), ProfileError> {
        for (key, count) in [("items.lines", self.items.lines.len()), ("key", self.key.len())] {
            if !(1..=PATTERNS_MAX).contains(&count) {
                return Err(ProfileError::Count(key));
            }
        }
        for (key, count) in [
            ("items.refine", self.items.refine.len()),
            ("items.ignore", self.items.ignore.len()),
            ("items.kinds", self.items.kinds.len()),
            ("items.discounts", self.items.discounts.len()),
            ("payments", self.payments.len()),
            ("not_counted", self.not_counted.len()),
        ] {
            if count > PATTERNS_MAX {
                return Err(ProfileError::Count(key));
            }
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), ProfileError> {
        let need = |key, pattern: &Pattern, groups: &[&'static str]| {
            let missing = groups.iter().find(|group| !pattern.has(group));
            missing.map_or(Ok(()), |&group| Err(ProfileError::Group { key, group }))
        };
        for line in &self.items.lines {
            need("items.lines", line, &["text", "amount"])?;
        }
        for refine in &self.items.refine {
            need("items.refine", &refine.pattern, &["quantity"])?;
        }
        need("total", &self.total, &["amount"])?;
        for paid in &self.payments {
            need("payments", &paid.pattern, &["amount"])?;
        }
        need("vat.row", &self.vat.row, &["letter", "rate", "net", "tax", "gross"])?;
        for cash in self.not_counted.iter().filter_map(|mark| mark.cash.as_ref()) {
            need("not_counted.cash", &cash.pattern, &["amount"])?;
        }
        if let Some(closing) = &self.closing {
            need("closing.number", &closing.number, &["number"])?;
            need("closing.total", &closing.total, &["amount"])?;
        }
        for group in ["date", "time", "till", "receipt"] {
            if !self.key.iter().any(|pattern| pattern.has(group)) {
                return Err(ProfileError::Group { key: "key", group });
            }
        }
        Ok(())
    }

    /// Refuses words that the house does not know: in a profile they are slips of the pen.
    fn check_words(&self) -> Result<(), ProfileError> {
        let known = |key, unknown: Option<&Label>| match unknown {
            Some(word) => Err(ProfileError::Word { key, word: word.to_string() }),
            None => Ok(()),
        };
        for kind in &self.items.kinds {
            known(
                "items.kinds",
                if let LineKind::Unknown(word) = &kind.kind { Some(word) } else { None },
            )?;
        }
        for discount in &self.items.discounts {
            let word =
                if let AdjustmentKind::Unknown(word) = &discount.kind { Some(word) } else { None };
            known("items.discounts", word)?;
        }
        for paid in &self.payments {
            known(
                "payments",
                if let PaymentKind::Unknown(word) = &paid.kind { Some(word) } else { None },
            )?;
        }
        for mark in &self.not_counted {
            known(
                "not_counted",
                if let NotCounted::Unknown(word) = &mark.reason { Some(word) } else { None },
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_whole_and_bears_its_name() {
        for name in Profile::NAMES {
            assert_eq!(Profile::built_in(name).unwrap().name.as_str(), *name);
        }
        let fault = Profile::built_in("aldi").unwrap_err().to_string();
        assert!(fault.contains("rewe, lidl, edeka"), "{fault}");
    }

    #[test]
    fn a_profile_that_cannot_work_says_where() {
        let rewe = BUILT_IN[0].1;
        for (from, to, why) in [
            ("name = \"rewe\"", "name = \"rewe\"\ncolour = 1", "unknown field"),
            ("kind = \"cash\"", "kind = \"gold\"", "payments: \"gold\""),
            ("(?P<gross>", "(?P<other>", "needs a group \"gross\""),
            ("(?P<receipt>", "(?P<bon>", "needs a group \"receipt\""),
            ("(?P<amount>", "(?P<amount", "is no pattern"),
        ] {
            assert!(rewe.contains(from), "{from}");
            let fault = Profile::parse(&rewe.replace(from, to)).unwrap_err().to_string();
            assert!(fault.contains(why), "{fault}");
        }
        let huge = rewe.replacen("begin = '", "begin = '(x{1000}){1000}|", 1);
        let fault = Profile::parse(&huge).unwrap_err().to_string();
        assert!(fault.contains("is no pattern"), "{fault}");
    }
}
