//! What stands on the paper: the lines of text of a byte stream and the data of its QR codes. Pure.
//! Bytes are read one by one with the code page of their moment, since tills change it inside words.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Language, Lexer, Token};
use super::pages::CodePage;

/// QR codes of one receipt that are kept.
const SYMBOLS_MAX: usize = 16;

/// Characters between two tab stops at power-on.
const TAB_CHARS: usize = 8;

/// A printer: its language and what it means by the numbers of code pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printer {
    pub(super) language: Language,
    pub(super) pages: BTreeMap<u8, CodePage>,
    /// The page after power-on and `ESC @`.
    pub(super) default_page: CodePage,
    /// What characters that the till draws itself are, where that is known.
    pub(super) drawn: BTreeMap<u8, char>,
}

/// What of a stream was printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printout {
    /// Its lines, blanks at their ends cut.
    pub lines: Vec<String>,
    /// What its QR codes hold.
    pub symbols: Vec<Vec<u8>>,
    /// The first thing that could not be read for certain.
    pub fault: Option<PrintFault>,
}

/// Why a printout is not certain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrintFault {
    /// A command is not known: what follows it may be parameters or text.
    #[error("an unknown printer command ends at byte {at}")]
    Command {
        /// Where, within the bytes.
        at: usize,
    },
    /// A character beyond ASCII was printed in a page whose meaning is not known.
    #[error("a character at byte {at} stands in code page {page}, which has no meaning here")]
    Page {
        /// Where, within the bytes.
        at: usize,
        /// The page's number.
        page: u8,
    },
    /// A byte has no character in its page.
    #[error("byte {at} has no character in its code page")]
    Character {
        /// Where, within the bytes.
        at: usize,
    },
    /// A character that the till drew itself was printed.
    #[error("the character {byte:#04X} at byte {at} is one that the till drew itself")]
    Drawn {
        /// Where, within the bytes.
        at: usize,
        /// Which.
        byte: u8,
    },
    /// The printer printed what it keeps itself: a counter, a macro.
    #[error("the command that ends at byte {at} prints what only the printer knows")]
    Kept {
        /// Where, within the bytes.
        at: usize,
    },
    /// The bytes end inside of a command.
    #[error("it ends inside of a printer command")]
    Unfinished,
}

/// A national set: what stands in twelve places of ASCII.
#[derive(Debug, Clone, Copy)]
enum National {
    Usa,
    Germany,
    Unknown(u8),
}

/// How bytes become characters.
#[derive(Debug)]
enum Encoding {
    /// One byte each, by the code page.
    Table,
    /// UTF-8; what of a character has come.
    Utf8(Vec<u8>),
    Unknown,
}

struct Press<'a> {
    printer: &'a Printer,
    page: Result<CodePage, u8>,
    national: National,
    encoding: Encoding,
    /// Characters that the till drew, and whether they stand in place of the printer's own.
    drawn: BTreeSet<u8>,
    drawings: bool,
    line: String,
    out: Printout,
}

impl Printer {
    /// Makes an Epson, as most tills have it.
    pub fn epson() -> Self {
        use CodePage as P;
        let pages = [
            (0, P::Cp437),
            (1, P::Katakana),
            (2, P::Cp850),
            (3, P::Cp860),
            (4, P::Cp863),
            (5, P::Cp865),
            (13, P::Cp857),
            (14, P::Cp737),
            (15, P::Iso8859_7),
            (16, P::Cp1252),
            (17, P::Cp866),
            (18, P::Cp852),
            (19, P::Cp858),
            (21, P::Cp874),
            (30, P::Tcvn3),
            (31, P::Tcvn3Capitals),
            (32, P::Cp720),
            (33, P::Cp775),
            (34, P::Cp855),
            (35, P::Cp861),
            (36, P::Cp862),
            (37, P::Cp864),
            (38, P::Cp869),
            (39, P::Iso8859_2),
            (40, P::Iso8859_15),
            (42, P::Cp774),
            (43, P::Cp772),
            (44, P::Cp1125),
            (45, P::Cp1250),
            (46, P::Cp1251),
            (47, P::Cp1253),
            (48, P::Cp1254),
            (49, P::Cp1255),
            (50, P::Cp1256),
            (51, P::Cp1257),
            (52, P::Cp1258),
            (53, P::Kz1048),
        ];
        Self::of(Language::EscPos, &pages)
    }

    /// Makes a Citizen: Epson's commands, other numbers.
    pub fn citizen() -> Self {
        use CodePage as P;
        let pages = [
            (0, P::Cp437),
            (2, P::Cp850),
            (3, P::Cp860),
            (4, P::Cp863),
            (5, P::Cp865),
            (6, P::Cp852),
            (7, P::Cp866),
            (8, P::Cp857),
            (9, P::Cp1252),
            (16, P::Cp1252),
            (17, P::Cp866),
            (18, P::Cp852),
            (19, P::Cp858),
        ];
        Self::of(Language::EscPos, &pages)
    }

