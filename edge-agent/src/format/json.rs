//! JSON documents that stand in a list: the objects of an array, at the top or as a member of the
//! top object, cut one by one while the bytes come in. An object without such a list is one unit by
//! itself. Also how a decoder reads numbers as the text they are: no amount passes floating point.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::held::Held;
use super::{Framed, Framer, GARBAGE_BYTES_MAX, UNIT_BYTES_MAX};

const TOO_LONG: &str = "an object of more than 4 MiB";
const NO_END: &str = "an object without its end";
const NO_LIST_END: &str = "a list without the end of the object around it";
const GARBAGE: &str = "no JSON object stands here";

/// Bytes that are looked at in one piece: what follows a unit in its piece is copied once.
const PIECE_BYTES: usize = 8 << 10;

/// Bytes that may stand before a file's first byte of worth.
const BYTE_ORDER_MARK: [u8; 3] = *b"\xEF\xBB\xBF";

/// Where the framer stands. What is held begins where the state began, so that reading can resume
/// there and find the state anew.
#[derive(Debug)]
enum State {
    /// Before an object or behind one.
    Between,
    /// Inside of an object.
    Object(Scan),
    /// Behind the bracket that ends a list: the rest of the object around it may follow.
    Tail(Scan),
    /// Inside of bytes that are nothing.
    Garbage,
}

/// How far an object has been read.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    /// Where the present text began, behind its quotation mark.
    text: Option<usize>,
    escaped: bool,
    /// The next text of the outermost object is a member's name.
    name_next: bool,
    named: Named,
    /// A piece of it was refused for its size: its rest is refused too.
    too_long: bool,
}

/// Whether the list's name was read.
#[derive(Debug, Default, PartialEq, Eq)]
enum Named {
    #[default]
    No,
    /// The name was read; a colon must follow.
    Name,
    /// The colon was read; a bracket must follow.
    Colon,
}

/// What a byte did to an object.
enum Found {
    Nothing,
    /// It was the object's last one.
    End,
    /// It began the list.
    List,
}

impl Scan {
    fn byte(&mut self, at: usize, held: &[u8], list: &str) -> Found {
        let byte = held[at];
        if let Some(began) = self.text {
            self.inside_text(byte, &held[began..at], list);
            return Found::Nothing;
        }
        let after_colon = self.named == Named::Colon;
        if self.named != Named::No && !byte.is_ascii_whitespace() {
            self.named = match (byte, &self.named) {
                (b':', Named::Name) => Named::Colon,
                _ => Named::No,
            };
        }
        match byte {
            b'"' => self.text = Some(at + 1),
            b'[' if after_colon => return Found::List,
            b'{' | b'[' => {
                self.depth += 1;
                self.name_next = self.depth == 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Found::End;
                }
            }
            b',' => self.name_next = self.depth == 1,
            b':' => self.name_next = false,
            _ => {}
        }
        Found::Nothing
    }

    fn inside_text(&mut self, byte: u8, text: &[u8], list: &str) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.text = None;
            let is_name = self.name_next && self.depth == 1 && !self.too_long;
            if is_name && text == list.as_bytes() {
                self.named = Named::Name;
            }
        }
    }
}

/// The framer of objects in a list.
#[derive(Debug)]
pub(super) struct ListFramer {
    /// The member of the top object that holds the list, where there is one.
    list: &'static str,
    held: Held,
    /// How many of the bytes held have been looked at.
    seen: usize,
    state: State,
    /// Lists, and objects around them, that have begun and not ended.
    open: usize,
    /// Something of worth was read, or stands before the first byte.
    any: bool,
    first: u64,
}

impl ListFramer {
    /// Makes a framer whose first byte stands at the offset `start`: 0 or the end of an object.
    pub(super) fn new(list: &'static str, start: u64) -> Self {
        let held = Held::new(start);
        let (state, any) = (State::Between, start > 0);
        Self { list, held, seen: 0, state, open: 0, any, first: start }
    }

    /// Looks at the next byte that nobody has looked at.
    fn step(&mut self) -> Option<Framed> {
        let byte = self.held.bytes()[self.seen];
        match &mut self.state {
            State::Between => self.between(byte),
            State::Object(scan) => {
                let found = scan.byte(self.seen, self.held.bytes(), self.list);
                let too_long = scan.too_long;
                self.seen += 1;
                match found {
                    Found::Nothing => return None,
                    Found::List => {
                        self.open += 2;
                        self.let_go();
                        return None;
                    }
                    Found::End => {}
                }
                self.state = State::Between;
                Some(if too_long { self.refuse(TOO_LONG) } else { self.unit() })
            }
            State::Tail(_) => self.tail(byte),
            State::Garbage if matches!(byte, b'{' | b'[' | b']') => {
                self.state = State::Between;
                Some(self.refuse(GARBAGE))
            }
            State::Garbage => {
                self.seen += 1;
                None
            }
        }
    }

