//! What the agent promises, each promise in a file of its own.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails and tells by them")]

mod backfill;
mod binding;
mod cli;
mod concurrent;
mod dsfinvk;
mod escpos;
mod exactly_once;
mod folders;
mod formats;
mod http;
mod inspection;
mod joins;
mod large;
mod outage;
mod poslog;
mod reading;
mod repair;
mod rest;
mod restart;
mod restore;
mod same_minutes;
mod serial;
mod sources;
mod stock;
mod tcp;
mod telegram;
mod till;
mod world;
