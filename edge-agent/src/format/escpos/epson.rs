//! The commands of Epson's ESC/POS and their lengths, after Epson's "ESC/POS Command Reference" and
//! the quick references of its printers; the table below says of each command where its length stands.

use super::command::{DLE, ESC, FS, GS, Step, Token, fixed, one, word};

/// Bytes of a Windows bitmap before its first row, at least.
const BITMAP_HEAD_BYTES: u32 = 54;
/// Bytes of a bitmap that are read to learn its size.
const BITMAP_SIZE_BYTES: u32 = 6;
/// Bytes of five numbers of five digits with their ends.
const COUNTER_BYTES_MAX: usize = 30;

/// Says what follows the bytes of a command read so far.
pub(super) fn step(head: &[u8]) -> Step {
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
        b'2' | b'<' | b'L' | b'S' | b'o' | b'q' | b'v' => Step::Done(Token::Other),
        b' ' | b'!' | b'-' | b'3' | b'A' | b'C' | b'E' | b'F' | b'G' | b'M' | b'T' | b'U'
        | b'V' | b'a' | b'r' | b'u' | b'{' => fixed(rest, 1, Token::Other),
        b'J' | b'K' | b'd' | b'e' => fixed(rest, 1, Token::Feed),
        b'%' => one(rest, Token::Drawings),
        b'?' => one(rest, Token::Undrawn),
        b'R' => one(rest, Token::National),
        b't' => one(rest, Token::Page),
        b'=' => rest.first().map_or(Step::More, |&devices| Step::Device(devices)),
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
                Step::Glyphs(usize::from(*height), *first, *last)
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
        b':' => Step::Done(Token::Other),
        b'c' => Step::Done(Token::Kept),
        b'!' | b'/' | b'B' | b'E' | b'H' | b'I' | b'T' | b'a' | b'b' | b'f' | b'h' | b'j'
        | b'r' | b'w' => fixed(rest, 1, Token::Other),
        b'$' | b'&' | b'\\' | b'L' | b'W' | b'P' => fixed(rest, 2, Token::Other),
        b'^' => fixed(rest, 3, Token::Kept),
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
        b'C' => counter(rest),
        b'D' => bitmap(rest),
        b'g' => fixed(rest, 4, Token::Other),
        b'z' => fixed(rest, 3, Token::Other),
        _ => Step::Unknown,
    }
}

/// Takes how a counter is printed and counts. The form with `;` has five numbers in digits, each with
/// a semicolon behind it; any may be left out.
fn counter(rest: &[u8]) -> Step {
    match rest {
        [b'0' | b'2', ..] => fixed(rest, 3, Token::Other),
        [b'1', ..] => fixed(rest, 7, Token::Other),
        [b';', numbers @ ..] => {
            let ends = numbers.iter().filter(|&&byte| byte == b';').count();
            let digits = numbers.iter().all(|byte| byte.is_ascii_digit() || *byte == b';');
            match (ends, digits && numbers.len() <= COUNTER_BYTES_MAX) {
                (5, true) => Step::Done(Token::Other),
                (_, true) => Step::More,
                (_, false) => Step::Unknown,
            }
        }
        [] => Step::More,
        [_, ..] => Step::Unknown,
    }
}

/// Takes a picture that is a Windows bitmap and says its own size.
fn bitmap(rest: &[u8]) -> Step {
    const FRAME: [&[u8]; 9] = [b"0", b"CS", b"0", b"", b"", b"", b"1", b"B", b"M"];
    let fits = |(byte, places): (&u8, &&[u8])| places.is_empty() || places.contains(byte);
    if !rest.iter().zip(&FRAME).all(fits) {
        return Step::Unknown;
    }
    let Some([a, b, c, d]) = rest.get(FRAME.len()..) else { return Step::More };
    let size = u32::from_le_bytes([*a, *b, *c, *d]);
    match usize::try_from(size.saturating_sub(BITMAP_SIZE_BYTES)) {
        Ok(left) if size >= BITMAP_HEAD_BYTES => Step::Data(left),
        Ok(_) | Err(_) => Step::Unknown,
    }
}

