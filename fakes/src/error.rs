//! What can go wrong while the outside world is put up or taken down. A new stack takes other ports
//! where one is taken; nothing else is decided by the kind. Each error says what failed and, where
//! there is one, keeps the cause as its source.

use std::error::Error;
use std::fmt::Display;
use std::path::Path;

/// Why a stack or a part of it does not stand.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The operating system refused something.
    #[error("{what}")]
    System {
        /// What failed.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A library or a server refused something.
    #[error("{what}")]
    Foreign {
        /// What failed.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another program has a port that a server was given.
    #[error("{name} found a port taken by another program: {said}")]
    PortTaken {
        /// The server.
        name: &'static str,
        /// The port, or what the server said.
        said: String,
    },
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(String),
}

impl StackError {
    /// Makes an error of something that is not as it must be.
    pub fn wrong(what: impl Display) -> Self {
        Self::Wrong(what.to_string())
    }

    /// Makes an error of a server that has ended by itself and of the end of its log.
    pub fn ended(name: &'static str, log: String) -> Self {
        if log.contains("Address already in use") {
            return Self::PortTaken { name, said: log };
        }
        Self::Wrong(format!("{name} ended at once; its log ends with:\n{log}"))
    }

    /// Returns a function that wraps a library's error, to be used with `map_err`.
    pub fn foreign<E: Error + Send + Sync + 'static>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |source| Self::Foreign { what: what.to_string(), source: Box::new(source) }
    }

    /// Returns a function that wraps an error about a path, to be used with `map_err`.
    pub fn path(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what: format!("cannot {doing} {}", path.display()), source }
    }

    /// Returns the error and all its causes in one line.
    pub fn chain(&self) -> String {
        causes(self)
    }
}

/// Returns an error and all its causes in one line, each said once.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}
