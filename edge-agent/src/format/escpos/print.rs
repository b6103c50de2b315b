//! What stands on the paper: the lines of text of a byte stream and the data of its QR codes. Pure.
//! Bytes are read one by one with the code page of their moment, since tills change it inside words.

use std::collections::BTreeMap;

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

struct Press<'a> {
    printer: &'a Printer,
    page: Result<CodePage, u8>,
    national: National,
    line: String,
    out: Printout,
}

impl Printer {
    /// Makes an Epson, as most tills have it.
    pub fn epson() -> Self {
        use CodePage as P;
        let pages = [
            (0, P::Cp437),
            (2, P::Cp850),
            (3, P::Cp860),
            (4, P::Cp863),
            (5, P::Cp865),
            (13, P::Cp857),
            (14, P::Cp737),
            (16, P::Cp1252),
            (17, P::Cp866),
            (18, P::Cp852),
            (19, P::Cp858),
            (33, P::Cp775),
            (40, P::Iso8859_15),
            (45, P::Cp1250),
        ];
        Self { language: Language::EscPos, pages: pages.into(), default_page: P::Cp437 }
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
        Self { language: Language::EscPos, pages: pages.into(), default_page: P::Cp437 }
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
        Self { language: Language::StarLine, pages: pages.into(), default_page: P::Cp437 }
    }
}

/// Prints a stream.
pub fn print(bytes: &[u8], printer: &Printer) -> Printout {
    let mut lexer = Lexer::new(printer.language);
    let page = Ok(printer.default_page);
    let (national, out) = (National::Usa, Printout::default());
    let mut press = Press { printer, page, national, line: String::new(), out };
    for (at, &byte) in bytes.iter().enumerate() {
        if let Some(token) = lexer.push(byte) {
            press.take(token, at);
        }
    }
    press.end_begun_line();
    if !lexer.at_rest() {
        press.fault(PrintFault::Unfinished);
    }
    press.out
}

impl Press<'_> {
    fn take(&mut self, token: Token, at: usize) {
        match token {
            Token::Text(byte) => self.character(byte, at),
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
                (self.page, self.national) = (Ok(self.printer.default_page), National::Usa);
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
            Token::Symbol(data) => {
                if self.out.symbols.len() < SYMBOLS_MAX {
                    self.out.symbols.push(data);
                }
            }
            Token::Other => {}
            Token::Unknown => self.fault(PrintFault::Command { at }),
        }
    }

    fn character(&mut self, byte: u8, at: usize) {
        let page = if byte.is_ascii() { Ok(CodePage::Cp437) } else { self.page };
        let found = match page {
            Ok(page) => page.character(byte).ok_or(PrintFault::Character { at }),
            Err(page) => Err(PrintFault::Page { at, page }),
        };
        let found = found.and_then(|plain| {
            nationally(self.national, plain).map_err(|page| PrintFault::Page { at, page })
        });
        match found {
            Ok(character) => self.line.push(character),
            Err(fault) => {
                self.line.push(char::REPLACEMENT_CHARACTER);
                self.fault(fault);
            }
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

/// Puts a character into a national set: Germany after DIN 66003.
fn nationally(national: National, plain: char) -> Result<char, u8> {
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
        National::Unknown(number) if "#$@[\\]^`{|}~".contains(plain) => Err(number),
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
    fn what_cannot_be_read_for_certain_is_told() {
        for (bytes, fault) in [
            (b"\x1B~x\n".as_slice(), PrintFault::Command { at: 1 }),
            (b"\x1Bt\x63\x81\n", PrintFault::Page { at: 3, page: 99 }),
            (b"\x1BR\x01[\n", PrintFault::Page { at: 3, page: 1 }),
            (b"\x1Bt\x10\x81\n", PrintFault::Character { at: 3 }),
            (b"text\x1Bt", PrintFault::Unfinished),
        ] {
            assert_eq!(print(bytes, &Printer::epson()).fault, Some(fault));
        }
        assert_eq!(print(b"\x1Bt\x63plain\n", &Printer::epson()).fault, None);
    }
}
