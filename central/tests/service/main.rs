//! Holds the service to its promises, with a real broker, a real database and real tables.

mod lake_tables;
