//! Holds the service to its promises, with a real broker, a real database and real tables.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test prints its seed, and that it was skipped")]

mod cli;
mod ingest;
mod ingest_faults;
mod ingest_world;
mod lake;
mod lake_tables;
mod lake_world;
mod pipeline;
mod reconcile;
mod reconcile_tills;
mod stock;
