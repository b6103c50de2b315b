//! Bytes become letters. Code page 437 after its table at the Unicode Consortium (CP437.TXT), the
//! German 7-bit set after DIN 66003.

use super::settings::Encoding;

/// The upper half of code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

impl Encoding {
    /// Returns the text of bytes, a letter for each; nothing where one of them is no letter.
    pub(super) fn text(self, bytes: &[u8]) -> Option<String> {
        let upper: Vec<char> = CP437.chars().collect();
        bytes.iter().map(|&byte| self.letter(byte, &upper)).collect()
    }

    fn letter(self, byte: u8, upper: &[char]) -> Option<char> {
        match (self, byte) {
            (Self::Din66003, b'@') => Some('§'),
            (Self::Din66003, b'[') => Some('Ä'),
            (Self::Din66003, b'\\') => Some('Ö'),
            (Self::Din66003, b']') => Some('Ü'),
            (Self::Din66003, b'{') => Some('ä'),
            (Self::Din66003, b'|') => Some('ö'),
            (Self::Din66003, b'}') => Some('ü'),
            (Self::Din66003, b'~') => Some('ß'),
            (Self::Ascii | Self::Din66003, 0x80..) => None,
            (Self::Cp437, 0x80..) => upper.get(usize::from(byte - 0x80)).copied(),
            (Self::Ascii | Self::Cp437 | Self::Din66003 | Self::Latin1, _) => {
                Some(char::from(byte))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn umlauts_are_read_in_every_set_that_has_them() {
        for (encoding, bytes, text) in [
            (Encoding::Cp437, b"M\x81sli \x9a\xe1\x84\x94".as_slice(), Some("Müsli Üßäö")),
            (Encoding::Latin1, b"M\xfcsli \xdc\xdf\xe4\xf6", Some("Müsli Üßäö")),
            (Encoding::Din66003, b"M}sli ]~{|@[\\", Some("Müsli Üßäö§ÄÖ")),
            (Encoding::Din66003, b"M\xfcsli", None),
            (Encoding::Ascii, b"M}sli", Some("M}sli")),
            (Encoding::Ascii, b"M\x81sli", None),
        ] {
            assert_eq!(encoding.text(bytes).as_deref(), text, "{encoding:?}");
        }
        assert_eq!(CP437.chars().count(), 128);
    }
}
