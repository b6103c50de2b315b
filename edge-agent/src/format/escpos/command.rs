//! Finds where a printer's commands begin and end, byte by byte, so that their parameters are never
//! taken for text. Pure; holds the data of a symbol and nothing else: images are counted, not kept.
//!
//! The commands themselves stand in [`super::epson`] and [`super::star`].

use super::{epson, star};

pub(super) const ESC: u8 = 0x1B;
pub(super) const GS: u8 = 0x1D;
pub(super) const FS: u8 = 0x1C;
pub(super) const DLE: u8 = 0x10;

/// Bytes of data that a command may announce: more than an image as wide as the paper and a metre
/// long. What announces more is no command of a receipt.
const DATA_BYTES_MAX: usize = 1 << 20;

/// Bytes of a symbol: the largest QR code holds 7,089 digits.
pub(super) const SYMBOL_BYTES_MAX: usize = 7089;

/// Bytes of a barcode or a list that only an end mark closes.
const LIST_BYTES_MAX: usize = 255;

/// Horizontal tab stops that one command may set.
const TABS_MAX: usize = 32;

/// How a printer understands its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// Epson's ESC/POS, which most makers follow.
    EscPos,
    /// Star's own line mode.
    StarLine,
}

/// What the bytes so far complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A byte of text.
    Text(u8),
    /// The line ends.
    Line,
    /// Paper moves: a line that has begun ends.
    Feed,
    /// The next tab stop.
    Tab,
    /// The next text stands elsewhere on the line.
    Gap,
    /// All settings are what they are at power-on.
    Reset,
    /// The paper is cut.
    Cut,
    /// Code page by number.
    Page(u8),
    /// National set by number.
    National(u8),
    /// One byte a character, or UTF-8: by number.
    Encoding(u8),
    /// Characters of the till's own are drawn, from the first to the last.
    Drawn(u8, u8),
    /// A drawn character is forgotten.
    Undrawn(u8),
    /// Whether drawn characters are printed in place of the printer's own: the lowest bit.
    Drawings(u8),
    /// The printer prints what only it knows: a counter, a macro.
    Kept,
    /// What follows goes to another device at the same line, until the printer is chosen again.
    Away,
    /// What a QR code holds.
    Symbol(Vec<u8>),
    /// A command without a text or an end of its own.
    Other,
    /// A command that is not known; bytes up to the next line feed are skipped.
    Unknown,
}

/// What follows the bytes of a command read so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// At least one further byte decides.
    More,
    /// Nothing: the command is complete.
    Done(Token),
    /// So many bytes of data.
    Data(usize),
    /// So many bytes of a symbol.
    Symbol(usize),
    /// Data up to this byte.
    Until(u8),
    /// Rising tab stops up to a zero.
    Tabs,
    /// Characters of the till's own: their height in bytes, the first and the last.
    Glyphs(usize, u8, u8),
    /// Which devices take what follows: the printer by the lowest bit.
    Device(u8),
    /// So many images, each with its own size.
    Images(usize),
    /// Star's raster mode begins or ends.
    Raster(Mode),
    /// No command known.
    Unknown,
}

/// Whether bytes are text or rows of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Text.
    Text,
    /// Rows.
    Raster,
}

#[derive(Debug)]
enum State {
    Ground,
    Head,
    Data(usize),
    Symbol(usize, Vec<u8>),
    Until(u8, usize),
    Tabs(usize, u8),
    Glyphs { height: usize, range: (u8, u8), left: usize, data: usize },
    Away(usize),
    Images { left: usize, data: usize },
    Lost,
}

/// The reader of commands.
#[derive(Debug)]
pub(super) struct Lexer {
    language: Language,
    mode: Mode,
    state: State,
    head: Vec<u8>,
}

impl Lexer {
    /// Stands between two commands.
    pub(super) fn new(language: Language) -> Self {
        Self { language, mode: Mode::Text, state: State::Ground, head: Vec::new() }
    }

    /// Returns true where no command is begun.
    pub(super) fn at_rest(&self) -> bool {
        matches!(self.state, State::Ground | State::Lost | State::Away(_))
    }

    /// Returns true where bytes go to another device.
    pub(super) fn away(&self) -> bool {
        matches!(self.state, State::Away(_))
    }

