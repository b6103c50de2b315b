//! The links of a stack, served on one control port: one line in (`edge-kafka cut`), one line out
//! (`ok`). Anyone on this machine may give orders; these are fakes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::Link;
use crate::error::StackError;

/// An order is shorter than this.
const ORDER_BYTES_MAX: u64 = 256;
/// How long an order may take; a refusing or healing link waits for its port.
const PATIENCE: Duration = Duration::from_secs(10);

/// The links that a stack has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkName {
    /// Between the stores and the broker.
    EdgeKafka,
    /// Between the centre and the broker.
    CentreKafka,
    /// Between the centre and its database.
    CentrePostgres,
}

impl LinkName {
    /// All links.
    pub const ALL: [Self; 3] = [Self::EdgeKafka, Self::CentreKafka, Self::CentrePostgres];

    /// Returns the name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdgeKafka => "edge-kafka",
            Self::CentreKafka => "centre-kafka",
            Self::CentrePostgres => "centre-postgres",
        }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for LinkName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| {
            format!("there is no link {text:?}; edge-kafka, centre-kafka and centre-postgres are")
        })
    }
}

/// What a link can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Let every byte vanish.
    Cut,
    /// Carry everything again.
    Heal,
    /// Reset connections and refuse new ones.
    Refuse,
    /// Hold every byte back for this long.
    Delay(Duration),
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => out.write_str("cut"),
            Self::Heal => out.write_str("heal"),
            Self::Refuse => out.write_str("refuse"),
            Self::Delay(delay) => write!(out, "delay {}", delay.as_millis()),
        }
    }
}

impl FromStr for Order {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let millis = text.strip_prefix("delay ").and_then(|millis| millis.parse().ok());
        match (text, millis) {
            ("cut", _) => Ok(Self::Cut),
            ("heal", _) => Ok(Self::Heal),
            ("refuse", _) => Ok(Self::Refuse),
            (_, Some(millis)) => Ok(Self::Delay(Duration::from_millis(millis))),
            (_, None) => Err(format!("{text:?} is no order; cut, heal, refuse and delay MS are")),
        }
    }
}

/// Serves the links, each from its port to a port of this machine, until cancelled.
pub async fn serve(control: u16, links: &[(LinkName, u16, u16)]) -> Result<(), StackError> {
    let mut running = BTreeMap::new();
    for &(name, port, target) in links {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
        let link = Link::start_on(port, target).await.map_err(cannot_listen(port))?;
        running.insert(name, link);
    }
    let running = Arc::new(running);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, control)).await;
    let listener = listener.map_err(cannot_listen(control))?;
    loop {
        let (stream, _) = listener.accept().await.map_err(cannot_listen(control))?;
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            if let Err(error) = obey(stream, &running).await {
                tracing::warn!(%error, "an order was not taken");
            }
        });
    }
}

fn cannot_listen(port: u16) -> impl FnOnce(io::Error) -> StackError {
    move |source| StackError::System { what: format!("cannot listen on port {port}"), source }
}

async fn obey(mut stream: TcpStream, links: &BTreeMap<LinkName, Link>) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(&mut stream).take(ORDER_BYTES_MAX).read_line(&mut line).await?;
    let answer = match carry_out(line.trim_end(), links).await {
        Ok(()) => "ok\n".to_owned(),
        Err(reason) => format!("{reason}\n"),
    };
    stream.write_all(answer.as_bytes()).await
}

async fn carry_out(line: &str, links: &BTreeMap<LinkName, Link>) -> Result<(), String> {
    let (name, order) = line.split_once(' ').ok_or("an order is a link's name and a word")?;
    let (name, order): (LinkName, Order) = (name.parse()?, order.parse()?);
    let link = links.get(&name).ok_or_else(|| format!("{name} is not served here"))?;
    match order {
        Order::Cut => link.cut(),
        Order::Heal => link.heal().await,
        Order::Refuse => link.refuse().await,
        Order::Delay(delay) => link.delay(delay),
    }
    Ok(())
}

/// Gives an order to a served link and returns once it holds.
pub async fn give(control: u16, name: LinkName, order: Order) -> Result<(), StackError> {
    let failed = || format!("the links do not answer on port {control}");
    let line = format!("{name} {order}\n");
    let answer = tokio::time::timeout(PATIENCE, ask(control, &line)).await;
    let answer = answer.map_err(StackError::foreign(failed()))?;
    let answer = answer.map_err(StackError::foreign(failed()))?;
    match answer.trim_end() {
        "ok" => Ok(()),
        reason => Err(StackError::wrong(format!("{name} did not {order}: {reason:?}"))),
    }
}

async fn ask(control: u16, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, control)).await?;
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_orders_read_back_as_they_are_written() {
        for name in LinkName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        let delay = Order::Delay(Duration::from_millis(250));
        for order in [Order::Cut, Order::Heal, Order::Refuse, delay] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        assert!("delay soon".parse::<Order>().is_err());
        assert!("edge".parse::<LinkName>().is_err());
    }
}
