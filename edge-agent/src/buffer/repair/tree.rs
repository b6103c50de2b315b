//! Records on the pages of a database: which page belongs to which table, and what its cells hold.
//! Pure but for the pages that it asks for; what does not fit the format is skipped, never guessed.
//! Format: `https://sqlite.org/fileformat2.html`, sections 1.5, 1.6 and 2.1.

use std::collections::BTreeSet;

use rusqlite::types::Value;

use super::pages::{PAGE_BYTES, RESERVED_BYTES};

const USABLE: usize = PAGE_BYTES - RESERVED_BYTES;
/// Bytes before the tree on page 1.
const FILE_HEAD_BYTES: usize = 100;

/// What kind of page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Leaves of a table with row numbers.
    TableLeaf,
    /// What leads to them; it holds no rows.
    TableInner,
    /// Leaves of an index, or of a table that is one.
    IndexLeaf,
    /// What leads to them; each cell is a row, too.
    IndexInner,
}

/// One row: its number, where the table has them, and its columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) number: Option<i64>,
    pub(super) values: Vec<Value>,
}

/// A page of a tree.
pub(super) struct Node<'a> {
    bytes: &'a [u8],
    head: usize,
    kind: Kind,
}

/// Gives the content of pages that verify.
pub(super) trait Give {
    /// Returns a page as it was written last; nothing where that is damaged. Pages of different times
    /// put together would make a row that never was.
    fn give(&self, number: u32) -> Option<Vec<u8>>;
}

/// No page at all: of a page that is out of date, the pages that it names may hold something else now.
pub(super) struct Nothing;

impl Give for Nothing {
    fn give(&self, _: u32) -> Option<Vec<u8>> {
        None
    }
}

impl<'a> Node<'a> {
    /// Reads a page as one of a tree; nothing where it is none.
    pub(super) fn of(bytes: &'a [u8], number: u32) -> Option<Self> {
        let head = if number == 1 { FILE_HEAD_BYTES } else { 0 };
        let kind = match bytes.get(head)? {
            0x0d => Kind::TableLeaf,
            0x05 => Kind::TableInner,
            0x0a => Kind::IndexLeaf,
            0x02 => Kind::IndexInner,
            _ => return None,
        };
        Some(Self { bytes, head, kind })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the pages below this one.
    pub(super) fn children(&self) -> Vec<u32> {
        if matches!(self.kind, Kind::TableLeaf | Kind::IndexLeaf) {
            return Vec::new();
        }
        let lefts = self.cells().filter_map(|at| word(self.bytes, at));
        lefts.chain(word(self.bytes, self.head + 8)).filter(|&child| child > 0).collect()
    }

    /// Returns the rows that can be read whole, and how many cannot.
    pub(super) fn records(&self, pages: &impl Give) -> (Vec<Record>, u64) {
        let (mut found, mut lost) = (Vec::new(), 0);
        if self.kind == Kind::TableInner {
            return (found, lost);
        }
        for at in self.cells() {
            match self.record(at, pages) {
                Some(record) => found.push(record),
                None => lost += 1,
            }
        }
        (found, lost)
    }

    fn cells(&self) -> impl Iterator<Item = usize> + '_ {
        let inner = matches!(self.kind, Kind::TableInner | Kind::IndexInner);
        let pointers = self.head + if inner { 12 } else { 8 };
        let count = half(self.bytes, self.head + 3).unwrap_or(0);
        (0..count).filter_map(move |cell| half(self.bytes, pointers + 2 * cell))
    }

    fn record(&self, mut at: usize, pages: &impl Give) -> Option<Record> {
        if self.kind == Kind::IndexInner {
            at += 4;
        }
        let length = usize::try_from(varint(self.bytes, &mut at)?).ok()?;
        let is_table = self.kind == Kind::TableLeaf;
        let number = if is_table { Some(varint(self.bytes, &mut at)?.cast_signed()) } else { None };
        let local = local_bytes(length, is_table);
        let mut payload = self.bytes.get(at..at.checked_add(local)?)?.to_vec();
        if local < length {
            let mut next = word(self.bytes, at + local)?;
            let mut seen = BTreeSet::new();
            while payload.len() < length {
                // A chain that bites its own tail is none.
                if next == 0 || !seen.insert(next) {
                    return None;
                }
                let page = pages.give(next)?;
                let most = (length - payload.len()).min(USABLE - 4);
                payload.extend(page.get(4..4 + most)?);
                next = word(&page, 0)?;
            }
        }
        Some(Record { number, values: values(&payload)? })
    }
}