    /// Takes a byte and returns what it completes.
    pub(super) fn push(&mut self, byte: u8) -> Option<Token> {
        match &mut self.state {
            State::Ground => return self.ground(byte),
            State::Head => {
                self.head.push(byte);
                return self.step();
            }
            State::Data(left) => {
                *left -= 1;
                if *left == 0 {
                    return self.rest(Token::Other);
                }
            }
            State::Symbol(left, data) => {
                data.push(byte);
                *left -= 1;
                if *left == 0 {
                    let data = std::mem::take(data);
                    return self.rest(Token::Symbol(data));
                }
            }
            State::Until(end, left) => {
                *left -= 1;
                if byte == *end {
                    return self.rest(Token::Other);
                }
                if *left == 0 {
                    return self.lose();
                }
            }
            State::Tabs(left, last) => {
                let ends = byte == 0;
                if !ends && (byte <= *last || *left == 0) {
                    // Epson: a stop that does not lie behind the last one ends the list and is text.
                    self.state = State::Ground;
                    return self.ground(byte);
                }
                (*left, *last) = (left.saturating_sub(1), byte);
                if ends {
                    return self.rest(Token::Other);
                }
            }
            State::Glyphs { .. } => return self.glyph(byte),
            State::Images { .. } => return self.image(byte),
            State::Away(known) => {
                // A printer that is not chosen hears nothing but the command that chooses it.
                *known = match (*known, byte) {
                    (_, ESC) => 1,
                    (1, b'=') => 2,
                    (2, devices) if devices & 1 == 1 => return self.rest(Token::Other),
                    (_, _) => 0,
                };
            }
            State::Lost => {
                if byte == b'\n' {
                    return self.rest(Token::Line);
                }
            }
        }
        None
    }

    fn ground(&mut self, byte: u8) -> Option<Token> {
        let begins = match self.language {
            Language::EscPos => matches!(byte, ESC | GS | FS | DLE),
            Language::StarLine => {
                byte == ESC || (self.mode == Mode::Raster && matches!(byte, b'b' | b'k'))
            }
        };
        if begins {
            self.head.clear();
            self.head.push(byte);
            self.state = State::Head;
            return None;
        }
        match byte {
            b'\n' => Some(Token::Line),
            0x0B | 0x0C => Some(Token::Feed),
            b'\r' if self.language == Language::StarLine => Some(Token::Feed),
            b'\t' => Some(Token::Tab),
            // Other control characters print nothing on any of these printers.
            0x00..0x20 | 0x7F => None,
            0x20..0x7F | 0x80..=0xFF => (self.mode == Mode::Text).then_some(Token::Text(byte)),
        }
    }

    fn step(&mut self) -> Option<Token> {
        let step = match self.language {
            Language::EscPos => epson::step(&self.head),
            Language::StarLine => star::step(&self.head),
        };
        self.state = match step {
            Step::More => return None,
            Step::Done(token) => return self.rest(token),
            Step::Raster(mode) => {
                self.mode = mode;
                return self.rest(Token::Other);
            }
            Step::Data(0) | Step::Symbol(0) | Step::Images(0) => return self.rest(Token::Other),
            Step::Data(length) if length > DATA_BYTES_MAX => return self.lose(),
            Step::Symbol(length) if length > SYMBOL_BYTES_MAX => return self.lose(),
            Step::Unknown => return self.lose(),
            Step::Data(length) => State::Data(length),
            Step::Symbol(length) => State::Symbol(length, Vec::new()),
            Step::Until(end) => State::Until(end, LIST_BYTES_MAX),
            Step::Tabs => State::Tabs(TABS_MAX, 0),
            Step::Glyphs(height, first, last) => {
                let left = usize::from(last - first) + 1;
                State::Glyphs { height, range: (first, last), left, data: 0 }
            }
            Step::Device(devices) if devices & 1 == 1 => return self.rest(Token::Other),
            Step::Device(_) => {
                self.state = State::Away(0);
                return Some(Token::Away);
            }
            Step::Images(left) => {
                self.head.clear();
                State::Images { left, data: 0 }
            }
        };
        None
    }

    fn glyph(&mut self, byte: u8) -> Option<Token> {
        let State::Glyphs { height, range, left, data } = &mut self.state else { return None };
        if *data > 0 {
            *data -= 1;
        } else {
            *left -= 1;
            *data = usize::from(byte) * *height;
        }
        let (ends, (first, last)) = (*data == 0 && *left == 0, *range);
        if ends { self.rest(Token::Drawn(first, last)) } else { None }
    }

    fn image(&mut self, byte: u8) -> Option<Token> {
        let State::Images { left, data } = &mut self.state else { return None };
        if *data > 0 {
            *data -= 1;
        } else {
            self.head.push(byte);
            let [xl, xh, yl, yh] = self.head[..] else { return None };
            self.head.clear();
            *left -= 1;
            *data = word(xl, xh) * word(yl, yh) * 8;
            if *data > DATA_BYTES_MAX {
                return self.lose();
            }
        }
        let ends = *data == 0 && *left == 0;
        if ends { self.rest(Token::Other) } else { None }
    }

    fn rest(&mut self, token: Token) -> Option<Token> {
        self.state = State::Ground;
        Some(token)
    }

