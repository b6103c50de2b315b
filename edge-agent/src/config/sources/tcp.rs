//! The keys of a source of kind `tcp`, beside those of every line (`line.rs`).
//!
//! ```toml
//! mode = "client"                    # required: client, server, mirror or proxy
//! address = "10.0.0.5:4001"          # client: the till; else where we listen, mirror: "0.0.0.0:9100"
//! printer = "10.0.0.9:9100"          # proxy: the printer behind us
//! read_timeout_seconds = 86400       # silence after which a connection is closed
//! ca = "ca.pem"                      # client: TLS, and by whom the till's certificate is signed
//! server_name = "till-3"             # client with TLS: the name in the till's certificate
//! certificate = "agent.pem"          # server: TLS
//! key = "agent.key"
//! ```

use std::path::PathBuf;
use std::time::Duration;

use super::line::{self, Answer, LineConfig};
use crate::config::Section;

/// A socket.
#[derive(Debug, Clone)]
pub struct TcpConfig {
    /// Who calls whom.
    pub mode: TcpMode,
    /// Whom we call, or where we listen.
    pub address: String,
    /// How it is answered.
    pub line: LineConfig,
    /// Silence after which a connection is closed.
    pub read_timeout: Duration,
}

/// Who calls whom.
#[derive(Debug, Clone)]
pub enum TcpMode {
    /// We call the till.
    Client(Option<ClientTls>),
    /// The till calls us.
    Server(Option<ServerTls>),
    /// Somebody sends us a copy of what a printer gets.
    Mirror,
    /// We stand between a till and its printer.
    Proxy {
        /// The printer.
        printer: String,
    },
}

/// How we know a till that we call.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// The authority of its certificate.
    pub ca: PathBuf,
    /// The name in it.
    pub server_name: String,
}

/// How a till that calls us knows us.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

pub(super) fn read(section: &mut Section) -> Option<TcpConfig> {
    let mode: Option<String> = section.required("mode", "client, server, mirror or proxy");
    let line = line::read(section);
    let read_timeout = section.seconds("read_timeout_seconds", 86_400, 1..=31_536_000);
    let address = match mode.as_deref() {
        Some("mirror") => Some(section.text("address").unwrap_or("0.0.0.0:9100".to_owned())),
        Some(_) => section.required("address", "a host and port such as \"10.0.0.5:4001\""),
        None => section.text("address"),
    };
    if let Some(address) = &address {
        check_address(section, "address", address);
    }
    let Some(mode) = mode else {
        section.leave();
        return None;
    };
    let taps = matches!(mode.as_str(), "mirror" | "proxy");
    let mode = match mode.as_str() {
        "client" => client_tls(section).map(TcpMode::Client),
        "server" => server_tls(section).map(TcpMode::Server),
        "mirror" => Some(TcpMode::Mirror),
        "proxy" => {
            let printer: Option<String> = section.required("printer", "a host and port");
            if let Some(printer) = &printer {
                check_address(section, "printer", printer);
                let what = "is also the printer's: whoever called it would call himself";
                if address.as_ref() == Some(printer) {
                    section.fault("address", what.to_owned());
                }
            }
            printer.map(|printer| TcpMode::Proxy { printer })
        }
        other => {
            section.fault("mode", format!("{other:?} is no client, server, mirror or proxy"));
            section.leave();
            return None;
        }
    };
    if taps && line.answer != Answer::None {
        section.fault("answer", "must be \"none\": a mirror or proxy never answers".to_owned());
    }
    Some(TcpConfig { mode: mode?, address: address?, line, read_timeout })
}

fn check_address(section: &mut Section, key: &str, address: &str) {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
        section.fault(key, format!("{address:?} is no host and port such as \"10.0.0.5:4001\""));
    }
}

fn client_tls(section: &mut Section) -> Option<Option<ClientTls>> {
    if section.text("ca").is_none() {
        if section.text("server_name").is_some() {
            section.fault("server_name", "needs a ca".to_owned());
        }
        return Some(None);
    }
    let ca = section.required_file("ca", "the authority of the till's certificate");
    let server_name = section.required("server_name", "the name in the till's certificate");
    Some(Some(ClientTls { ca: ca?, server_name: server_name? }))
}

fn server_tls(section: &mut Section) -> Option<Option<ServerTls>> {
    if section.text("certificate").is_none() && section.text("key").is_none() {
        return Some(None);
    }
    let certificate = section.required_file("certificate", "our certificate");
    let key = section.required_file("key", "the certificate's key");
    Some(Some(ServerTls { certificate: certificate?, key: key? }))
}
