//! The words by which tills and documents name a unit become the four units that quantities are
//! thousandths of. A word that is not known is kept as it is: it is summed apart and moves no shelf.

use shared::ids::IdError;
use shared::money::Milli;
use shared::words::Unit;

/// How a unit's word changes the quantity: by a power of ten, so that no digit is invented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measure {
    unit: Unit,
    /// How many of the word's units make one of ours.
    parts: i64,
}

impl Measure {
    /// Reads a unit's word; an empty one means pieces.
    pub(super) fn of(word: &str) -> Result<Self, IdError> {
        let (unit, parts) = match word.trim().trim_end_matches('.').to_lowercase().as_str() {
            "" | "pcs" | "pce" | "ea" | "c62" | "h87" | "nar" | "st" | "stk" | "stck" | "stück"
            | "stueck" | "piece" | "pieces" | "1" => (Unit::Pieces, 1),
            "kg" | "kgm" | "kilogramm" | "kilo" => (Unit::Kilograms, 1),
            "g" | "gr" | "grm" | "gramm" => (Unit::Kilograms, 1000),
            "l" | "ltr" | "liter" => (Unit::Litres, 1),
            "ml" | "mlt" => (Unit::Litres, 1000),
            "m" | "mtr" | "meter" => (Unit::Metres, 1),
            "cm" | "cmt" => (Unit::Metres, 100),
            _ => (Unit::new(word.trim())?, 1),
        };
        Ok(Self { unit, parts })
    }

    /// Returns unit and quantity; nothing where the quantity is finer than a thousandth.
    pub(super) fn apply(self, quantity: Milli) -> Option<(Unit, Milli)> {
        (quantity.0 % self.parts == 0).then(|| (self.unit, Milli(quantity.0 / self.parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_unit_are_one_and_no_digit_is_invented() {
        for (word, milli, want) in [
            ("", 2000, Some(("pcs", 2000))),
            ("Stk.", 1000, Some(("pcs", 1000))),
            ("KGM", 792, Some(("kg", 792))),
            ("g", 250_000, Some(("kg", 250))),
            ("g", 250_500, None),
            ("CT", 3000, Some(("CT", 3000))),
        ] {
            let found = Measure::of(word).unwrap().apply(Milli(milli));
            let found = found.as_ref().map(|(unit, milli)| (unit.as_str(), milli.0));
            assert_eq!(found, want, "{word}");
        }
        assert!(Measure::of(&"x".repeat(65)).is_err());
    }
}