/// Returns the pages of the list of free ones, as far as it can be read.
pub(super) fn free_pages(first: &[u8], pages: &impl Give) -> BTreeSet<u32> {
    let mut free = BTreeSet::new();
    let mut trunk = word(first, 32).unwrap_or(0);
    while trunk > 0 && free.insert(trunk) {
        let Some(page) = pages.give(trunk) else { break };
        let leaves = word(&page, 4).map_or(0, |count| (count as usize).min(USABLE / 4 - 2));
        free.extend((0..leaves).filter_map(|leaf| word(&page, 8 + 4 * leaf)));
        trunk = word(&page, 0).unwrap_or(0);
    }
    free
}

/// Returns how many bytes of a payload lie on its own page.
fn local_bytes(length: usize, is_table: bool) -> usize {
    let most = if is_table { USABLE - 35 } else { (USABLE - 12) * 64 / 255 - 23 };
    if length <= most {
        return length;
    }
    let least = (USABLE - 12) * 32 / 255 - 23;
    let wanted = least + (length - least) % (USABLE - 4);
    if wanted <= most { wanted } else { least }
}

fn values(payload: &[u8]) -> Option<Vec<Value>> {
    let mut at = 0;
    let head = usize::try_from(varint(payload, &mut at)?).ok()?;
    let mut body = head;
    let mut found = Vec::new();
    while at < head {
        let kind = varint(payload, &mut at)?;
        found.push(value(payload, kind, &mut body)?);
    }
    (at == head).then_some(found)
}

fn value(payload: &[u8], kind: u64, at: &mut usize) -> Option<Value> {
    let length = match kind {
        0 | 8 | 9 => 0,
        1..=4 => usize::try_from(kind).ok()?,
        5 => 6,
        6 => 8,
        // A number with a fraction, or a kind of the future: our tables hold none.
        7 | 10 | 11 => return None,
        12.. => usize::try_from((kind - 12) / 2).ok()?,
    };
    let bytes = payload.get(*at..at.checked_add(length)?)?;
    *at += length;
    Some(match kind {
        0 => Value::Null,
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        1..=6 => Value::Integer(signed(bytes)),
        _ if kind.is_multiple_of(2) => Value::Blob(bytes.to_vec()),
        _ => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
    })
}

/// Reads a signed number of one to eight bytes, the highest first.
fn signed(bytes: &[u8]) -> i64 {
    let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [fill; 8];
    whole[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_be_bytes(whole)
}

/// Reads a number of one to nine bytes, seven bits each, the highest first; the ninth has eight.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if place == 8 {
            return Some(number << 8 | u64::from(byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let found = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_be_bytes([found[0], found[1]])))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let found = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([found[0], found[1], found[2], found[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read() {
        for (bytes, want) in [
            (vec![0x00], Some(0)),
            (vec![0x7f], Some(127)),
            (vec![0x81, 0x00], Some(128)),
            (vec![0xff; 9], Some(u64::MAX)),
            (vec![0x81], None),
            (vec![], None),
        ] {
            assert_eq!(varint(&bytes, &mut 0), want, "{bytes:?}");
        }
        assert_eq!((signed(&[0xff]), signed(&[0x01, 0x00]), signed(&[])), (-1, 256, 0));
    }

    #[test]
    fn a_record_is_read_or_refused_whole() {
        // A head of five bytes; nothing, 1, two bytes of a number, a text of two letters.
        let record = [5, 0, 9, 2, 17, 0x01, 0x02, b'a', b'b'];
        let want = [Value::Null, Value::Integer(1), Value::Integer(258), Value::Text("ab".into())];
        assert_eq!(values(&record).unwrap(), want);
        for cut in 0..record.len() {
            assert_eq!(values(&record[..cut]), None, "{cut} bytes");
        }
        assert_eq!(values(&[2, 7, 0, 0, 0, 0, 0, 0, 0, 0]), None, "a fraction");
    }

    #[test]
    fn pages_of_nonsense_end_without_a_record() {
        let mut state = 7_u64;
        for kind in [0x0d, 0x05, 0x0a, 0x02, 0x00] {
            for _ in 0..200 {
                let mut page: Vec<u8> = (0..PAGE_BYTES)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        state.to_be_bytes()[0]
                    })
                    .collect();
                page[0] = kind;
                if let Some(node) = Node::of(&page, 2) {
                    assert!(node.children().len() <= PAGE_BYTES * 16);
                    let (found, lost) = node.records(&Nothing);
                    assert!(found.len() as u64 + lost <= 65_535);
                }
                assert!(free_pages(&page, &Nothing).len() <= 1);
            }
        }
    }
}
