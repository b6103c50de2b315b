//! Shows what is wrong with bytes and not whom they speak of: letters and digits of values are hidden,
//! names of elements, attributes and keys stay. Where a format has no names all is hidden.

/// Hides values.
pub(super) fn redacted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.trim_start().chars().next() {
        Some('<') => of_xml(&text),
        Some('{' | '[') => of_json(&text),
        Some(_) | None => text.chars().map(hidden).collect(),
    }
}

fn hidden(found: char) -> char {
    if found.is_numeric() {
        '9'
    } else if found.is_alphabetic() {
        'x'
    } else {
        found
    }
}

/// Keeps what stands inside of tags, but for the values of attributes.
fn of_xml(text: &str) -> String {
    let (mut in_tag, mut quote) = (false, None);
    let mut shown = String::with_capacity(text.len());
    for found in text.chars() {
        match (in_tag, quote, found) {
            (false, _, '<') => in_tag = true,
            (true, None, '>') => in_tag = false,
            (true, None, '"' | '\'') => quote = Some(found),
            (true, Some(open), _) if open == found => quote = None,
            (true, None, _) => {}
            (false, _, _) | (true, Some(_), _) => {
                shown.push(hidden(found));
                continue;
            }
        }
        shown.push(found);
    }
    shown
}

/// Keeps strings that a colon follows.
fn of_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        shown.extend(rest[..at].chars().map(hidden));
        let inside = &rest[at + 1..];
        let end = string_end(inside);
        let after = &inside[end..];
        let is_key = after.get(1..).is_some_and(|after| after.trim_start().starts_with(':'));
        shown.push('"');
        if is_key {
            shown.push_str(&inside[..end]);
        } else {
            shown.extend(inside[..end].chars().map(hidden));
        }
        let closed = !after.is_empty();
        if closed {
            shown.push('"');
        }
        rest = after.get(1..).unwrap_or("");
    }
    shown.extend(rest.chars().map(hidden));
    shown
}

/// Returns where a JSON string ends whose first quote is behind us.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, found) in text.char_indices() {
        match found {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_and_values_are_hidden() {
        for (bytes, shown) in [
            (
                r#"<Sale id="7"><Name a='Ä'>Erika 12</Name></Sale>"#,
                r#"<Sale id="9"><Name a='x'>xxxxx 99</Name></Sale>"#,
            ),
            (
                r#"{"name": "Erika \"M\"", "n":[12, true], "cut": "of"#,
                r#"{"name": "xxxxx \"x\"", "n":[99, xxxx], "cut": "xx"#,
            ),
            ("BON 4711\n\u{1b}a", "xxx 9999\n\u{1b}x"),
            ("", ""),
        ] {
            assert_eq!(redacted(bytes.as_bytes()), shown);
        }
    }
}