    /// Makes a Star in line mode.
    pub fn star() -> Self {
        use CodePage as P;
        let pages = [
            (0, P::Cp437),
            (1, P::Cp437),
            (3, P::Cp437),
            (4, P::Cp858),
            (5, P::Cp852),
            (6, P::Cp860),
            (8, P::Cp863),
            (9, P::Cp865),
            (10, P::Cp866),
            (12, P::Cp857),
            (15, P::Cp737),
            (32, P::Cp1252),
            (33, P::Cp1250),
        ];
        Self::of(Language::StarLine, &pages)
    }

    fn of(language: Language, pages: &[(u8, CodePage)]) -> Self {
        let pages = pages.iter().copied().collect();
        Self { language, pages, default_page: CodePage::Cp437, drawn: BTreeMap::new() }
    }
}

/// Prints a stream.
pub fn print(bytes: &[u8], printer: &Printer) -> Printout {
    let mut lexer = Lexer::new(printer.language);
    let mut press = Press::new(printer);
    for (at, &byte) in bytes.iter().enumerate() {
        if let Some(token) = lexer.push(byte) {
            press.take(token, at);
        }
    }
    press.end_begun_character(bytes.len());
    press.end_begun_line();
    if !lexer.at_rest() {
        press.fault(PrintFault::Unfinished);
    }
    press.out
}

impl<'a> Press<'a> {
    fn new(printer: &'a Printer) -> Self {
        Self {
            printer,
            page: Ok(printer.default_page),
            national: National::Usa,
            encoding: Encoding::Table,
            drawn: BTreeSet::new(),
            drawings: false,
            line: String::new(),
            out: Printout::default(),
        }
    }

    /// Forgets all that was set: what is printed stays.
    fn reset(&mut self) {
        let fresh = Self::new(self.printer);
        let out = std::mem::take(&mut self.out);
        *self = Self { out, ..fresh };
    }

    fn take(&mut self, token: Token, at: usize) {
        if !matches!(token, Token::Text(0x80..)) {
            self.end_begun_character(at);
        }
        match token {
            Token::Text(byte) => self.text(byte, at),
            Token::Line => self.end_line(),
            Token::Feed | Token::Cut => self.end_begun_line(),
            Token::Tab => {
                let stop = TAB_CHARS - self.line.chars().count() % TAB_CHARS;
                self.line.extend(std::iter::repeat_n(' ', stop));
            }
            Token::Gap => {
                if !self.line.is_empty() && !self.line.ends_with(' ') {
                    self.line.push(' ');
                }
            }
            Token::Reset => {
                self.end_begun_line();
                self.reset();
            }
            Token::Page(number) => {
                self.page = self.printer.pages.get(&number).copied().ok_or(number);
            }
            Token::National(number) => {
                self.national = match number {
                    0 => National::Usa,
                    2 => National::Germany,
                    other => National::Unknown(other),
                };
            }
            Token::Encoding(number) => {
                self.encoding = match number {
                    1 | b'1' => Encoding::Table,
                    2 | b'2' => Encoding::Utf8(Vec::new()),
                    _ => Encoding::Unknown,
                };
            }
            Token::Drawn(first, last) => self.drawn.extend(first..=last),
            Token::Undrawn(byte) => drop(self.drawn.remove(&byte)),
            Token::Drawings(number) => self.drawings = number & 1 == 1,
            Token::Kept => self.print(Err(PrintFault::Kept { at })),
            Token::Symbol(data) => {
                if self.out.symbols.len() < SYMBOLS_MAX {
                    self.out.symbols.push(data);
                }
            }
            Token::Away | Token::Other => {}
            Token::Unknown => self.fault(PrintFault::Command { at }),
        }
    }

    fn text(&mut self, byte: u8, at: usize) {
        let found = if self.drawings && self.drawn.contains(&byte) {
            let known = self.printer.drawn.get(&byte).copied();
            known.ok_or(PrintFault::Drawn { at, byte })
        } else {
            match &mut self.encoding {
                _ if byte.is_ascii() => nationally(self.national, char::from(byte), at),
                Encoding::Table => self.character(byte, at),
                Encoding::Unknown => Err(PrintFault::Character { at }),
                Encoding::Utf8(begun) => {
                    begun.push(byte);
                    let Some(found) = utf8(begun, at) else { return };
                    begun.clear();
                    found
                }
            }
        };
        self.print(found);
    }

    fn character(&self, byte: u8, at: usize) -> Result<char, PrintFault> {
        match self.page {
            Ok(page) => page.character(byte).ok_or(PrintFault::Character { at }),
            Err(page) => Err(PrintFault::Page { at, page }),
        }
    }

    fn print(&mut self, found: Result<char, PrintFault>) {
        self.line.push(found.as_ref().copied().unwrap_or(char::REPLACEMENT_CHARACTER));
        if let Err(fault) = found {
            self.fault(fault);
        }
    }

    /// A character of UTF-8 that was begun is not whole where anything else follows.
    fn end_begun_character(&mut self, at: usize) {
        let Encoding::Utf8(begun) = &mut self.encoding else { return };
        if !std::mem::take(begun).is_empty() {
            self.print(Err(PrintFault::Character { at }));
        }
    }

