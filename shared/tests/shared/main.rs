//! The promises of the shared words: bytes that may never change by accident.

mod wire;
