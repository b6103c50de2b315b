//! What the agent promises, each promise in a file of its own.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails and tells by them")]

mod cli;
mod exactly_once;
mod formats;
mod outage;
mod poslog;
mod reading;
mod restart;
mod serial;
mod sources;
mod tcp;
mod telegram;
mod till;
mod world;