    fn between(&mut self, byte: u8) -> Option<Framed> {
        self.seen += 1;
        match byte {
            b'{' => {
                (self.any, self.seen) = (true, self.seen - 1);
                self.state = State::Object(Scan::default());
            }
            b']' => self.state = State::Tail(Scan::default()),
            b'[' => {
                self.any = true;
                self.open += 1;
                self.let_go();
            }
            b',' => self.let_go(),
            _ if byte.is_ascii_whitespace() => self.let_go(),
            _ if self.in_byte_order_mark() => {
                if self.seen == BYTE_ORDER_MARK.len() {
                    self.let_go();
                }
            }
            _ => {
                self.any = true;
                self.state = State::Garbage;
            }
        }
        None
    }

    fn in_byte_order_mark(&self) -> bool {
        self.first == 0
            && self.held.start() == 0
            && BYTE_ORDER_MARK.starts_with(&self.held.bytes()[..self.seen])
    }

    /// Reads behind a list's end: the rest of the object around it, or nothing that belongs to it.
    fn tail(&mut self, byte: u8) -> Option<Framed> {
        let State::Tail(scan) = &mut self.state else { return None };
        if scan.depth == 0 {
            match byte {
                _ if byte.is_ascii_whitespace() => self.seen += 1,
                b',' => {
                    scan.depth = 1;
                    self.seen += 1;
                }
                b'}' => {
                    self.seen += 1;
                    self.close(2);
                }
                _ => self.close(1),
            }
            return None;
        }
        let found = scan.byte(self.seen, self.held.bytes(), "");
        self.seen += 1;
        if matches!(found, Found::End) {
            self.close(2);
        }
        None
    }

    fn close(&mut self, levels: usize) {
        self.open = self.open.saturating_sub(levels);
        self.let_go();
    }

    /// Forgets the bytes looked at: they belong to no unit.
    fn let_go(&mut self) {
        drop(self.held.take(self.seen));
        (self.seen, self.state) = (0, State::Between);
    }

    fn unit(&mut self) -> Framed {
        let unit = self.held.take(self.seen);
        self.seen = 0;
        Framed::Unit(unit)
    }

    fn refuse(&mut self, reason: &str) -> Framed {
        let refused = self.held.refuse(self.seen, reason);
        self.seen = 0;
        refused
    }

    /// Refuses what has grown beyond its bound.
    fn overflow(&mut self) -> Option<Framed> {
        match &mut self.state {
            State::Object(scan) | State::Tail(scan) if self.seen >= UNIT_BYTES_MAX => {
                scan.too_long = true;
                scan.named = Named::No;
                if scan.text.is_some() {
                    scan.text = Some(0);
                }
                Some(self.refuse(TOO_LONG))
            }
            State::Garbage if self.seen >= GARBAGE_BYTES_MAX => Some(self.refuse(GARBAGE)),
            State::Between | State::Object(_) | State::Tail(_) | State::Garbage => None,
        }
    }
}

impl Framer for ListFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        let mut found = Vec::new();
        for piece in chunk.chunks(PIECE_BYTES) {
            self.held.extend(piece);
            while self.seen < self.held.len() {
                found.extend(self.step());
                found.extend(self.overflow());
            }
        }
        found
    }

    fn finish(&mut self) -> Option<Framed> {
        let reason = match &self.state {
            State::Between => GARBAGE,
            State::Object(scan) if scan.too_long => TOO_LONG,
            State::Object(_) => NO_END,
            State::Tail(scan) if scan.depth == 0 && self.open <= 1 => {
                self.close(1);
                return None;
            }
            State::Tail(_) => NO_LIST_END,
            State::Garbage => GARBAGE,
        };
        if self.held.len() == 0 {
            return None;
        }
        self.state = State::Between;
        Some(self.refuse(reason))
    }

    fn position(&self) -> u64 {
        self.held.start()
    }

    fn complete(&self) -> bool {
        match &self.state {
            State::Between => self.any && self.open == 0 && self.held.len() == 0,
            State::Tail(scan) => self.any && self.open <= 1 && scan.depth == 0,
            State::Object(_) | State::Garbage => false,
        }
    }
}

/// Returns a number or a text as it stands, without quotation marks; nothing where it is `null`, a
/// list, an object, or a text that holds escapes.
pub(super) fn plain(raw: &RawValue) -> Option<&str> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'"' => text.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\')),
        b'-' | b'0'..=b'9' => Some(text),
        _ => None,
    }
}

