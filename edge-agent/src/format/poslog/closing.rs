//! What a till says of its own money: ends of a day become closings, cash put in or taken out becomes
//! cash moves.

use shared::ids::{Label, TillId};
use shared::minute::{Closing, ClosingCase};
use shared::money::Cents;
use shared::ranges::Ranges;
use shared::receipt::{CashMove, Payment, Receipt};
use shared::time::Timestamp;
use shared::words::PaymentKind;

use super::record::{Cash, EndOfDay, Tender};
use super::{Fault, figure, label, needed, rules, sum};

/// The source that closings of this format name.
const SOURCE: &str = "poslog";

/// The business case of what an end of a day sums up for a VAT key, as DSFinV-K calls it.
const TURNOVER: &str = "Umsatz";

/// Reads an end of a day; one without a total is a number and no closing.
pub(super) fn closing(
    end: &EndOfDay,
    carrier: &Receipt,
    opened_at: Option<Timestamp>,
) -> Result<Option<Closing>, Fault> {
    if end.total.is_none() {
        return Ok(None);
    }
    let tills = end.tills.iter().map(|till| TillId::new(till)).collect::<Result<Vec<_>, _>>();
    let mut tills = tills.map_err(|error| Fault::Id("WorkstationID of a closing", error))?;
    if tills.is_empty() {
        tills.push(carrier.till.clone());
    }
    let number = format!("{}/{}/{}", carrier.business_day, end.name, carrier.receipt);
    Ok(Some(Closing {
        tills,
        closing: Label::new(&number).map_err(|error| Fault::Id("the closing", error))?,
        source: Label::new(SOURCE).expect("a word is a label"),
        opened_at,
        closed_at: carrier.ended_at,
        receipts: receipts(end)?,
        total_cents: figure("TransactionGrandAmount of a closing", &end.total)?,
        cases: cases(end)?,
        payments: payments(end)?,
        cash_moves: Vec::new(),
        supersedes: None,
    }))
}

fn receipts(end: &EndOfDay) -> Result<Ranges, Fault> {
    let mut found = Ranges::new();
    let (Some(first), Some(last)) = (&end.first_number, &end.last_number) else {
        return Ok(found);
    };
    let fault = |_| Fault::Word("StartSequenceNumber or EndSequenceNumber");
    let (first, last): (u64, u64) = (first.parse().map_err(fault)?, last.parse().map_err(fault)?);
    if first > last || i64::try_from(last).is_err() {
        return Err(Fault::Word("StartSequenceNumber or EndSequenceNumber"));
    }
    found.insert_range(first, last);
    Ok(found)
}

fn cases(end: &EndOfDay) -> Result<Vec<ClosingCase>, Fault> {
    let mut found = Vec::with_capacity(end.taxes.len());
    for tax_total in &end.taxes {
        let gross = figure("TaxableAmount of a closing", &tax_total.gross)?;
        let tax = figure("Amount of a tax", &tax_total.tax)?;
        found.push(ClosingCase {
            case: Label::new(TURNOVER).expect("a word is a label"),
            vat_key: label("TaxGroupID", &tax_total.key)?,
            gross,
            net: sum("a closing", [gross, -tax])?,
            tax,
        });
    }
    Ok(found)
}

fn payments(end: &EndOfDay) -> Result<Vec<Payment>, Fault> {
    let mut found: Vec<Payment> = Vec::new();
    for (kind, amount) in &end.tenders {
        let cents = figure("Amount of a tender of a closing", amount)?;
        let tender = Tender { kind: kind.clone(), ..Tender::default() };
        let kind: PaymentKind = rules::standard_payment(&tender);
        found.push(Payment { kind, cents, currency: None });
    }
    Ok(found)
}

/// Reads cash moves. Amounts are absolute; what for decides where the money goes.
pub(super) fn cash_moves(cash: &Cash) -> Result<Vec<CashMove>, Fault> {
    let mut found = Vec::with_capacity(cash.parts.len());
    for part in &cash.parts {
        let cents: Cents = figure("Amount of a cash move", &part.amount)?;
        if cents.0 < 0 {
            return Err(Fault::Sign("Amount of a cash move"));
        }
        let (kind, cents) = match part.name.as_str() {
            "PaidIn" => ("paid_in", cents),
            "PaidOut" => ("paid_out", -cents),
            "TenderLoan" => ("float", cents),
            "SafeDrop" | "TenderPickup" => ("drop", -cents),
            other => return Err(Fault::Kind(other.chars().take(64).collect())),
        };
        let kind = Some(kind.to_owned());
        let kind = Label::new(needed("the kind of a cash move", &kind)?);
        found
            .push(CashMove { kind: kind.map_err(|error| Fault::Id("a cash move", error))?, cents });
    }
    Ok(found)
}
