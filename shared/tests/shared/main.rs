//! The promises of the shared words: bytes that may never change by accident, and the house rules.

mod tidy;
mod wire;
