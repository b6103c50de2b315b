//! The service in the data centre: it consumes every store-minute, judges it once and stores what
//! counts, what does not, and how far it is, in one transaction.

pub mod cli;
pub mod config;
pub mod figures;
pub mod kafka;
pub mod lake;
pub mod reconcile;
pub mod store;
pub mod tls;
pub mod topics;
