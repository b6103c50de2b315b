//! A till on a serial port. The port is ours alone while it is open; an adapter that is pulled out
//! ends the line, and one that is plugged in again goes on.

use std::time::Duration;

use shared::backoff::Backoff;
use shared::time::Clock;
use tokio::time::Instant;
use tokio_serial::{
    DataBits, FlowControl, Parity, SerialPortBuilder, SerialPortBuilderExt, SerialStream, StopBits,
};

use super::lines::{Habits, Lines, Memory};
use super::{Completeness, Event, Fate, Form, Place, Source, SourceError};
use crate::config::{Flow, SerialConfig, SerialFraming};

/// A port is silent at night and on Sundays; only its end is its end.
const SILENCE: Duration = Duration::from_secs(31_536_000);

/// The name of a port's only feed.
const FEED: &str = "port";

/// A till on a serial port.
pub struct Serial {
    config: SerialConfig,
    lines: Lines,
    retry: Backoff,
    try_at: Instant,
}

impl Serial {
    /// Makes a source that goes on where the marks say.
    pub fn new(config: SerialConfig, marks: Vec<(String, String)>, clock: Clock) -> Self {
        let memory = Memory::Line;
        let habits = Habits { line: config.line, silence: SILENCE, memory, clock };
        let retry = Backoff::new(Duration::from_millis(200), Duration::from_secs(5), 1);
        Self { lines: Lines::new(habits, marks), config, retry, try_at: Instant::now() }
    }

    fn open(&mut self) -> Result<(), SourceError> {
        self.try_at = Instant::now() + self.retry.next_wait();
        let port = open(&self.config)?;
        self.lines.open(FEED, std::future::ready(Ok(port)));
        Ok(())
    }
}

/// Opens the port, alone: TIOCEXCL and a lock keep others out, also a second agent.
fn open(config: &SerialConfig) -> Result<SerialStream, SourceError> {
    builder(config).open_native_async().map_err(|error| SourceError::Line {
        what: format!("the port {} cannot be opened", config.device.display()),
        source: error.into(),
    })
}

fn builder(config: &SerialConfig) -> SerialPortBuilder {
    let (bits, parity) = match config.framing {
        SerialFraming::Bits8None => (DataBits::Eight, Parity::None),
        SerialFraming::Bits7Even => (DataBits::Seven, Parity::Even),
        SerialFraming::Bits8Even => (DataBits::Eight, Parity::Even),
        SerialFraming::Bits7Odd => (DataBits::Seven, Parity::Odd),
    };
    let flow = match config.flow {
        Flow::None => FlowControl::None,
        Flow::Software => FlowControl::Software,
        Flow::Hardware => FlowControl::Hardware,
    };
    tokio_serial::new(config.device.to_string_lossy(), config.baud)
        .data_bits(bits)
        .parity(parity)
        .stop_bits(StopBits::One)
        .flow_control(flow)
}

/// Tells whether the port can be had; it is opened and closed. Fails while an agent has it.
pub async fn probe(config: SerialConfig) -> Result<String, SourceError> {
    let opened = tokio::task::spawn_blocking(move || {
        builder(&config).open().map(drop).map(|()| config.device.clone()).map_err(|error| {
            let what = format!("the port {} cannot be opened", config.device.display());
            SourceError::Line { what, source: error.into() }
        })
    });
    let device = opened.await.expect("opening a port does not panic")?;
    Ok(format!("{} can be opened", device.display()))
}

impl Source for Serial {
    async fn next(&mut self) -> Result<Event, SourceError> {
        loop {
            if self.lines.count() > 0 || self.lines.has_events() {
                let event = self.lines.next().await;
                if matches!(event, Event::Bytes(_)) {
                    self.retry.reset();
                }
                return Ok(event);
            }
            tokio::time::sleep_until(self.try_at).await;
            self.open()?;
        }
    }

    fn mark(&mut self, place: Place, completeness: Completeness) -> Option<String> {
        self.lines.mark(place, completeness)
    }

    fn committed(&mut self, _: Fate) {}

    fn answer(&mut self, form: Form) {
        self.lines.answer(form);
    }

    fn held_back(&mut self) {
        self.lines.held_back();
    }
}
