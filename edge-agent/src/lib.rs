//! The agent on a store's box: source -> format -> aggregate -> buffer -> ship. Only [`run`] joins
//! the stages; they do not name one another, but for ship, which empties the buffer.

pub mod aggregate;
pub mod buffer;
mod built;
pub mod cli;
pub mod config;
pub mod control;
mod digest;
pub mod format;
pub mod restore;
pub mod run;
pub mod ship;
pub mod source;
pub mod status;
