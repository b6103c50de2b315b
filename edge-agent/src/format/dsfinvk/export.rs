//! The tables of an export, joined: closings, their receipts, their lines. Only the columns named
//! here are read; operators, addresses and signatures are not among them.

use std::collections::BTreeMap;

use super::archive::{ArchiveError, Files, unpack};
use super::index::{Index, IndexError};
use super::table::{Table, TableError};

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("the archive cannot be read")]
    Archive(#[source] ArchiveError),
    #[error("its index cannot be read")]
    Index(#[source] IndexError),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("a table cannot be read")]
    Table(#[source] TableError),
    #[error("{table} names receipt {bon} of closing {z}, which transactions.csv does not")]
    Orphan { table: &'static str, bon: String, z: String },
    #[error("{table} names line {line} of receipt {bon}, which lines.csv does not")]
    OrphanLine { table: &'static str, line: String, bon: String },
    #[error("{table} names {what} {id} twice")]
    Twice { table: &'static str, what: &'static str, id: String },
}

/// A closing's key: register, time, number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ZKey {
    pub(super) register: String,
    pub(super) created: String,
    pub(super) number: String,
}

/// A closing with all that belongs to it.
#[derive(Debug, Default)]
pub(super) struct Z {
    pub(super) business_day: Option<String>,
    /// The till's own sum of payments, in hundred-thousandths as all amounts here.
    pub(super) payments_total: Option<i64>,
    /// What of it was cash.
    pub(super) cash_total: Option<i64>,
    pub(super) currency: Option<String>,
    /// VAT rates in hundredths of a percent by key.
    pub(super) rates: BTreeMap<String, i64>,
    /// Hashes of the devices' public keys by the export's own number for them.
    pub(super) devices: BTreeMap<String, String>,
    pub(super) cases: Vec<Case>,
    pub(super) payments: Vec<(String, i64)>,
    pub(super) bons: Vec<Bon>,
    by_id: BTreeMap<String, usize>,
}

/// The till's own total of a business case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) kind: String,
    pub(super) vat_key: String,
    pub(super) gross: i64,
    pub(super) net: i64,
    pub(super) tax: i64,
}

/// A transaction.
#[derive(Debug, Default)]
pub(super) struct Bon {
    pub(super) id: String,
    pub(super) number: String,
    pub(super) kind: String,
    pub(super) terminal: String,
    /// It takes back an earlier receipt; its signs are turned already.
    pub(super) void: bool,
    pub(super) started: String,
    pub(super) ended: String,
    pub(super) total: Option<i64>,
    pub(super) customer: String,
    pub(super) vat: Vec<(String, [i64; 3])>,
    pub(super) payments: Vec<Paid>,
    pub(super) device: Option<(String, u64)>,
    pub(super) refers_to: Option<(ZKey, String)>,
    pub(super) positions: Vec<Position>,
    by_line: BTreeMap<String, usize>,
}

/// A payment of a transaction.
#[derive(Debug)]
pub(super) struct Paid {
    pub(super) kind: String,
    pub(super) currency: String,
    pub(super) amount: i64,
}

/// A line of a transaction.
#[derive(Debug, Default)]
pub(super) struct Position {
    pub(super) line: String,
    pub(super) case: String,
    pub(super) text: String,
    pub(super) gtin: String,
    pub(super) number: String,
    pub(super) agency: String,
    pub(super) void: bool,
    /// Its receipt takes back an earlier one: all signs are turned.
    pub(super) turned: bool,
    /// In thousandths, as the factor.
    pub(super) quantity: Option<i64>,
    pub(super) factor: Option<i64>,
    pub(super) unit: String,
    pub(super) unit_price: Option<i64>,
    pub(super) vat: Vec<(String, [i64; 3])>,
    /// What pricing says: its kind in small letters, its amount.
    pub(super) pricing: Vec<(String, i64)>,
}

/// All closings of an export.
pub(super) type Export = BTreeMap<ZKey, Z>;

const TABLES: [&str; 15] = [
    "index.xml",
    "cashpointclosing.csv",
    "cashregister.csv",
    "vat.csv",
    "tse.csv",
    "businesscases.csv",
    "payment.csv",
    "transactions.csv",
    "transactions_vat.csv",
    "datapayment.csv",
    "references.csv",
    "transactions_tse.csv",
    "lines.csv",
    "lines_vat.csv",
    "itemamounts.csv",
];

const Z_COLUMNS: [&str; 2] = ["Z_KASSE_ID", "Z_NR"];
const BON_COLUMNS: [&str; 3] = ["Z_KASSE_ID", "Z_NR", "BON_ID"];

/// Reads an export.
pub(super) fn read(bytes: &[u8]) -> Result<Export, ExportError> {
    let files = unpack(bytes, &TABLES).map_err(ExportError::Archive)?;
    let index = files.get("index.xml").map(|bytes| Index::parse(bytes)).transpose();
    let index = index.map_err(ExportError::Index)?.unwrap_or_default();
    for needed in ["transactions.csv", "lines.csv", "lines_vat.csv"] {
        if !files.contains_key(needed) {
            return Err(ExportError::Missing(needed));
        }
    }
    let mut reading = Reading { files, index, export: Export::new() };
    reading.closings()?;
    reading.totals()?;
    reading.transactions()?;
    reading.of_transactions()?;
    reading.lines()?;
    reading.of_lines()?;
    Ok(reading.export)
}

struct Reading {
    files: Files,
    index: Index,
    export: Export,
}

impl Reading {
    /// Reads each row of a table, where there is one, into the closings.
    fn each(
        &mut self,
        name: &'static str,
        needed: &[&'static str],
        mut take: impl FnMut(&mut Export, ZKey, &Table<'_>) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        // A table is let go of once it is read.
        let Some(bytes) = self.files.remove(name) else { return Ok(()) };
        let table = Table::open(name, &bytes, self.index.signs(name), needed);
        let mut table = table.map_err(ExportError::Table)?;
        while table.step().map_err(ExportError::Table)? {
            let key = z_key(&table).map_err(ExportError::Table)?;
            take(&mut self.export, key, &table)?;
        }
        Ok(())
    }

    fn each_z(
        &mut self,
        name: &'static str,
        mut take: impl FnMut(&mut Z, &Table<'_>) -> Result<(), TableError>,
    ) -> Result<(), ExportError> {
        self.each(name, &Z_COLUMNS, |export, key, table| {
            take(export.entry(key).or_default(), table).map_err(ExportError::Table)
        })
    }

    fn each_bon(
        &mut self,
        name: &'static str,
        mut take: impl FnMut(&mut Bon, &Table<'_>) -> Result<(), TableError>,
    ) -> Result<(), ExportError> {
        self.each(name, &BON_COLUMNS, |export, key, table| {
            let bon = bon(export, &key, table, name)?;
            take(bon, table).map_err(ExportError::Table)
        })
    }

    fn each_line(
        &mut self,
        name: &'static str,
        mut take: impl FnMut(&mut Position, &Table<'_>) -> Result<(), TableError>,
    ) -> Result<(), ExportError> {
        self.each(name, &BON_COLUMNS, |export, key, table| {
            let bon = bon(export, &key, table, name)?;
            let line = table.id("POS_ZEILE").map_err(ExportError::Table)?;
            let Some(&at) = bon.by_line.get(&line) else {
                let (line, bon) = (shown(&line), shown(&bon.id));
                return Err(ExportError::OrphanLine { table: name, line, bon });
            };
            take(&mut bon.positions[at], table).map_err(ExportError::Table)
        })
    }

    fn closings(&mut self) -> Result<(), ExportError> {
        self.each_z("cashpointclosing.csv", |z, table| {
            z.business_day = filled(table.text("Z_BUCHUNGSTAG")?);
            z.payments_total = table.number("Z_SE_ZAHLUNGEN", super::table::DECIMALS)?;
            z.cash_total = table.number("Z_SE_BARZAHLUNGEN", super::table::DECIMALS)?;
            Ok(())
        })?;
        self.each_z("cashregister.csv", |z, table| {
            z.currency = filled(table.text("KASSE_BASISWAEH_CODE")?);
            Ok(())
        })?;
        self.each_z("vat.csv", |z, table| {
            if let Some(rate) = table.number("UST_SATZ", 2)? {
                z.rates.insert(table.id("UST_SCHLUESSEL")?, rate);
            }
            Ok(())
        })?;
        self.each_z("tse.csv", |z, table| {
            let (id, serial) = (table.id("TSE_ID")?, table.text("TSE_SERIAL")?);
            z.devices.insert(id, serial.to_ascii_lowercase());
            Ok(())
        })
    }

    fn totals(&mut self) -> Result<(), ExportError> {
        self.each_z("businesscases.csv", |z, table| {
            z.cases.push(Case {
                kind: table.text("GV_TYP")?.to_owned(),
                vat_key: table.id("UST_SCHLUESSEL")?,
                gross: table.amount("Z_UMS_BRUTTO")?,
                net: table.amount("Z_UMS_NETTO")?,
                tax: table.amount("Z_UST")?,
            });
            Ok(())
        })?;
        self.each_z("payment.csv", |z, table| {
            let kind = table.text("ZAHLART_TYP")?.to_owned();
            z.payments.push((kind, table.amount("Z_ZAHLART_BETRAG")?));
            Ok(())
        })
    }

    fn transactions(&mut self) -> Result<(), ExportError> {
        let name = "transactions.csv";
        let needed = ["Z_KASSE_ID", "Z_NR", "BON_ID", "BON_TYP", "BON_ENDE"];
        self.each(name, &needed, |export, key, table| {
            let bon = head(table).map_err(ExportError::Table)?;
            let z = export.entry(key).or_default();
            if z.by_id.insert(bon.id.clone(), z.bons.len()).is_some() {
                return Err(ExportError::Twice {
                    table: name,
                    what: "receipt",
                    id: shown(&bon.id),
                });
            }
            z.bons.push(bon);
            Ok(())
        })
    }

    fn of_transactions(&mut self) -> Result<(), ExportError> {
        self.each_bon("transactions_vat.csv", |bon, table| {
            let amounts = ["BON_BRUTTO", "BON_NETTO", "BON_UST"];
            bon.vat.push(split(table, amounts)?);
            Ok(())
        })?;
        self.each_bon("datapayment.csv", |bon, table| {
            bon.payments.push(Paid {
                kind: table.text("ZAHLART_TYP")?.to_owned(),
                currency: table.text("ZAHLWAEH_CODE")?.to_owned(),
                amount: table.amount("BASISWAEH_BETRAG")?,
            });
            Ok(())
        })?;
        self.each_bon("references.csv", |bon, table| {
            let whole = table.text("POS_ZEILE")?.is_empty();
            if whole && table.text("REF_TYP")?.eq_ignore_ascii_case("Transaktion") {
                let key = ZKey {
                    register: table.text("REF_Z_KASSE_ID")?.to_owned(),
                    created: String::new(),
                    number: table.id("REF_Z_NR")?,
                };
                bon.refers_to = Some((key, table.id("REF_BON_ID")?));
            }
            Ok(())
        })?;
        self.each_bon("transactions_tse.csv", |bon, table| {
            let number = table.number("TSE_TANR", 0)?.and_then(|number| u64::try_from(number).ok());
            if let Some(number) = number {
                bon.device = Some((table.id("TSE_ID")?, number));
            }
            Ok(())
        })
    }

    fn lines(&mut self) -> Result<(), ExportError> {
        let name = "lines.csv";
        self.each(name, &["BON_ID", "POS_ZEILE", "GV_TYP", "MENGE"], |export, key, table| {
            let bon = bon(export, &key, table, name)?;
            let position = position(table).map_err(ExportError::Table)?;
            let position = Position { turned: bon.void, ..position };
            if bon.by_line.insert(position.line.clone(), bon.positions.len()).is_some() {
                let id = shown(&position.line);
                return Err(ExportError::Twice { table: name, what: "line", id });
            }
            bon.positions.push(position);
            Ok(())
        })
    }

    fn of_lines(&mut self) -> Result<(), ExportError> {
        self.each_line("lines_vat.csv", |position, table| {
            position.vat.push(split(table, ["POS_BRUTTO", "POS_NETTO", "POS_UST"])?);
            Ok(())
        })?;
        self.each_line("itemamounts.csv", |position, table| {
            let kind = table.text("TYP")?.to_lowercase();
            position.pricing.push((kind, table.amount("PF_BRUTTO")?));
            Ok(())
        })
    }
}

fn z_key(table: &Table<'_>) -> Result<ZKey, TableError> {
    Ok(ZKey {
        register: table.text("Z_KASSE_ID")?.to_owned(),
        created: table.text("Z_ERSTELLUNG")?.to_owned(),
        number: table.id("Z_NR")?,
    })
}

fn bon<'a>(
    export: &'a mut Export,
    key: &ZKey,
    table: &Table<'_>,
    name: &'static str,
) -> Result<&'a mut Bon, ExportError> {
    let id = table.id("BON_ID").map_err(ExportError::Table)?;
    let found = export.get_mut(key).and_then(|z| {
        let at = *z.by_id.get(&id)?;
        z.bons.get_mut(at)
    });
    let orphan = || ExportError::Orphan { table: name, bon: shown(&id), z: shown(&key.number) };
    found.ok_or_else(orphan)
}

fn head(table: &Table<'_>) -> Result<Bon, TableError> {
    Ok(Bon {
        id: table.id("BON_ID")?,
        number: table.id("BON_NR")?,
        kind: table.text("BON_TYP")?.to_owned(),
        terminal: table.id("TERMINAL_ID")?,
        void: table.text("BON_STORNO")? == "1",
        started: table.text("BON_START")?.to_owned(),
        ended: table.text("BON_ENDE")?.to_owned(),
        total: table.number("UMS_BRUTTO", super::table::DECIMALS)?,
        customer: table.text("KUNDE_ID")?.to_owned(),
        ..Bon::default()
    })
}

fn position(table: &Table<'_>) -> Result<Position, TableError> {
    Ok(Position {
        line: table.id("POS_ZEILE")?,
        case: table.text("GV_TYP")?.to_owned(),
        text: table.text("ARTIKELTEXT")?.to_owned(),
        gtin: table.text("GTIN")?.to_owned(),
        number: table.text("ART_NR")?.to_owned(),
        agency: table.id("AGENTUR_ID")?,
        void: table.text("P_STORNO")? == "1",
        quantity: table.number("MENGE", 3)?,
        factor: table.number("FAKTOR", 3)?,
        unit: table.text("EINHEIT")?.to_owned(),
        unit_price: table.number("STK_BR", super::table::DECIMALS)?,
        ..Position::default()
    })
}

/// Reads gross, net and tax of a VAT key.
fn split(
    table: &Table<'_>,
    [gross, net, tax]: [&'static str; 3],
) -> Result<(String, [i64; 3]), TableError> {
    let amounts = [table.amount(gross)?, table.amount(net)?, table.amount(tax)?];
    Ok((table.id("UST_SCHLUESSEL")?, amounts))
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn shown(id: &str) -> String {
    id.chars().take(40).collect()
}