    fn lose(&mut self) -> Option<Token> {
        let at_line_end = self.head.last() == Some(&b'\n');
        self.state = if at_line_end { State::Ground } else { State::Lost };
        self.mode = Mode::Text;
        Some(Token::Unknown)
    }
}

/// Returns a number of two bytes, the low one first.
pub(super) fn word(low: u8, high: u8) -> usize {
    usize::from(u16::from_le_bytes([low, high]))
}

/// Takes a command with so many parameters.
pub(super) fn fixed(rest: &[u8], parameters: usize, token: Token) -> Step {
    if rest.len() < parameters { Step::More } else { Step::Done(token) }
}

/// Takes a command whose one parameter is the token's.
pub(super) fn one(rest: &[u8], token: fn(u8) -> Token) -> Step {
    rest.first().map_or(Step::More, |&number| Step::Done(token(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(language: Language, bytes: &[u8]) -> Vec<Token> {
        let mut lexer = Lexer::new(language);
        bytes.iter().filter_map(|&byte| lexer.push(byte)).collect()
    }

    #[test]
    fn star_line_mode_reads_the_same_bytes_in_its_own_way() {
        let commands: &[&[u8]] = &[
            b"\x1B@",
            b"\x1Bd\x02",
            b"\x1BE",
            b"\x1BF",
            b"\x1B\x1Dt\x04",
            b"\x1B\x1Da\x01",
            b"\x1Bi\x01\x01",
            b"\x1Ba\x03",
            b"\x1BW\x01",
            b"\x1Bb456xCODE\x1E",
            b"\x1B\x1DyS0\x02",
            b"\x1B\x1DyP",
            b"\x1BK\x02\x00ab",
            b"\x1BX\x01\x00abc",
            b"\x1B\x07\x0A\x14",
            b"\x1B\x1ES\x01",
            b"\x1B*rR",
            b"\x1B*rP0\x00",
        ];
        for command in commands {
            let bytes = [command, b"X".as_slice()].concat();
            let found = tokens(Language::StarLine, &bytes);
            assert_eq!(found.len(), 2, "{command:?} gave {found:?}");
            assert_ne!(found[0], Token::Unknown, "{command:?}");
            assert_eq!(found[1], Token::Text(b'X'), "{command:?}");
        }
        let symbol = tokens(Language::StarLine, b"\x1B\x1DyD1\x00\x02\x00V0");
        assert_eq!(symbol, [Token::Symbol(b"V0".to_vec())]);
        let raster = tokens(Language::StarLine, b"\x1B*rAb\x02\x00XYk\x01\x00Z\x1B*rBX");
        assert_eq!(raster.last(), Some(&Token::Text(b'X')));
        assert_eq!(raster.iter().filter(|token| matches!(token, Token::Text(_))).count(), 1);
    }

    #[test]
    fn an_unknown_command_is_told_and_text_goes_on_after_the_next_line_feed() {
        let found = tokens(Language::EscPos, b"A\x1B~B\nC");
        assert_eq!(found, [Token::Text(b'A'), Token::Unknown, Token::Line, Token::Text(b'C')]);
        let found = tokens(Language::EscPos, b"\x1B\nC");
        assert_eq!(found, [Token::Unknown, Token::Text(b'C')]);
    }

    #[test]
    fn a_length_that_no_receipt_has_is_no_command() {
        let claim = b"\x1D8L\xFF\xFF\xFF\xFFab\nC";
        assert_eq!(tokens(Language::EscPos, claim)[0], Token::Unknown);
        assert_eq!(tokens(Language::EscPos, claim).last(), Some(&Token::Text(b'C')));
        let mut lexer = Lexer::new(Language::EscPos);
        for &byte in b"\x1D8L\x00\x00\x10\x00" {
            lexer.push(byte);
        }
        for _ in 0..1 << 20 {
            lexer.push(0x55);
        }
        assert!(lexer.at_rest() && lexer.head.capacity() < 64);
    }

    #[test]
    fn what_goes_to_the_display_at_the_same_line_is_no_text() {
        let found = tokens(Language::EscPos, b"A\x1B=\x02Total\x0C\x1B@\x1FB\x1B=\x01B");
        assert_eq!(found, [Token::Text(b'A'), Token::Away, Token::Other, Token::Text(b'B')]);
        let both = tokens(Language::EscPos, b"\x1B=\x03B");
        assert_eq!(both, [Token::Other, Token::Text(b'B')]);
        let again = tokens(Language::EscPos, b"\x1B=\x02\x1B\x1B=\x02\x1B=\x01B");
        assert_eq!(again, [Token::Away, Token::Other, Token::Text(b'B')]);
    }

    #[test]
    fn a_tab_stop_that_falls_back_is_text() {
        let found = tokens(Language::EscPos, b"\x1BD\x50ABC");
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