    fn end_begun_line(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        self.out.lines.push(self.line.trim_end().to_owned());
        self.line.clear();
    }

    fn fault(&mut self, fault: PrintFault) {
        self.out.fault.get_or_insert(fault);
    }
}

/// Reads a character of UTF-8; nothing where further bytes belong to it.
fn utf8(bytes: &[u8], at: usize) -> Option<Result<char, PrintFault>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().next().map(Ok),
        Err(error) => error.error_len().map(|_| Err(PrintFault::Character { at })),
    }
}

/// Puts a character into a national set: Germany after DIN 66003.
fn nationally(national: National, plain: char, at: usize) -> Result<char, PrintFault> {
    match national {
        National::Usa => Ok(plain),
        National::Germany => Ok(match plain {
            '@' => '§',
            '[' => 'Ä',
            '\\' => 'Ö',
            ']' => 'Ü',
            '{' => 'ä',
            '|' => 'ö',
            '}' => 'ü',
            '~' => 'ß',
            other => other,
        }),
        National::Unknown(page) if "#$@[\\]^`{|}~".contains(plain) => {
            Err(PrintFault::Page { at, page })
        }
        National::Unknown(_) => Ok(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let out = print(bytes, &Printer::epson());
        assert_eq!(out.fault, None);
        out.lines
    }

    #[test]
    fn a_code_page_may_change_inside_a_word() {
        assert_eq!(lines(b"fl\x1Bt\x02\x9Bde K\x1Bt\x10\xF6ln \x1Bt\x13\xD5\n"), ["fløde Köln €"]);
    }

    #[test]
    fn the_german_set_replaces_eight_places_and_a_reset_takes_it_back() {
        assert_eq!(lines(b"\x1BR\x02K{SE [\\]|}~@\n\x1B@{\n"), ["KäSE ÄÖÜöüß§", "{"]);
    }

    #[test]
    fn the_page_of_power_on_holds_until_another_is_chosen_and_after_a_reset() {
        assert_eq!(lines(b"\x81\n\x1Bt\x10\xFC\n\x1B@\x81\n"), ["ü", "ü", "ü"]);
        let printer = Printer { default_page: CodePage::Cp1252, ..Printer::epson() };
        assert_eq!(print(b"\xFC\n", &printer).lines, ["ü"]);
    }

    #[test]
    fn what_moves_the_print_position_parts_words() {
        assert_eq!(lines(b"MILCH\x1B$\x40\x010,99 B\nA\tB\n"), ["MILCH 0,99 B", "A       B"]);
        assert_eq!(lines(b"one\x1Bd\x03two\x1DV\x00"), ["one", "two"]);
    }

    #[test]
    fn a_till_may_print_utf8() {
        let bytes = b"\x1C(C\x02\x0002\xE2\x82\xAC K\xC3\xA4se\n\x1C(C\x02\x0001\x84\n";
        assert_eq!(lines(bytes), ["€ Käse", "ä"]);
    }

    #[test]
    fn what_a_till_draws_itself_is_what_the_settings_say_until_it_is_taken_back() {
        let printer = Printer { drawn: [(b'$', '€')].into(), ..Printer::epson() };
        let bytes = b"$\x1B&\x01$$\x01a$\x1B%\x01$\x1B%\x00$\x1B%\x01$\x1B?$$\n";
        let out = print(bytes, &printer);
        assert_eq!((out.lines, out.fault), (vec!["$$€$€$".to_owned()], None));
        assert_eq!(lines(b"\x1B&\x01$$\x01a\x1B%\x01\x1B@$\n"), ["$"]);
    }

    #[test]
    fn what_cannot_be_read_for_certain_is_told() {
        for (bytes, fault) in [
            (b"\x1B~x\n".as_slice(), PrintFault::Command { at: 1 }),
            (b"\x1Bt\x63\x81\n", PrintFault::Page { at: 3, page: 99 }),
            (b"\x1BR\x01[\n", PrintFault::Page { at: 3, page: 1 }),
            (b"\x1Bt\x10\x81\n", PrintFault::Character { at: 3 }),
            (b"text\x1Bt", PrintFault::Unfinished),
            (b"\x1C(C\x02\x0002\xE2\x82x\n", PrintFault::Character { at: 9 }),
            (b"\x1C(C\x02\x0002\xE2\x82", PrintFault::Character { at: 9 }),
            (b"\x1C(C\x02\x0009\xE4\n", PrintFault::Character { at: 7 }),
            (b"No.\x1Dc\n", PrintFault::Kept { at: 4 }),
            (b"\x1B&\x01DD\x01a\x1B%\x01ABCD\n", PrintFault::Drawn { at: 13, byte: b'D' }),
        ] {
            assert_eq!(print(bytes, &Printer::epson()).fault, Some(fault));
        }
        assert_eq!(print(b"\x1Bt\x63plain\n", &Printer::epson()).fault, None);
    }
}
