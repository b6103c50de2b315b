//! Free ports below 32768: above it the kernel hands them to outgoing connections, and a restarted
//! server could find its own taken.

use std::net::{Ipv4Addr, TcpListener};

use rand::Rng;

use crate::error::StackError;

/// Looked for at random in this range, so that two stacks that start together hardly meet.
const RANGE: std::ops::Range<u16> = 12_000..32_000;
/// Tries per port: where so many in a row are taken, the machine has no free ports.
const TRIES: usize = 200;

/// Returns this many different free ports of the loopback address.
pub(crate) fn free<const N: usize>() -> Result<[u16; N], StackError> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = one()?;
        *port = listener.1;
        held.push(listener.0);
    }
    Ok(ports)
}

fn one() -> Result<(TcpListener, u16), StackError> {
    let mut random = rand::rng();
    for _ in 0..TRIES {
        let port = random.random_range(RANGE);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok((listener, port));
        }
    }
    Err(StackError::wrong(format!("no free port found between {RANGE:?} in {TRIES} tries")))
}
