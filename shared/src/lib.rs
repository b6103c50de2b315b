//! The words that agent and centre both speak, and two habits: when to try again, and how to log.
//!
//! Nothing here does I/O but [`time::Clock`], which is the only reader of the wall clock, and
//! [`log::start`], which sets up the log once.
#![warn(missing_docs)]

pub mod backoff;
pub mod delivered;
pub mod digest;
pub mod ids;
pub mod ledger;
pub mod log;
pub mod minute;
pub mod money;
pub mod ranges;
pub mod receipt;
pub mod time;
pub mod topics;
pub mod wire;
pub mod words;
