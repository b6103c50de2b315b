//! The agent on a store's box: source -> format -> aggregate -> buffer -> ship.

pub mod cli;
pub mod format;
