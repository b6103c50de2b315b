//! The tables of DSFinV-K 2.4 that are written: their files, names and columns, and the index that
//! describes them. Column names and types are facts of the published index.xml.

use super::super::xml::Xml;

/// Columns that stand first in every table.
const KEY: &str = "Z_KASSE_ID Z_ERSTELLUNG Z_NR:0";

/// A table: its file, its name, its columns behind the key; a number of decimals makes it numeric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) file: &'static str,
    name: &'static str,
    columns: &'static str,
}

const fn table(file: &'static str, name: &'static str, columns: &'static str) -> Table {
    Table { file, name, columns }
}

/// All tables, in the order of the index.
pub(super) const TABLES: [Table; 16] = [
    table(
        "cashpointclosing.csv",
        "Stamm_Abschluss",
        "Z_BUCHUNGSTAG TAXONOMIE_VERSION Z_START_ID Z_ENDE_ID NAME STRASSE PLZ ORT LAND STNR USTID Z_SE_ZAHLUNGEN:2 Z_SE_BARZAHLUNGEN:2",
    ),
    table("location.csv", "Stamm_Orte", "LOC_NAME LOC_STRASSE LOC_PLZ LOC_ORT LOC_LAND LOC_USTID"),
    table(
        "cashregister.csv",
        "Stamm_Kassen",
        "KASSE_BRAND KASSE_MODELL KASSE_SERIENNR KASSE_SW_BRAND KASSE_SW_VERSION KASSE_BASISWAEH_CODE KEINE_UST_ZUORDNUNG",
    ),
    table(
        "tse.csv",
        "Stamm_TSE",
        "TSE_ID:0 TSE_SERIAL TSE_SIG_ALGO TSE_ZEITFORMAT TSE_PD_ENCODING TSE_PUBLIC_KEY TSE_ZERTIFIKAT_I TSE_ZERTIFIKAT_II",
    ),
    table("vat.csv", "Stamm_USt", "UST_SCHLUESSEL:0 UST_SATZ:2 UST_BESCHR"),
    table(
        "businesscases.csv",
        "Z_GV_Typ",
        "GV_TYP GV_NAME AGENTUR_ID:0 UST_SCHLUESSEL:0 Z_UMS_BRUTTO:5 Z_UMS_NETTO:5 Z_UST:5",
    ),
    table("payment.csv", "Z_Zahlart", "ZAHLART_TYP ZAHLART_NAME Z_ZAHLART_BETRAG:2"),
    table("cash_per_currency.csv", "Z_Waehrungen", "ZAHLART_WAEH ZAHLART_BETRAG_WAEH:2"),
    table(
        "transactions.csv",
        "Bonkopf",
        "BON_ID BON_NR:0 BON_TYP BON_NAME TERMINAL_ID BON_STORNO BON_START BON_ENDE BEDIENER_ID BEDIENER_NAME UMS_BRUTTO:2 KUNDE_NAME KUNDE_ID KUNDE_TYP KUNDE_STRASSE KUNDE_PLZ KUNDE_ORT KUNDE_LAND KUNDE_USTID BON_NOTIZ",
    ),
    table(
        "transactions_vat.csv",
        "Bonkopf_USt",
        "BON_ID UST_SCHLUESSEL:0 BON_BRUTTO:5 BON_NETTO:5 BON_UST:5",
    ),
    table(
        "datapayment.csv",
        "Bonkopf_Zahlarten",
        "BON_ID ZAHLART_TYP ZAHLART_NAME ZAHLWAEH_CODE ZAHLWAEH_BETRAG:2 BASISWAEH_BETRAG:2",
    ),
    table(
        "lines.csv",
        "Bonpos",
        "BON_ID POS_ZEILE GUTSCHEIN_NR ARTIKELTEXT POS_TERMINAL_ID GV_TYP GV_NAME INHAUS P_STORNO AGENTUR_ID:0 ART_NR GTIN WARENGR_ID WARENGR MENGE:3 FAKTOR:3 EINHEIT STK_BR:5",
    ),
    table(
        "lines_vat.csv",
        "Bonpos_USt",
        "BON_ID POS_ZEILE UST_SCHLUESSEL:0 POS_BRUTTO:5 POS_NETTO:5 POS_UST:5",
    ),
    table(
        "itemamounts.csv",
        "Bonpos_Preisfindung",
        "BON_ID POS_ZEILE TYP UST_SCHLUESSEL:0 PF_BRUTTO:5 PF_NETTO:5 PF_UST:5",
    ),
    table(
        "transactions_tse.csv",
        "TSE_Transaktionen",
        "BON_ID TSE_ID:0 TSE_TANR:0 TSE_TA_START TSE_TA_ENDE TSE_TA_VORGANGSART TSE_TA_SIGZ:0 TSE_TA_SIG TSE_TA_FEHLER TSE_VORGANGSDATEN",
    ),
    table(
        "references.csv",
        "Bon_Referenzen",
        "BON_ID POS_ZEILE REF_TYP REF_NAME REF_DATUM REF_Z_KASSE_ID REF_Z_NR:0 REF_BON_ID",
    ),
];

impl Table {
    fn columns(self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        let words = KEY.split(' ').chain(self.columns.split(' '));
        words.map(|word| match word.split_once(':') {
            Some((name, decimals)) => (name, Some(decimals)),
            None => (word, None),
        })
    }

    /// Returns the names of its columns, the first line of its file.
    pub(super) fn header(self) -> Vec<&'static str> {
        self.columns().map(|(name, _)| name).collect()
    }
}

/// Writes the index: one entry a table, with how numbers are written.
pub(super) fn index() -> String {
    let mut xml = Xml::default();
    xml.open("?xml version=\"1.0\" encoding=\"utf-8\"?");
    xml.line();
    xml.open("!DOCTYPE DataSet SYSTEM \"gdpdu-01-09-2004.dtd\"");
    xml.line();
    xml.open("DataSet");
    xml.leaf("Version", "1.0");
    xml.open("DataSupplier");
    xml.leaf("Name", "Frischmarkt");
    xml.leaf("Location", "Musterstadt");
    xml.leaf("Comment", "DSFinV-K");
    xml.close("DataSupplier");
    xml.open("Media");
    xml.leaf("Name", "Medium 1");
    for table in TABLES {
        xml.line();
        described(&mut xml, table);
    }
    xml.close("Media");
    xml.close("DataSet");
    xml.finish()
}

fn described(xml: &mut Xml, table: Table) {
    xml.open("Table");
    xml.leaf("URL", table.file);
    xml.leaf("Name", table.name);
    xml.open("UTF8");
    xml.close("UTF8");
    xml.leaf("DecimalSymbol", ",");
    xml.leaf("DigitGroupingSymbol", ".");
    xml.open("Range");
    xml.leaf("From", 2);
    xml.close("Range");
    xml.open("VariableLength");
    xml.leaf("ColumnDelimiter", ";");
    xml.leaf("RecordDelimiter", "\r\n");
    xml.leaf("TextEncapsulator", "\"");
    for (name, decimals) in table.columns() {
        xml.open("VariableColumn");
        xml.leaf("Name", name);
        match decimals {
            Some(decimals) => {
                xml.open("Numeric");
                xml.leaf("Accuracy", decimals);
                xml.close("Numeric");
            }
            None => {
                xml.open("AlphaNumeric");
                xml.close("AlphaNumeric");
            }
        }
        xml.close("VariableColumn");
    }
    xml.close("VariableLength");
    xml.close("Table");
}
