//! The commands of Star Line Mode. Many bytes mean other things there than on an Epson: `ESC d` cuts,
//! `ESC E` has no parameter. After Star's "Line Mode Command Specifications".

use super::command::{Mode, Step, Token, fixed, one, word};

const ESC: u8 = super::command::ESC;
const GS: u8 = super::command::GS;
const FS: u8 = 0x1C;
const RS: u8 = 0x1E;

/// Says what follows the bytes of a command read so far.
pub(super) fn step(head: &[u8]) -> Step {
    match head {
        [ESC, GS, command, rest @ ..] => positioned(*command, rest),
        [ESC, FS, command, rest @ ..] => logo(*command, rest),
        // All of `ESC RS` have one parameter: font, colour, density, speed, status.
        [ESC, RS, _, rest @ ..] => fixed(rest, 1, Token::Other),
        [ESC, GS | FS | RS] => Step::More,
        [ESC, command, rest @ ..] => esc(*command, rest),
        // Rows of raster mode.
        [b'b' | b'k', low, high] => Step::Data(word(*low, *high)),
        [] | [_, ..] => Step::More,
    }
}

fn esc(command: u8, rest: &[u8]) -> Step {
    match command {
        b'@' => Step::Done(Token::Reset),
        b'd' => fixed(rest, 1, Token::Cut),
        b'R' => one(rest, Token::National),
        b'0' | b'1' | b'2' | b'4' | b'5' | b':' | b'E' | b'F' | b'M' | b'O' | b'P' | b'g'
        | b'p' | 0x0E | 0x14 => Step::Done(Token::Other),
        b' ' | b'-' | b'/' | b'3' | b'A' | b'N' | b'Q' | b'W' | b'_' | b'h' | b'l' | b'q'
        | b'y' | b'z' => fixed(rest, 1, Token::Other),
        b'I' | b'J' | b'a' => fixed(rest, 1, Token::Feed),
        b'i' | 0x07 => fixed(rest, 2, Token::Other),
        0x06 => fixed(rest, 1, Token::Other),
        b'C' => match rest {
            [0] | [] => Step::More,
            [_, ..] => Step::Done(Token::Other),
        },
        b'b' => match rest {
            [_, _, _, _] => Step::Until(RS),
            [..] => Step::More,
        },
        b'B' | b'D' => Step::Until(0),
        b'K' | b'L' => sized(rest, 1),
        b'X' => sized(rest, 3),
        b'k' => sized(rest, 24),
        b'*' => match rest {
            [b'r', b'A'] => Step::Raster(Mode::Raster),
            [b'r', b'B'] => Step::Raster(Mode::Text),
            [b'r', b'C' | b'R'] => Step::Done(Token::Other),
            [b'r', b'D' | b'E' | b'F' | b'P' | b'Q' | b'T' | b'Y' | b'm' | b't'] => Step::Until(0),
            [] | [b'r'] => Step::More,
            [_, ..] => Step::Unknown,
        },
        _ => Step::Unknown,
    }
}

fn sized(rest: &[u8], bytes_each: usize) -> Step {
    match rest {
        [low, high] => Step::Data(word(*low, *high) * bytes_each),
        [..] => Step::More,
    }
}

/// Takes what begins with `ESC GS`.
fn positioned(command: u8, rest: &[u8]) -> Step {
    match command {
        b't' => one(rest, Token::Page),
        b'A' | b'R' => fixed(rest, 2, Token::Gap),
        b'a' => fixed(rest, 1, Token::Other),
        0x07 => fixed(rest, 3, Token::Other),
        0x19 => fixed(rest, 4, Token::Other),
        b'y' => match rest {
            [b'S', ..] => fixed(rest, 3, Token::Other),
            [b'D', b'1', _, low, high] => Step::Symbol(word(*low, *high)),
            [b'P' | b'I'] => Step::Done(Token::Other),
            [] | [b'D'] | [b'D', b'1', ..] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'x' => match rest {
            [b'S', b'0', ..] => fixed(rest, 5, Token::Other),
            [b'S', ..] => fixed(rest, 3, Token::Other),
            [b'D', low, high] => Step::Data(word(*low, *high)),
            [b'P' | b'I'] => Step::Done(Token::Other),
            [] | [b'D', ..] => Step::More,
            [_, ..] => Step::Unknown,
        },
        b'S' => match rest {
            [_, xl, xh, yl, yh, _] => Step::Data(word(*xl, *xh) * word(*yl, *yh)),
            [..] => Step::More,
        },
        _ => Step::Unknown,
    }
}

/// Takes what begins with `ESC FS`.
fn logo(command: u8, rest: &[u8]) -> Step {
    match command {
        b'p' => fixed(rest, 2, Token::Other),
        b'q' => rest.first().map_or(Step::More, |&images| Step::Images(usize::from(images))),
        _ => Step::Unknown,
    }
}
