//! The QR code of a technical security device (TSE), as DSFinV-K, annex I describes it:
//! `V0;serial;process type;process data;transaction;counter;start;end;algorithm;time format;
//! signature;public key`. It names the transaction for ever and repeats the totals. Of the device only
//! a hash of its public key leaves this file; serial and signature do not.

use data_encoding::BASE64;
use shared::ids::{IdError, Label};
use shared::money::{Cents, DecimalError};
use shared::receipt::Fiscal;
use shared::time::Timestamp;
use shared::words::NotCounted;

use crate::digest::Digest;
use crate::format::receipt_text::Witness;

const FIELDS: usize = 12;
/// Tax slots of process data: 19, 7, 10.7, 5.5 and 0 percent, which are the VAT keys 1 to 5.
const SLOTS: usize = 5;

/// Why a code is not usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum QrError {
    #[error("the TSE code is no text")]
    Text(#[source] std::str::Utf8Error),
    #[error("the TSE code has {0} fields, 12 are needed")]
    Fields(usize),
    #[error("the TSE code has no transaction number")]
    Transaction(#[source] std::num::ParseIntError),
    #[error("the public key in the TSE code is not usable")]
    Key(#[source] data_encoding::DecodeError),
    #[error("the public key in the TSE code has no name")]
    Name(#[source] IdError),
    #[error("the time in the TSE code is not usable")]
    Time(#[source] shared::time::TimeError),
    #[error("the process data of the TSE code are not usable")]
    Slots,
    #[error("an amount of the TSE code is not usable")]
    Amount(#[source] DecimalError),
    #[error("the TSE code calls it {0}, which is not read")]
    Kind(String),
    #[error("it has two TSE codes that differ")]
    Two,
}

/// Reads the one TSE code among what a receipt's QR codes hold; other codes are none of ours.
pub(super) fn witness(symbols: &[Vec<u8>]) -> Result<Option<Witness>, QrError> {
    let mut codes = symbols.iter().filter(|data| data.starts_with(b"V0;"));
    let Some(code) = codes.next() else { return Ok(None) };
    if codes.any(|other| other != code) {
        return Err(QrError::Two);
    }
    read(code).map(Some)
}

fn read(code: &[u8]) -> Result<Witness, QrError> {
    let text = std::str::from_utf8(code).map_err(QrError::Text)?;
    let fields: Vec<&str> = text.trim_end().split(';').collect();
    let count = fields.len();
    let fields: [&str; FIELDS] = fields.try_into().map_err(|_| QrError::Fields(count))?;
    let [_, _, _, process, transaction, _, _, ended, _, _, _, key] = fields;
    let (kind, slots) = process.split_once('^').unwrap_or((process, ""));
    let reason = reason(kind)?;
    Ok(Witness {
        fiscal: Fiscal {
            tse: device(key)?,
            transaction: transaction.parse().map_err(QrError::Transaction)?,
        },
        ended_at: ended.parse::<Timestamp>().map_err(QrError::Time)?,
        gross: if reason.is_none() { Some(amounts(slots)?) } else { None },
        reason,
    })
}

/// Names the device as its maker does: the SHA-256 of the key's own bytes.
fn device(key: &str) -> Result<Label, QrError> {
    let bytes = BASE64.decode(key.as_bytes()).map_err(QrError::Key)?;
    let mut digest = Digest::default();
    digest.update(&bytes);
    Label::new(&digest.hex()).map_err(QrError::Name)
}

fn reason(kind: &str) -> Result<Option<NotCounted>, QrError> {
    match kind {
        "Beleg" => Ok(None),
        "AVTraining" => Ok(Some(NotCounted::Training)),
        "AVBelegabbruch" => Ok(Some(NotCounted::Aborted)),
        "AVTransfer" => Ok(Some(NotCounted::CashMove)),
        "AVBestellung" => Ok(Some(NotCounted::Suspended)),
        other => Err(QrError::Kind(other.chars().take(24).collect())),
    }
}

fn amounts(slots: &str) -> Result<[Cents; SLOTS], QrError> {
    let (taxes, _) = slots.split_once('^').ok_or(QrError::Slots)?;
    let taxes: Vec<Cents> = taxes
        .split('_')
        .map(|amount| Cents::parse(amount).map_err(QrError::Amount))
        .collect::<Result<_, _>>()?;
    taxes.try_into().map_err(|_| QrError::Slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "V0;955002-00;Kassenbeleg-V1;Beleg^0.89_12.16_0.00_0.00_0.00^13.05:Bar;18;112;\
        2020-01-13T16:24:10.000Z;2020-01-13T16:25:04.000Z;ecdsa-plain-SHA256;unixTime;AAAA;BBBB";

    #[test]
    fn a_code_gives_transaction_time_and_totals_and_never_the_serial() {
        let read = witness(&[b"https://example".to_vec(), CODE.into()]).unwrap().unwrap();
        assert_eq!(read.fiscal.transaction, 18);
        assert_eq!(read.ended_at.to_string(), "2020-01-13T16:25:04Z");
        assert_eq!(read.gross.unwrap()[..2], [Cents(89), Cents(1216)]);
        assert_eq!(read.reason, None);
        // SHA-256 of the three bytes 04 10 41.
        assert_eq!(read.fiscal.tse.as_str().len(), 64);
        assert!(!format!("{read:?}").contains("955002"));
        assert_eq!(witness(&[b"V1;other".to_vec()]).unwrap(), None);
    }

    #[test]
    fn a_code_for_training_counts_nothing_and_one_that_is_not_read_is_refused() {
        let training = CODE.replace("Beleg^", "AVTraining^");
        let read = witness(&[training.into()]).unwrap().unwrap();
        assert_eq!((read.reason, read.gross), (Some(NotCounted::Training), None));
        for (from, to, why) in [
            ("Beleg^", "AVBelegstorno^", "AVBelegstorno"),
            (";BBBB", ";B?", "public key"),
            (";BBBB", "", "11 fields"),
            ("0.89_", "0,89_", "amount"),
            ("0.89_", "", "process data"),
            (";18;", ";x;", "transaction number"),
        ] {
            let fault = witness(&[CODE.replace(from, to).into()]).unwrap_err().to_string();
            assert!(fault.contains(why), "{fault}");
        }
        let two = witness(&[CODE.into(), CODE.replace(";18;", ";19;").into()]).unwrap_err();
        assert!(matches!(two, QrError::Two));
    }
}