fn fs(command: u8, rest: &[u8]) -> Step {
    match command {
        b'&' | b'.' | b'L' | b'b' | b'c' => Step::Done(Token::Other),
        b'!' | b'-' | b'C' | b'W' => fixed(rest, 1, Token::Other),
        b'?' | b'S' | b'p' => fixed(rest, 2, Token::Other),
        b'a' => match rest {
            [b'0', ..] => fixed(rest, 2, Token::Other),
            [b'1' | b'2'] => Step::Done(Token::Other),
            [] => Step::More,
            [_, ..] => Step::Unknown,
        },
        // Two bytes of the code, then a character of 24 by 24 dots.
        b'2' => fixed(rest, 2 + 72, Token::Other),
        b'q' => rest.first().map_or(Step::More, |&images| Step::Images(usize::from(images))),
        b'(' => match rest {
            [b'C', 2, 0, 48, system] => Step::Done(Token::Encoding(*system)),
            [b'C', 2, 0, _, _] => Step::Done(Token::Other),
            [b'C', 2, 0] | [b'C', 2, 0, _] => Step::More,
            [..] => sized(rest),
        },
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
    use super::super::command::{Language, Lexer};
    use super::*;

    /// Where a command's length stands.
    #[derive(Debug, Clone, Copy)]
    enum Told {
        /// Epson, "ESC/POS Quick Reference", TM-T20.
        Quick,
        /// Epson, "ESC/POS Command Specifications", version 10, and the specifications of the TM-T88III,
        /// TM-J2000, TM-U950 and TM-H5000II.
        Manual,
        /// The tables of a reader of all commands that others wrote: `EscPosUtils` of K. Fukuchi.
        Tokenizer,
        /// Makers of clones; Epson has no such command.
        Clones,
    }

    use Told::{Clones, Manual, Quick, Tokenizer};

    /// Who says so, the command, its length, and one of it.
    const COMMANDS: &[(Told, &str, usize, &[u8])] = &[
        (Quick, "DLE EOT n", 3, b"\x10\x04\x01"),
        (Manual, "DLE EOT n a", 4, b"\x10\x04\x07\x01"),
        (Manual, "DLE EOT 8 3", 4, b"\x10\x04\x08\x03"),
        (Tokenizer, "DLE EOT 18 a", 4, b"\x10\x04\x12\x01"),
        (Quick, "DLE ENQ n", 3, b"\x10\x05\x02"),
        (Quick, "DLE DC4 1 m t", 5, b"\x10\x14\x01\x00\x01"),
        (Quick, "DLE DC4 2 1 8", 5, b"\x10\x14\x02\x01\x08"),
        (Quick, "DLE DC4 3 a n r t1 t2", 8, b"\x10\x14\x03\x00\x00\x00\x01\x00"),
        (Tokenizer, "DLE DC4 7 m", 4, b"\x10\x14\x07\x01"),
        (Quick, "DLE DC4 8 d1...d7", 10, b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08"),
        (Quick, "ESC FF", 2, b"\x1B\x0C"),
        (Quick, "ESC SP n", 3, b"\x1B A"),
        (Quick, "ESC ! n", 3, b"\x1B!8"),
        (Quick, "ESC $ nL nH", 4, b"\x1B$\x10\x01"),
        (Quick, "ESC % n", 3, b"\x1B%\x01"),
        (Quick, "ESC & y c1 c2 x1 d... x2 d...", 10, b"\x1B&\x03 !\x01abc\x00"),
        (Quick, "ESC & of three wide characters", 18, b"\x1B&\x02AC\x02abcd\x01ab\x02abcd"),
        (Quick, "ESC ( A pL pH fn n c", 8, b"\x1B(A\x03\x00a\x01\x01"),
        (Tokenizer, "ESC ( Y pL pH n t", 7, b"\x1B(Y\x02\x00\x00\x00"),
        (Quick, "ESC * 0 nL nH d", 8, b"\x1B*\x00\x03\x00abc"),
        (Quick, "ESC * 1 nL nH d", 7, b"\x1B*\x01\x02\x00ab"),
        (Quick, "ESC * 32 nL nH d", 8, b"\x1B* \x01\x00abc"),
        (Quick, "ESC * 33 nL nH d", 11, b"\x1B*!\x02\x00abcdef"),
        (Quick, "ESC - n", 3, b"\x1B-\x01"),
        (Quick, "ESC 2", 2, b"\x1B2"),
        (Quick, "ESC 3 n", 3, b"\x1B3A"),
        (Tokenizer, "ESC <", 2, b"\x1B<"),
        (Quick, "ESC = n", 3, b"\x1B=\x01"),
        (Quick, "ESC ? n", 3, b"\x1B?A"),
        (Quick, "ESC @", 2, b"\x1B@"),
        (Clones, "ESC A n (clones)", 3, b"\x1BA\x03"),
        (Clones, "ESC B n t (clones)", 4, b"\x1BB\x02\x03"),
        (Tokenizer, "ESC C n", 3, b"\x1BC\x10"),
        (Quick, "ESC D n1...nk NUL", 6, b"\x1BD\x08\x10\x18\x00"),
        (Quick, "ESC D of all 32", 35, b"\x1BD\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1A\x1B\x1C\x1D\x1E\x1F \x00"),
        (Quick, "ESC E n", 3, b"\x1BE\x01"),
        (Tokenizer, "ESC F n", 3, b"\x1BF\x01"),
        (Quick, "ESC G n", 3, b"\x1BG\x01"),
        (Quick, "ESC J n", 3, b"\x1BJA"),
        (Tokenizer, "ESC K n", 3, b"\x1BKA"),
        (Quick, "ESC L", 2, b"\x1BL"),
        (Quick, "ESC M n", 3, b"\x1BM\x01"),
        (Quick, "ESC R n", 3, b"\x1BR\x02"),
        (Quick, "ESC S", 2, b"\x1BS"),
        (Quick, "ESC T n", 3, b"\x1BT\x01"),
        (Tokenizer, "ESC U n", 3, b"\x1BU\x01"),
        (Quick, "ESC V n", 3, b"\x1BV\x01"),
        (Quick, "ESC W xL xH yL yH dxL dxH dyL dyH", 10, b"\x1BWABCDEFGH"),
        (Quick, "ESC \\ nL nH", 4, b"\x1B\\AB"),
        (Quick, "ESC a n", 3, b"\x1Ba1"),
        (Manual, "ESC c 0 n", 4, b"\x1Bc0\x03"),
        (Manual, "ESC c 1 n", 4, b"\x1Bc1\x03"),
        (Quick, "ESC c 3 n", 4, b"\x1Bc3\x00"),
        (Quick, "ESC c 4 n", 4, b"\x1Bc4\x00"),
        (Quick, "ESC c 5 n", 4, b"\x1Bc5\x00"),
        (Quick, "ESC d n", 3, b"\x1BdA"),
        (Tokenizer, "ESC e n", 3, b"\x1BeA"),
        (Manual, "ESC f t1 t2", 4, b"\x1Bf\x01\x05"),
        (Tokenizer, "ESC i", 2, b"\x1Bi"),
        (Tokenizer, "ESC m", 2, b"\x1Bm"),
        (Manual, "ESC o", 2, b"\x1Bo"),
        (Quick, "ESC p m t1 t2", 5, b"\x1Bp\x00\x19\xFA"),
        (Manual, "ESC q", 2, b"\x1Bq"),
        (Tokenizer, "ESC r n", 3, b"\x1Br\x01"),
        (Quick, "ESC t n", 3, b"\x1Bt\x13"),
        (Tokenizer, "ESC u n", 3, b"\x1Bu\x00"),
        (Tokenizer, "ESC v", 2, b"\x1Bv"),
        (Quick, "ESC { n", 3, b"\x1B{\x01"),
        (Tokenizer, "FS ! n", 3, b"\x1C!\x00"),
        (Tokenizer, "FS &", 2, b"\x1C&"),
        (Tokenizer, "FS ( A pL pH fn m", 7, b"\x1C(A\x02\x000\x00"),
        (Tokenizer, "FS ( C pL pH fn m", 7, b"\x1C(C\x02\x0001"),
        (Tokenizer, "FS ( C pL pH fn m a", 8, b"\x1C(C\x03\x00<\x00\x00"),
        (Tokenizer, "FS ( E pL pH fn ...", 11, b"\x1C(E\x06\x00<\x020ABC"),
        (Tokenizer, "FS ( L pL pH fn m", 7, b"\x1C(L\x02\x00A0"),
        (Tokenizer, "FS ( e pL pH m n", 7, b"\x1C(e\x02\x003\x00"),
        (Tokenizer, "FS - n", 3, b"\x1C-\x01"),
        (Tokenizer, "FS .", 2, b"\x1C."),
        (Tokenizer, "FS 2 c1 c2 d1...d72", 76, b"\x1C2\xFA\xA1dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"),
        (Tokenizer, "FS ? c1 c2", 4, b"\x1C?AB"),
        (Tokenizer, "FS C n", 3, b"\x1CC\x00"),
        (Tokenizer, "FS L", 2, b"\x1CL"),
        (Tokenizer, "FS S n1 n2", 4, b"\x1CS\x00\x00"),
        (Tokenizer, "FS W n", 3, b"\x1CW\x00"),
        (Tokenizer, "FS a 0 n", 4, b"\x1Ca0\x00"),
        (Tokenizer, "FS a 1", 3, b"\x1Ca1"),
        (Tokenizer, "FS a 2", 3, b"\x1Ca2"),
        (Tokenizer, "FS b", 2, b"\x1Cb"),
        (Tokenizer, "FS c", 2, b"\x1Cc"),
        (Tokenizer, "FS g 1 m a1 a2 a3 a4 nL nH d1...dk", 12, b"\x1Cg1\x00\x00\x00\x00\x00\x02\x00ab"),
        (Tokenizer, "FS g 2 m a1 a2 a3 a4 nL nH", 10, b"\x1Cg2\x00\x00\x00\x00\x00\x02\x00"),
        (Tokenizer, "FS p n m", 4, b"\x1Cp\x01\x00"),
        (Tokenizer, "FS q n xL xH yL yH d1...dk", 15, b"\x1Cq\x01\x01\x00\x01\x00abcdefgh"),
        (Tokenizer, "FS q of two pictures", 35, b"\x1Cq\x02\x01\x00\x01\x00abcdefgh\x01\x00\x02\x00dddddddddddddddd"),
        (Quick, "GS ! n", 3, b"\x1D!\x11"),
        (Quick, "GS $ nL nH", 4, b"\x1D$AB"),
        (Tokenizer, "GS & nL nH", 4, b"\x1D&AB"),
        (Tokenizer, "GS ( A pL pH d...", 7, b"\x1D(A\x02\x00\x00\x02"),
        (Tokenizer, "GS ( B pL pH d...", 7, b"\x1D(B\x02\x00a\x00"),
        (Tokenizer, "GS ( C pL pH d...", 8, b"\x1D(C\x03\x00\x00\x03\x00"),
        (Tokenizer, "GS ( D pL pH d...", 8, b"\x1D(D\x03\x00\x14\x01\x00"),
        (Tokenizer, "GS ( E pL pH d...", 15, b"\x1D(E\x0A\x00\x03\x01ABCDEFGH"),
        (Tokenizer, "GS ( G pL pH d...", 7, b"\x1D(G\x02\x000\x04"),
        (Tokenizer, "GS ( H pL pH d...", 11, b"\x1D(H\x06\x0000ABCD"),
        (Tokenizer, "GS ( K pL pH d...", 7, b"\x1D(K\x02\x002\x05"),
        (Tokenizer, "GS ( L pL pH d...", 7, b"\x1D(L\x02\x0002"),
        (Tokenizer, "GS ( M pL pH d...", 7, b"\x1D(M\x02\x00\x01\x01"),
        (Tokenizer, "GS ( N pL pH d...", 7, b"\x1D(N\x02\x0001"),
        (Tokenizer, "GS ( P pL pH d...", 13, b"\x1D(P\x08\x000ABCDEFG"),
        (Tokenizer, "GS ( Q pL pH d...", 17, b"\x1D(Q\x0C\x000ABCDEFGHIJK"),
        (Tokenizer, "GS ( V pL pH d...", 8, b"\x1D(V\x03\x000AB"),
        (Tokenizer, "GS ( z pL pH d...", 7, b"\x1D(z\x02\x00>0"),
        (Quick, "GS ( L pL pH 48 112 48 bx by 49 xL xH yL yH d", 17, b"\x1D(L\x0C\x000p0\x01\x011\x08\x00\x02\x00ab"),
        (Quick, "GS ( k of a QR code: model", 9, b"\x1D(k\x04\x001A2\x00"),
        (Quick, "GS ( k of a QR code: print", 8, b"\x1D(k\x03\x001Q0"),
        (Quick, "GS ( k of a PDF417", 10, b"\x1D(k\x05\x000P0ab"),
        (Quick, "GS ( k that is too short", 6, b"\x1D(k\x01\x001"),
        (Manual, "GS * x y d1...dk", 12, b"\x1D*\x01\x01abcdefgh"),
        (Manual, "GS / m", 3, b"\x1D/\x00"),
        (Quick, "GS 8 L p1 p2 p3 p4 d", 10, b"\x1D8L\x03\x00\x00\x00abc"),
        (Quick, "GS :", 2, b"\x1D:"),
        (Quick, "GS B n", 3, b"\x1DB\x01"),
        (Manual, "GS C 0 n m", 5, b"\x1DC0\x04\x01"),
        (Manual, "GS C 1 aL aH bL bH n r", 9, b"\x1DC1ABCD\x01\x01"),
        (Manual, "GS C 2 nL nH", 5, b"\x1DC2AB"),
        (Manual, "GS C ; sa ; sb ; sn ; sr ; sc ;", 17, b"\x1DC;300;1;1;2;100;"),
        (Manual, "GS C ; with numbers left out", 12, b"\x1DC;;;5;;100;"),
        (Quick, "GS D 48 67 48 kc1 kc2 48 49 d1...dk", 71, b"\x1DD0C0AB01BM>\x00\x00\x00dddddddddddddddddddddddddddddddddddddddddddddddddddddddd"),
        (Tokenizer, "GS D 48 83 48 kc1 kc2 48 49 d1...dk", 71, b"\x1DD0S0AB01BM>\x00\x00\x00dddddddddddddddddddddddddddddddddddddddddddddddddddddddd"),
        (Manual, "GS E n", 3, b"\x1DE\x00"),
        (Quick, "GS H n", 3, b"\x1DH\x02"),
        (Quick, "GS I n", 3, b"\x1DI\x01"),
        (Quick, "GS L nL nH", 4, b"\x1DLAB"),
        (Quick, "GS P x y", 4, b"\x1DP\xB4\xB4"),
        (Tokenizer, "GS Q 0 m xL xH yL yH d1...dk", 10, b"\x1DQ0\x00\x02\x00\x01\x00ab"),
        (Quick, "GS T n", 3, b"\x1DT\x00"),
        (Quick, "GS V m", 3, b"\x1DV\x00"),
        (Quick, "GS V m", 3, b"\x1DV\x01"),
        (Quick, "GS V m", 3, b"\x1DV0"),
        (Quick, "GS V m", 3, b"\x1DV1"),
        (Quick, "GS V m n", 4, b"\x1DVA\x03"),
        (Quick, "GS V m n", 4, b"\x1DVB\x03"),
        (Tokenizer, "GS V m n", 4, b"\x1DVa\x03"),
        (Tokenizer, "GS V m n", 4, b"\x1DVb\x03"),
        (Tokenizer, "GS V m n", 4, b"\x1DVg\x03"),
        (Tokenizer, "GS V m n", 4, b"\x1DVh\x03"),
        (Quick, "GS W nL nH", 4, b"\x1DWAB"),
        (Quick, "GS \\ nL nH", 4, b"\x1D\\AB"),
        (Quick, "GS ^ r t m", 5, b"\x1D^\x01\x02\x00"),
        (Quick, "GS a n", 3, b"\x1Da\xFF"),
        (Quick, "GS b n", 3, b"\x1Db\x01"),
        (Manual, "GS c", 2, b"\x1Dc"),
        (Quick, "GS f n", 3, b"\x1Df\x00"),
        (Quick, "GS g 0 m nL nH", 6, b"\x1Dg0\x00AB"),
        (Quick, "GS g 2 m nL nH", 6, b"\x1Dg2\x00AB"),
        (Quick, "GS h n", 3, b"\x1DhA"),
        (Tokenizer, "GS j n", 3, b"\x1Dj\x01"),
        (Quick, "GS k m d1...dk NUL", 15, b"\x1Dk\x0001234567890\x00"),
        (Quick, "GS k m d1...dk NUL", 11, b"\x1Dk\x010123456\x00"),
        (Quick, "GS k m d1...dk NUL", 17, b"\x1Dk\x024012345678901\x00"),
        (Quick, "GS k m d1...dk NUL", 11, b"\x1Dk\x034012345\x00"),
        (Quick, "GS k m d1...dk NUL", 8, b"\x1Dk\x04CODE\x00"),
        (Quick, "GS k m d1...dk NUL", 8, b"\x1Dk\x051234\x00"),
        (Quick, "GS k m d1...dk NUL", 8, b"\x1Dk\x06A12A\x00"),
        (Quick, "GS k m n d1...dn", 15, b"\x1DkA\x0B01234567890"),
        (Quick, "GS k m n d1...dn", 17, b"\x1DkC\x0D4012345678901"),
        (Quick, "GS k m n d1...dn", 9, b"\x1DkI\x05{Babc"),
        (Quick, "GS k m n d1...dn", 17, b"\x1DkN\x0D0112345678901"),
        (Tokenizer, "GS k m n of CODE128 auto", 7, b"\x1DkO\x03abc"),
        (Quick, "GS r n", 3, b"\x1Dr\x01"),
        (Manual, "GS v 0 m xL xH yL yH d1...dk", 12, b"\x1Dv0\x00\x02\x00\x02\x00abcd"),
        (Quick, "GS w n", 3, b"\x1Dw\x02"),
        (Tokenizer, "GS z 0 t1 t2", 5, b"\x1Dz0AB"),
    ];

    fn tokens(bytes: &[u8]) -> Vec<Token> {
        let mut lexer = Lexer::new(Language::EscPos);
        bytes.iter().filter_map(|&byte| lexer.push(byte)).collect()
    }

    /// A command of any length swallows its parameters and not one byte more.
    #[test]
    fn every_command_ends_where_its_maker_says() {
        for (told, name, length, command) in COMMANDS {
            assert_eq!(command.len(), *length, "{name}");
            let mut lexer = Lexer::new(Language::EscPos);
            let (last, head) = command.split_last().unwrap();
            let early: Vec<Token> = head.iter().filter_map(|&byte| lexer.push(byte)).collect();
            assert!(
                early.is_empty() && !lexer.at_rest(),
                "{name} ends early: {early:?} ({told:?})"
            );
            let ends = lexer.push(*last);
            assert!(lexer.at_rest(), "{name} goes on behind byte {length} ({told:?})");
            assert!(!matches!(ends, None | Some(Token::Unknown)), "{name} is {ends:?} ({told:?})");
            assert_eq!(lexer.push(b'X'), Some(Token::Text(b'X')), "{name} ({told:?})");
        }
        assert_eq!(COMMANDS.len(), 173);
    }

    #[test]
    fn what_a_command_means_for_the_text_is_told() {
        for (command, token) in [
            (b"\x1DVA\x03".as_slice(), Token::Cut),
            (b"\x1Bm", Token::Cut),
            (b"\x1B@", Token::Reset),
            (b"\x1Bt\x13", Token::Page(19)),
            (b"\x1BR\x02", Token::National(2)),
            (b"\x1Bd\x04", Token::Feed),
            (b"\x1B$\x40\x01", Token::Gap),
            (b"\x1B%\x01", Token::Drawings(1)),
            (b"\x1B?A", Token::Undrawn(b'A')),
            (b"\x1B&\x01AC\x00\x01a\x00", Token::Drawn(b'A', b'C')),
            (b"\x1C(C\x02\x0002", Token::Encoding(b'2')),
            (b"\x1Dc", Token::Kept),
            (b"\x1D(k\x05\x001P0V0", Token::Symbol(b"V0".to_vec())),
        ] {
            assert_eq!(tokens(command), [token], "{command:?}");
        }
    }

    #[test]
    fn parameters_that_no_command_has_are_no_command() {
        for command in [
            b"\x1BcX".as_slice(),
            b"\x1B*\x05",
            b"\x1B&\x03BA",
            b"\x1DVX",
            b"\x1DkZ",
            b"\x1Dv1",
            b"\x1D8K",
            b"\x1DCX",
            b"\x1DC;12;x",
            b"\x1DC;0123456789012345678901234567890",
            b"\x1DD1",
            b"\x1DD0C0AB01PNG",
            b"\x1DD0C0AB01BM\x06\x00\x00\x00",
            b"\x1DD0C0AB01BM\xFF\xFF\xFF\xFF",
            b"\x1Ca9",
            b"\x1Cg3",
            b"\x10\x14\x09",
            b"\x10A",
        ] {
            let found = tokens(&[command, b"\nC"].concat());
            assert_eq!(found.first(), Some(&Token::Unknown), "{command:?}");
            assert_eq!(found.last(), Some(&Token::Text(b'C')), "{command:?}");
        }
    }
}
