//! The fields of a journal row, a request and a response that are read. What is not named here never
//! leaves the bytes: operators, customers, signatures themselves.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A row of the queue, or a request with its response, or a request by itself.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    #[serde(rename = "ftQueueId", alias = "ftQueueID", default)]
    pub(super) queue: Option<String>,
    #[serde(rename = "ftQueueRow", default, borrow)]
    pub(super) row: Option<&'a RawValue>,
    #[serde(alias = "ReceiptRequest", alias = "receiptRequest", default, borrow)]
    pub(super) request: Option<&'a RawValue>,
    #[serde(alias = "ReceiptResponse", alias = "receiptResponse", default, borrow)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(rename = "ftReceiptCase", default, borrow)]
    pub(super) case: Option<&'a RawValue>,
}

/// What the till asked to be signed.
#[derive(Debug, Deserialize)]
pub(super) struct Request<'a> {
    #[serde(rename = "ftCashBoxID", alias = "ftCashBoxId", alias = "ftCashboxId", default)]
    pub(super) cash_box: Option<String>,
    #[serde(rename = "cbTerminalID", alias = "cbTerminalId", default)]
    pub(super) terminal: Option<String>,
    #[serde(rename = "cbReceiptReference", default)]
    pub(super) reference: Option<String>,
    #[serde(rename = "cbReceiptMoment")]
    pub(super) moment: String,
    #[serde(rename = "ftReceiptCase", borrow)]
    pub(super) case: &'a RawValue,
    #[serde(rename = "cbReceiptAmount", default, borrow)]
    pub(super) amount: Option<&'a RawValue>,
    #[serde(rename = "cbChargeItems", default, borrow)]
    pub(super) charges: Option<Vec<ChargeItem<'a>>>,
    #[serde(rename = "cbPayItems", default, borrow)]
    pub(super) pays: Option<Vec<PayItem<'a>>>,
}

/// A position.
#[derive(Debug, Deserialize)]
pub(super) struct ChargeItem<'a> {
    #[serde(rename = "Position", default, borrow)]
    pub(super) position: Option<&'a RawValue>,
    #[serde(rename = "Quantity", default, borrow)]
    pub(super) quantity: Option<&'a RawValue>,
    #[serde(rename = "Description", default)]
    pub(super) description: Option<String>,
    #[serde(rename = "Amount", borrow)]
    pub(super) amount: &'a RawValue,
    #[serde(rename = "VATRate", default, borrow)]
    pub(super) vat_rate: Option<&'a RawValue>,
    #[serde(rename = "ftChargeItemCase", default, borrow)]
    pub(super) case: Option<&'a RawValue>,
    #[serde(rename = "VATAmount", default, borrow)]
    pub(super) vat_amount: Option<&'a RawValue>,
    #[serde(rename = "ProductNumber", default)]
    pub(super) number: Option<String>,
    #[serde(rename = "ProductBarcode", default)]
    pub(super) barcode: Option<String>,
    #[serde(rename = "Unit", default)]
    pub(super) unit: Option<String>,
    #[serde(rename = "UnitQuantity", default, borrow)]
    pub(super) unit_quantity: Option<&'a RawValue>,
}

/// A payment.
#[derive(Debug, Deserialize)]
pub(super) struct PayItem<'a> {
    #[serde(rename = "Description", default)]
    pub(super) description: Option<String>,
    #[serde(rename = "Amount", borrow)]
    pub(super) amount: &'a RawValue,
    #[serde(rename = "ftPayItemCase", default, borrow)]
    pub(super) case: Option<&'a RawValue>,
}

/// What the middleware answered.
#[derive(Debug, Deserialize)]
pub(super) struct Response<'a> {
    #[serde(rename = "ftQueueID", alias = "ftQueueId", default)]
    pub(super) queue: Option<String>,
    #[serde(rename = "ftQueueRow", default, borrow)]
    pub(super) row: Option<&'a RawValue>,
    #[serde(rename = "ftReceiptIdentification", default)]
    pub(super) identification: Option<String>,
    #[serde(rename = "ftSignatures", default, borrow)]
    pub(super) signatures: Option<Vec<Signature<'a>>>,
}

/// One item of the response's block of signatures.
#[derive(Debug, Deserialize)]
pub(super) struct Signature<'a> {
    #[serde(rename = "ftSignatureType", borrow)]
    pub(super) kind: &'a RawValue,
    #[serde(rename = "Data", alias = "data", default)]
    pub(super) data: Option<String>,
}
