//! What the agent promises, each promise in a file of its own.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails and tells by them")]

mod backfill;
mod cli;
mod dsfinvk;
mod escpos;
mod exactly_once;
mod folders;
mod formats;
mod http;
mod inspection;
mod joins;
mod outage;
mod poslog;
mod power;
mod reading;
mod rest;
mod restart;
mod same_minutes;
mod serial;
mod sources;
mod stock;
mod tcp;
mod telegram;
mod till;
mod world;
