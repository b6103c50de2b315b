//! What a person sees while the demo runs: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// How often a plain line tells how far it is, where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// The screen or the pipe.
pub(crate) struct Screen {
    bar: Option<ProgressBar>,
    last_plain: Option<Instant>,
}

impl Screen {
    /// Opens the screen for a span of simulated seconds.
    pub(crate) fn new(seconds: u64) -> Self {
        let bar = std::io::stdout().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let target = ProgressDrawTarget::stdout();
            ProgressBar::with_draw_target(Some(seconds), target).with_style(style)
        });
        Self { bar, last_plain: None }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => plain(line),
        }
    }

    /// Shows how far it is.
    pub(crate) fn progress(&mut self, seconds: u64, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(seconds);
            bar.set_message(message.to_owned());
        } else if self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_EVERY) {
            self.last_plain = Some(Instant::now());
            plain(message);
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes a line; nobody may be listening any more, which is no reason to stop.
fn plain(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
