//! The promises of the shared words: bytes that may never change by accident, and the house rules.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tidy;
mod wire;
