//! Free ports below 32768: above it the kernel hands them to outgoing connections, and a restarted
//! server could find its own taken.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use rand::Rng;

use crate::error::StackError;
use crate::wait;

/// Looked for at random in this range, so that two stacks that start together hardly meet.
const RANGE: std::ops::Range<u16> = 12_000..32_000;
/// Tries per port: where so many in a row are taken, the machine has no free ports.
const TRIES: usize = 200;

/// How long the kernel and a killed server's children may hold a port.
const RELEASE: Duration = Duration::from_secs(10);

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

/// Returns once all these ports can be listened on. The children of a server that was killed hold
/// its port for a moment; whoever holds it longer is another program.
pub(crate) async fn until_free(name: &'static str, ports: &[u16]) -> Result<(), StackError> {
    let freed = wait::until("its ports are free", RELEASE, async || {
        match ports.iter().find(|&&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()) {
            Some(port) => Err(port.to_string()),
            None => Ok(()),
        }
    });
    freed.await.map_err(|taken| StackError::PortTaken { name, said: taken.last_seen })
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
