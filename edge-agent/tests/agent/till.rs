//! A till for tests of lines: its telegrams, and how it speaks over a socket.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::telegram::wrap;
use crate::world::SOON;

pub(crate) const ACK: u8 = 0x06;
pub(crate) const DLE: u8 = 0x10;
pub(crate) const NAK: u8 = 0x15;

/// How long a till is watched that must hear nothing.
const SILENT: Duration = Duration::from_millis(300);

/// Returns a receipt of one line in the layout `telegram/whole`, of so many cents.
pub(crate) fn whole_receipt(number: u32, cents: u32) -> Vec<u8> {
    let amount = format!("{},{:02}", cents / 100, cents % 100);
    let content =
        format!("K;3;{number};23.11.26;10:41:07;V\rP;4006381333931;1;ST;{amount};A;V\rS;{amount}");
    wrap("stx-etx", "xor", content.as_bytes())
}

/// Returns the telegrams of a receipt of 6.98 in the layout `telegram/joined`.
pub(crate) fn joined_receipt(number: u32) -> Vec<Vec<u8>> {
    let line = |position| {
        let article = "MUESLI";
        format!("L03{number:05}{position:03}{article:<16}00100000003492V")
    };
    let records = [
        format!("H03{number:05}2311261041"),
        line(1),
        line(2),
        format!("Z03{number:05}001B0000698"),
        format!("T03{number:05}00006981043"),
    ];
    records.iter().map(|record| wrap("3964r", "xor", record.as_bytes())).collect()
}

/// Says something and returns the answer.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(line: &mut S, telegram: &[u8]) -> u8 {
    line.write_all(telegram).await.unwrap();
    hear(line).await
}

/// Waits for an answer.
pub(crate) async fn hear<S: AsyncRead + Unpin>(line: &mut S) -> u8 {
    timeout(SOON, line.read_u8()).await.expect("an answer comes").unwrap()
}

/// Sends a telegram by 3964R and returns the answer to it.
pub(crate) async fn send_3964r<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut S,
    telegram: &[u8],
) -> u8 {
    assert_eq!(ask(line, &telegram[..1]).await, DLE, "the greeting is answered");
    ask(line, &telegram[1..]).await
}

/// Makes sure that not a byte is heard.
pub(crate) async fn hear_nothing<S: AsyncRead + Unpin>(line: &mut S) {
    let heard = timeout(SILENT, line.read_u8()).await;
    assert!(heard.is_err(), "{heard:?} was heard");
}
