//! The outside world on demand: real servers, certificates and bad links to try the product on.
//! Never shipped in the two programs.

pub mod authority;
pub mod broker;
pub mod buckets;
pub mod cli;
pub mod demo;
pub mod disk;
pub mod error;
mod files;
pub mod fleet;
pub mod journal;
pub mod link;
pub mod oracle;
mod ports;
pub mod postgres;
pub mod process;
pub mod publish;
pub mod replay;
pub mod s3;
pub mod shop;
pub mod stack;
pub mod store;
pub mod till;
pub mod tls;
pub mod truth;
pub mod wait;
