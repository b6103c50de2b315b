//! Code pages: what the upper half of a byte means on a printer. The lower half is ASCII, but for
//! the twelve places that a national set may take. Tables after the mapping files of the Unicode
//! Consortium (`VENDORS/MICSFT` and `ISO8859`); a place that they leave open is U+FFFD.

/// A code page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePage {
    /// The first PC.
    Cp437,
    /// Greek.
    Cp737,
    /// Baltic.
    Cp775,
    /// Western Europe.
    Cp850,
    /// Central Europe.
    Cp852,
    /// Turkish.
    Cp857,
    /// Western Europe with the euro.
    Cp858,
    /// Portuguese.
    Cp860,
    /// Canadian French.
    Cp863,
    /// Nordic.
    Cp865,
    /// Cyrillic.
    Cp866,
    /// Windows, Central Europe.
    Cp1250,
    /// Windows, Western Europe.
    Cp1252,
    /// Latin 9.
    Iso8859_15,
}

/// A code page that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no code page; known are {}", CodePage::ALL.map(CodePage::name).join(", "))]
pub struct PageError {
    found: String,
}

impl CodePage {
    /// All code pages.
    pub const ALL: [Self; 14] = [
        Self::Cp437,
        Self::Cp737,
        Self::Cp775,
        Self::Cp850,
        Self::Cp852,
        Self::Cp857,
        Self::Cp858,
        Self::Cp860,
        Self::Cp863,
        Self::Cp865,
        Self::Cp866,
        Self::Cp1250,
        Self::Cp1252,
        Self::Iso8859_15,
    ];

    /// Returns the code page's name, as settings name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cp437 => "cp437",
            Self::Cp737 => "cp737",
            Self::Cp775 => "cp775",
            Self::Cp850 => "cp850",
            Self::Cp852 => "cp852",
            Self::Cp857 => "cp857",
            Self::Cp858 => "cp858",
            Self::Cp860 => "cp860",
            Self::Cp863 => "cp863",
            Self::Cp865 => "cp865",
            Self::Cp866 => "cp866",
            Self::Cp1250 => "cp1250",
            Self::Cp1252 => "cp1252",
            Self::Iso8859_15 => "iso8859-15",
        }
    }

    /// Finds a code page by its name.
    pub fn find(name: &str) -> Result<Self, PageError> {
        let known = Self::ALL.into_iter().find(|page| page.name() == name);
        known.ok_or_else(|| PageError { found: name.chars().take(32).collect() })
    }

    /// Returns the character of a byte; nothing where the page has none there.
    pub fn character(self, byte: u8) -> Option<char> {
        if byte.is_ascii() {
            return Some(char::from(byte));
        }
        let found = self.upper().chars().nth(usize::from(byte - 0x80));
        found.filter(|&found| found != char::REPLACEMENT_CHARACTER && !found.is_control())
    }

    /// The characters of 80 to FF.
    fn upper(self) -> &'static str {
        match self {
            Self::Cp437 => CP437,
            Self::Cp737 => CP737,
            Self::Cp775 => CP775,
            Self::Cp850 => CP850,
            Self::Cp852 => CP852,
            Self::Cp857 => CP857,
            Self::Cp858 => CP858,
            Self::Cp860 => CP860,
            Self::Cp863 => CP863,
            Self::Cp865 => CP865,
            Self::Cp866 => CP866,
            Self::Cp1250 => CP1250,
            Self::Cp1252 => CP1252,
            Self::Iso8859_15 => ISO8859_15,
        }
    }
}

const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
const CP737: &str = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρσςτυφχψ░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀ωάέήϊίόύϋώΆΈΉΊΌΎΏ±≥≤ΪΫ÷≈°∙·√ⁿ²■\u{a0}";
const CP775: &str = "ĆüéāäģåćłēŖŗīŹÄÅÉæÆōöĢ¢ŚśÖÜø£Ø×¤ĀĪóŻżź”¦©®¬½¼Ł«»░▒▓│┤ĄČĘĖ╣║╗╝ĮŠ┐└┴┬├─┼ŲŪ╚╔╩╦╠═╬Žąčęėįšųūž┘┌█▄▌▐▀ÓßŌŃõÕµńĶķĻļņĒŅ’\u{ad}±“¾¶§÷„°∙·¹³²■\u{a0}";
const CP850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";
const CP852: &str = "ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐└┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}";
const CP857: &str = "ÇüéâäàåçêëèïîıÄÅÉæÆôöòûùİÖÜø£ØŞşáíóúñÑĞğ¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ºªÊËÈ\u{fffd}ÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµ\u{fffd}×ÚÛÙìÿ¯´\u{ad}±\u{fffd}¾¶§÷¸°¨·¹³²■\u{a0}";
const CP858: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈ€ÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";
const CP860: &str = "ÇüéâãàÁçêÊèÍÔìÃÂÉÀÈôõòÚùÌÕÜ¢£Ù₧ÓáíóúñÑªº¿Ò¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
const CP863: &str = "ÇüéâÂà¶çêëèïî‗À§ÉÈÊôËÏûù¤ÔÜ¢£ÙÛƒ¦´óú¨¸³¯Î⌐¬½¼¾«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
const CP865: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø₧ƒáíóúñÑªº¿⌐¬½¼¡«¤░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
const CP866: &str = "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмноп░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀рстуфхцчшщъыьэюяЁёЄєЇїЎў°∙·√№¤■\u{a0}";
const CP1250: &str = "€\u{fffd}‚\u{fffd}„…†‡\u{fffd}‰Š‹ŚŤŽŹ\u{fffd}‘’“”•–—\u{fffd}™š›śťžź\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";
const CP1252: &str = "€\u{fffd}‚ƒ„…†‡ˆ‰Š‹Œ\u{fffd}Ž\u{fffd}\u{fffd}‘’“”•–—˜™š›œ\u{fffd}žŸ\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ";
const ISO8859_15: &str = "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\u{a0}¡¢£€¥Š§š©ª«¬\u{ad}®¯°±²³Žµ¶·ž¹º»ŒœŸ¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_name_of_its_own_and_a_place_for_every_byte() {
        for page in CodePage::ALL {
            assert_eq!(CodePage::find(page.name()), Ok(page));
            assert_eq!(page.upper().chars().count(), 128, "{}", page.name());
            assert_eq!(page.character(b'A'), Some('A'));
        }
        let fault = CodePage::find("cp1").unwrap_err().to_string();
        assert!(fault.contains("cp858"), "{fault}");
    }

    #[test]
    fn umlauts_and_the_euro_stand_where_the_standards_put_them() {
        for (page, byte, character) in [
            (CodePage::Cp437, 0x81, Some('ü')),
            (CodePage::Cp437, 0xE1, Some('ß')),
            (CodePage::Cp850, 0xD5, Some('ı')),
            (CodePage::Cp858, 0xD5, Some('€')),
            (CodePage::Cp852, 0x84, Some('ä')),
            (CodePage::Cp1252, 0x80, Some('€')),
            (CodePage::Cp1252, 0x81, None),
            (CodePage::Cp1252, 0xFC, Some('ü')),
            (CodePage::Iso8859_15, 0xA4, Some('€')),
            (CodePage::Cp866, 0xE7, Some('ч')),
        ] {
            assert_eq!(page.character(byte), character, "{} {byte:02X}", page.name());
        }
    }
}
