//! A regular expression of a profile. It is bounded in size when it is read, and its search takes
//! time in proportion to the line, whatever the line says.

use regex_lite::{Captures, Regex, RegexBuilder};
use serde::Deserialize;

/// Bytes that a compiled expression may take; those of the built-in profiles take some thousands.
const SIZE_MAX: usize = 1 << 18;
const NESTING_MAX: u32 = 16;

/// A regular expression over one line.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let built = RegexBuilder::new(&text).size_limit(SIZE_MAX).nest_limit(NESTING_MAX).build();
        built.map(Self).map_err(|error| format!("{text:?} is no pattern: {error}"))
    }
}

/// What the groups of a pattern found in a line.
#[derive(Debug)]
pub(super) struct Found<'a>(Captures<'a>);

impl Pattern {
    pub(super) fn matches(&self, line: &str) -> bool {
        self.0.is_match(line)
    }

    pub(super) fn find<'a>(&self, line: &'a str) -> Option<Found<'a>> {
        self.0.captures(line).map(Found)
    }

    pub(super) fn has(&self, group: &str) -> bool {
        self.0.capture_names().flatten().any(|name| name == group)
    }

    /// Returns the text without what the pattern finds.
    pub(super) fn stripped(&self, text: &str) -> String {
        self.0.replace_all(text, "").trim().to_owned()
    }
}

impl<'a> Found<'a> {
    /// Returns what a group found; nothing where it took no part.
    pub(super) fn group(&self, name: &str) -> Option<&'a str> {
        self.0.name(name).map(|found| found.as_str().trim())
    }
}
