//! What the fakes promise: a stack that stands, survives and leaves nothing, and refuses strangers;
//! a shop that adds up; an oracle that finds every difference.
#![allow(clippy::unwrap_used, reason = "a test may end where its world is not as it must be")]

mod disturbed;
mod fleet;
mod oracle;
mod refusals;
mod replay;
mod shop;
mod stack;
mod store;
mod store_ways;
mod tills;
mod tills_written;

/// Held by each test that puts up a stack of its own: several brokers that start at once on a small
/// machine outlast every deadline.
static OWN_STACK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