/// Returns a whole number that may stand in quotation marks.
pub(super) fn whole(raw: &RawValue) -> Option<u64> {
    plain(raw)?.parse().ok()
}

/// Returns the JSON document that a member holds: as it stands, or as a text.
pub(super) fn document(raw: &RawValue) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    let text = raw.get();
    if text == "null" {
        return Ok(None);
    }
    if !text.starts_with('"') {
        return Ok(Some(Cow::Borrowed(text)));
    }
    let inner: String = serde_json::from_str(text)?;
    Ok((!inner.trim().is_empty()).then_some(Cow::Owned(inner)))
}

/// Tells whether a unit is an object without members: what some services answer where there is
/// nothing to tell.
pub(super) fn is_empty_object(bytes: &[u8]) -> bool {
    let inner = bytes.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str, sizes: usize) -> (Vec<String>, bool) {
        let mut framer = ListFramer::new("orders", 0);
        let mut found = Vec::new();
        for chunk in text.as_bytes().chunks(sizes) {
            found.extend(framer.push(chunk));
        }
        let complete = framer.complete();
        found.extend(framer.finish());
        let told = |framed| match framed {
            Framed::Unit(unit) => String::from_utf8_lossy(&unit.bytes).into_owned(),
            Framed::Refused { unit, reason } => {
                format!("{reason}: {}", String::from_utf8_lossy(&unit.bytes))
            }
        };
        (found.into_iter().map(told).collect(), complete)
    }

    #[test]
    fn objects_are_cut_out_of_whatever_holds_them() {
        for (text, units, complete) in [
            (r#"[{"a":1},{"b":[{}]}]"#, vec![r#"{"a":1}"#, r#"{"b":[{}]}"#], true),
            ("[]\n", vec![], true),
            (
                r#"{"orders":[{"a":"}]\""},{}],"cursor":"x]}"} "#,
                vec![r#"{"a":"}]\""}"#, "{}"],
                true,
            ),
            (r#"{"cursor":{"orders":[{}]},"orders" : [{"a":1}]}"#, vec![r#"{"a":1}"#], true),
            (r#"{"a":"orders","b":[{}]}"#, vec![r#"{"a":"orders","b":[{}]}"#], true),
            (r#"{"orders":{"a":1}}"#, vec![r#"{"orders":{"a":1}}"#], true),
            ("{}", vec!["{}"], true),
            ("\u{feff}[{}]", vec!["{}"], true),
            (r#"[{"a":1},"#, vec![r#"{"a":1}"#], false),
            (r#"[{"a":1},{"b"#, vec![r#"{"a":1}"#, "an object without its end: {\"b"], false),
            ("", vec![], false),
            ("[1,{}]", vec!["no JSON object stands here: 1,", "{}"], true),
            ("<html>", vec!["no JSON object stands here: <html>"], false),
            (
                r#"{"orders":[{}],"x":"#,
                vec!["{}", "a list without the end of the object around it: ],\"x\":"],
                false,
            ),
        ] {
            for sizes in [1, 2, 3, 7, 1000] {
                let (found, whole) = cut(text, sizes);
                assert_eq!(
                    (found, whole),
                    (units.iter().map(|it| (*it).to_owned()).collect(), complete),
                    "{text} by {sizes}"
                );
            }
        }
    }

    #[test]
    fn an_object_that_is_too_long_is_refused_whole_and_the_next_one_is_read() {
        let inner = r#"{"orders":[1]},"#.repeat(UNIT_BYTES_MAX / 10);
        let text =
            format!(r#"[{{"list":[{inner}0],"text":"{}"}},{{"a":1}}]"#, "}".repeat(UNIT_BYTES_MAX));
        let mut framer = ListFramer::new("orders", 0);
        let found = framer.push(text.as_bytes());
        let refused: usize = found[..found.len() - 1]
            .iter()
            .map(|framed| match framed {
                Framed::Refused { unit, .. } => unit.bytes.len(),
                Framed::Unit(unit) => panic!("a unit at {}", unit.start),
            })
            .sum();
        assert!(refused > 2 * UNIT_BYTES_MAX && found.len() < 8);
        assert!(
            matches!(&found[found.len() - 1], Framed::Unit(unit) if unit.bytes == br#"{"a":1}"#)
        );
        assert!(framer.complete());
    }

    proptest! {
        #[test]
        fn any_bytes_give_the_same_pieces_however_they_are_split(
            text in r#"([\[\]{},:" \\a]|orders|"orders":\[){0,60}"#, size in 1_usize..9,
        ) {
            prop_assert_eq!(cut(&text, size), cut(&text, 1000));
        }
    }
}
