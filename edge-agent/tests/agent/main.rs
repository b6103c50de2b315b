//! What the agent promises, each promise in a file of its own.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails and tells by them")]

mod backfill;
mod calls;
mod cli;
mod contract;
mod dsfinvk;
mod escpos;
mod exactly_once;
mod faults;
mod folders;
mod formats;
mod http;
mod inspection;
mod joins;
mod kinds;
mod mounts;
mod outage;
mod poslog;
mod reading;
mod rest;
mod restart;
mod same_minutes;
mod serial;
mod service;
mod shop;
mod sources;
mod stock;
mod strangers;
mod tcp;
mod telegram;
mod till;
mod world;
