//! Holds the service to its promises, with a real broker, a real database and real tables.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test prints its seed, and that it was skipped")]

mod cli;
mod dead_letters;
mod faults;
mod foreign;
mod ingest;
mod ingest_faults;
mod ingest_world;
mod judge_fuzz;
mod lake;
mod lake_s3;
mod lake_tables;
mod lake_world;
mod migrations;
mod new_box;
mod pipeline;
mod planted;
mod planted_shop;
mod poison;
mod reconcile;
mod reconcile_tills;
mod registry;
mod stock;
mod told;
