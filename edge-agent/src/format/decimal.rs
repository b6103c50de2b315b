//! Decimal numbers as a file writes them, with its own decimal and grouping signs.

/// Returns a number with a decimal point and no groups; nothing where it is not well formed. Groups
/// must be groups of three: a decimal point where a grouping point is meant would else make a number
/// a hundred times too large.
pub(super) fn plain(text: &str, decimal: char, grouping: Option<char>) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once(decimal).unwrap_or((digits, ""));
    let whole = match grouping {
        Some(grouping) => ungrouped(whole, grouping)?,
        None => whole.to_owned(),
    };
    let digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let empty = whole.is_empty() && fraction.is_empty();
    (digits && !empty).then(|| format!("{sign}{whole}.{fraction}"))
}

fn ungrouped(whole: &str, grouping: char) -> Option<String> {
    let mut groups = whole.split(grouping);
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    let well_formed = rest.is_empty()
        || ((1..=3).contains(&first.len())
            && first != "0"
            && rest.iter().all(|group| group.len() == 3));
    well_formed.then(|| format!("{first}{}", rest.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_groups_of_three_and_nothing_else_is_a_number() {
        for (text, want) in [
            ("1.234,56", Some("1234.56")),
            ("-1.000", Some("-1000.")),
            (",5", Some(".5")),
            ("+007", Some("007.")),
            ("1.99", None),
            ("0.500", None),
            ("1,2,3", None),
            ("-", None),
            ("1e5", None),
        ] {
            assert_eq!(plain(text, ',', Some('.')).as_deref(), want, "{text}");
        }
        assert_eq!(plain("1.000", '.', None).as_deref(), Some("1.000"));
    }
}
