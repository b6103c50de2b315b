//! Finds where a printer's commands begin and end, byte by byte, so that their parameters are never
//! taken for text. Pure; holds the data of a symbol and nothing else: images are counted, not kept.
//!
//! Lengths after Epson's ESC/POS command reference; those of Star Line Mode stand in [`super::star`].

use super::star;

pub(super) const ESC: u8 = 0x1B;
pub(super) const GS: u8 = 0x1D;
const FS: u8 = 0x1C;
const DLE: u8 = 0x10;

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
    /// Characters of the user's own: their height in bytes and their number.
    Glyphs(usize, usize),
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
    Glyphs { height: usize, left: usize, data: usize },
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
        matches!(self.state, State::Ground | State::Lost)
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
            Language::EscPos => escpos(&self.head),
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
            Step::Glyphs(height, left) => State::Glyphs { height, left, data: 0 },
            Step::Images(left) => {
                self.head.clear();
                State::Images { left, data: 0 }
            }
        };
        None
    }

    fn glyph(&mut self, byte: u8) -> Option<Token> {
        let State::Glyphs { height, left, data } = &mut self.state else { return None };
        if *data > 0 {
            *data -= 1;
        } else {
            *left -= 1;
            *data = usize::from(byte) * *height;
        }
        let ends = *data == 0 && *left == 0;
        if ends { self.rest(Token::Other) } else { None }
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

fn escpos(head: &[u8]) -> Step {
    match head {
        [ESC, command, rest @ ..] => esc(*command, rest),
        [GS, command, rest @ ..] => gs(*command, rest),
        [FS, command, rest @ ..] => fs(*command, rest),
        [DLE, command, rest @ ..] => dle(*command, rest),
        [] | [_, ..] => Step::More,
    }
}

fn esc(command: u8, rest: &[u8]) -> Step {
    match command {
        b'@' => Step::Done(Token::Reset),
        b'i' | b'm' => Step::Done(Token::Cut),
        0x0C => Step::Done(Token::Feed),
        b'2' | b'<' | b'L' | b'S' | b'o' | b'v' => Step::Done(Token::Other),
        b' ' | b'!' | b'%' | b'-' | b'3' | b'=' | b'?' | b'A' | b'E' | b'G' | b'M' | b'T'
        | b'U' | b'V' | b'a' | b'r' | b'u' | b'{' => fixed(rest, 1, Token::Other),
        b'J' | b'K' | b'd' | b'e' => fixed(rest, 1, Token::Feed),
        b'R' => one(rest, Token::National),
        b't' => one(rest, Token::Page),
        b'$' | b'\\' => fixed(rest, 2, Token::Gap),
        // `ESC B` is no command of Epson's; on the clones that know it, it sounds the buzzer.
        b'f' | b'B' => fixed(rest, 2, Token::Other),
        b'c' => match rest {
            [b'0' | b'1' | b'3' | b'4' | b'5', ..] => fixed(rest, 2, Token::Other),
            [] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'p' => fixed(rest, 3, Token::Other),
        b'W' => fixed(rest, 8, Token::Other),
        b'D' => Step::Tabs,
        b'*' => match rest {
            [0 | 1, low, high] => Step::Data(word(*low, *high)),
            [32 | 33, low, high] => Step::Data(word(*low, *high) * 3),
            [] | [0 | 1 | 32 | 33, ..] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'&' => match rest {
            [height, first, last] if last >= first => {
                Step::Glyphs(usize::from(*height), usize::from(last - first) + 1)
            }
            [_, _, _, ..] => Step::Unknown,
            [..] => Step::More,
        },
        b'(' => sized(rest),
        _ => Step::Unknown,
    }
}

fn gs(command: u8, rest: &[u8]) -> Step {
    match command {
        b':' | b'c' => Step::Done(Token::Other),
        b'!' | b'/' | b'B' | b'E' | b'H' | b'I' | b'T' | b'a' | b'b' | b'f' | b'h' | b'j'
        | b'r' | b'w' => fixed(rest, 1, Token::Other),
        b'$' | b'\\' | b'L' | b'W' | b'P' => fixed(rest, 2, Token::Other),
        b'^' => fixed(rest, 3, Token::Other),
        b'*' => match rest {
            [width, height] => Step::Data(usize::from(*width) * usize::from(*height) * 8),
            [..] => Step::More,
        },
        b'V' => match rest {
            [0 | 1 | 48 | 49] => Step::Done(Token::Cut),
            [65 | 66 | 97 | 98 | 103 | 104, ..] => fixed(rest, 2, Token::Cut),
            [] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'k' => match rest {
            [0..=6] => Step::Until(0),
            [65..=79, length] => Step::Data(usize::from(*length)),
            [] | [65..=79] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'v' | b'Q' => match rest {
            [b'0', _, xl, xh, yl, yh] => Step::Data(word(*xl, *xh) * word(*yl, *yh)),
            [] | [b'0', ..] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'(' => sized(rest),
        b'8' => match rest {
            [b'L', a, b, c, d] => {
                let length = u32::from_le_bytes([*a, *b, *c, *d]);
                usize::try_from(length).map_or(Step::Unknown, Step::Data)
            }
            [] | [b'L', ..] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'C' => match rest {
            [b'0' | b'2', ..] => fixed(rest, 3, Token::Other),
            [b'1', ..] => fixed(rest, 7, Token::Other),
            [] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'g' => fixed(rest, 4, Token::Other),
        b'z' => fixed(rest, 3, Token::Other),
        _ => Step::Unknown,
    }
}

fn fs(command: u8, rest: &[u8]) -> Step {
    match command {
        b'&' | b'.' => Step::Done(Token::Other),
        b'!' | b'-' | b'C' | b'W' => fixed(rest, 1, Token::Other),
        b'?' | b'S' | b'p' => fixed(rest, 2, Token::Other),
        // Two bytes of the code, then a character of 24 by 24 dots.
        b'2' => fixed(rest, 2 + 72, Token::Other),
        b'q' => rest.first().map_or(Step::More, |&images| Step::Images(usize::from(images))),
        b'(' => sized(rest),
        b'g' => match rest {
            [b'1', _, _, _, _, _, low, high] => Step::Data(word(*low, *high)),
            [b'2', ..] => fixed(rest, 8, Token::Other),
            [] | [b'1', ..] => Step::More,
            [_, ..] => Step::Unknown,
        },
        _ => Step::Unknown,
    }
}

fn dle(command: u8, rest: &[u8]) -> Step {
    match (command, rest) {
        (0x04, [7 | 8 | 18, ..]) => fixed(rest, 2, Token::Other),
        (0x04 | 0x05, _) => fixed(rest, 1, Token::Other),
        (0x14, []) => Step::More,
        (0x14, [1 | 2, ..]) => fixed(rest, 3, Token::Other),
        (0x14, [3, ..]) => fixed(rest, 6, Token::Other),
        (0x14, [7, ..]) => fixed(rest, 2, Token::Other),
        (0x14, [8, ..]) => fixed(rest, 8, Token::Other),
        (_, _) => Step::Unknown,
    }
}

/// Takes a command that says its own length: `X pL pH` and data. The data of a QR code (`k`, code
/// 49, function 80) are kept.
fn sized(rest: &[u8]) -> Step {
    match rest {
        [b'k', low, high, 49, 80, _] => Step::Symbol(word(*low, *high).saturating_sub(3)),
        [b'k', low, high, _, _, _] => Step::Data(word(*low, *high).saturating_sub(3)),
        [b'k', low, high] if word(*low, *high) < 3 => Step::Data(word(*low, *high)),
        [] | [_] | [_, _] | [b'k', ..] => Step::More,
        [_, low, high, ..] => Step::Data(word(*low, *high)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(language: Language, bytes: &[u8]) -> Vec<Token> {
        let mut lexer = Lexer::new(language);
        bytes.iter().filter_map(|&byte| lexer.push(byte)).collect()
    }

    /// A command of any length swallows its parameters and not one byte more.
    #[test]
    fn a_command_ends_where_it_ends() {
        let commands: &[&[u8]] = &[
            b"\x1B@",
            b"\x1Bi",
            b"\x1B!8",
            b"\x1Bt\x13",
            b"\x1B$\x10\x01",
            b"\x1Bp\x00\x19\xFA",
            b"\x1BD\x08\x10\x18\x00",
            b"\x1BWABCDEFGH",
            b"\x1B*\x00\x03\x00abc",
            b"\x1B*\x21\x02\x00abcdef",
            b"\x1B&\x03\x20\x21\x01abc\x00",
            b"\x1Bc5\x00",
            b"\x1DV\x00",
            b"\x1DVA\x03",
            b"\x1Dk\x04CODE\x00",
            b"\x1Dk\x49\x03abc",
            b"\x1Dv0\x00\x02\x00\x02\x00abcd",
            b"\x1D(L\x02\x00ab",
            b"\x1D8L\x03\x00\x00\x00abc",
            b"\x1D*\x01\x01abcdefgh",
            b"\x1D^abc",
            b"\x1D(k\x03\x001E0",
            b"\x1D(k\x01\x001",
            b"\x1Cp\x01\x00",
            b"\x1Cq\x01\x01\x00\x01\x00abcdefgh",
            b"\x1C(A\x01\x00a",
            b"\x10\x04\x01",
            b"\x10\x14\x01\x00\x01",
            b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08",
        ];
        for command in commands {
            let bytes = [command, b"X".as_slice()].concat();
            let found = tokens(Language::EscPos, &bytes);
            assert_eq!(found.len(), 2, "{command:?} gave {found:?}");
            assert_ne!(found[0], Token::Unknown, "{command:?}");
            assert_eq!(found[1], Token::Text(b'X'), "{command:?}");
        }
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
    fn a_tab_stop_that_falls_back_is_text() {
        let found = tokens(Language::EscPos, b"\x1BD\x50ABC");
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
