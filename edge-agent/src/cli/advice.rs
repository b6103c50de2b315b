//! What to look at when a source cannot be reached, for whoever stands in the store: one sentence for
//! each way in which the kernel says no. It changes nothing and asks nothing.

use std::error::Error;
use std::io::{self, ErrorKind};

use crate::config::Reach;

/// Returns a sentence that helps, where there is one.
#[allow(clippy::wildcard_enum_match_arm, reason = "not every error has a sentence that helps")]
pub(super) fn advice(reach: &Reach, error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut causes = std::iter::successors(Some(error), |&cause| cause.source());
    let kind = causes.find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)?;
    match kind {
        ErrorKind::ConnectionRefused => {
            Some("nothing listens at that port: is it the right one, does the till's program run?")
        }
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Some(
            "nothing answers there: is the address right, is a cable or a firewall in the way?",
        ),
        ErrorKind::AddrNotAvailable => {
            Some("this box has no such address: 0.0.0.0 listens on all that it has")
        }
        ErrorKind::PermissionDenied => Some(forbidden(reach)),
        ErrorKind::NotFound => absent(reach),
        ErrorKind::NotADirectory => Some("name the folder, not a file in it"),
        _ => unnamed(error),
    }
}

fn forbidden(reach: &Reach) -> &'static str {
    match reach {
        Reach::Directory(_) => "let the agent's user read the folder and its files",
        Reach::Serial(_) => "add the agent's user to the port's group (on Debian: dialout)",
        Reach::Tcp(_) => "ports below 1024 need CAP_NET_BIND_SERVICE; take a higher one",
        Reach::Http(_) | Reach::Fake(_) => "let the agent's user read the file",
    }
}

fn absent(reach: &Reach) -> Option<&'static str> {
    match reach {
        Reach::Directory(_) => Some("is the share mounted, is the path spelt right?"),
        Reach::Serial(_) => Some("is the adapter plugged in? /dev/serial/by-id/ shows what is"),
        Reach::Http(_) | Reach::Tcp(_) | Reach::Fake(_) => None,
    }
}

/// Knows some errors by what they say: the standard library has no kind for them.
fn unnamed(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let text = shared::log::Chain(error).to_string();
    let says = |words: &str| text.contains(words);
    if says("lookup address") {
        Some("the name is not known here: is it spelt right? an IP address needs no name server")
    } else if says("typewriter") || says("ioctl") {
        Some("that is no serial port")
    } else {
        None
    }
}
