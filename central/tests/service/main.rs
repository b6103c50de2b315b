//! Holds the service to its promises, with a real broker, a real database and real tables.

mod lake;
mod lake_tables;
mod lake_world;
mod reconcile;
