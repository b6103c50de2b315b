//! What serial ports promise, on pairs of pseudo terminals.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use edge_agent::config::{Answer, Flow, Hold, LineConfig, SerialConfig, SerialFraming};
use edge_agent::source::Source;
use edge_agent::source::serial::{Serial, probe};
use fakes::wait;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use shared::time::Clock;

use crate::reading::data;
use crate::till::{ACK, DLE, NAK, joined_receipt, whole_receipt};
use crate::world::{SOON, World};

#[tokio::test]
async fn telegrams_on_a_port_are_acknowledged_once_they_are_on_disk() {
    let world = world("whole", "answer = \"ack-nak\"");
    let mut till = Till::plug_in(&world);
    let agent = world.agent().await;
    let telegram = whole_receipt(1, 199);
    assert_eq!(till.ask(&telegram).await, ACK);
    agent.kill();
    let _agent = world.agent().await;
    assert_eq!(till.ask(&telegram).await, ACK);
    let mut damaged = whole_receipt(2, 50);
    damaged[9] ^= 4;
    assert_eq!(till.ask(&damaged).await, NAK);
    // Byte by byte, as a slow port does.
    let whole = whole_receipt(2, 50);
    for byte in &whole[..whole.len() - 1] {
        till.say(&[*byte]);
    }
    assert_eq!(till.ask(&whole[whole.len() - 1..]).await, ACK);
    world.until_cut(2, 249).await;
    world.until_set_aside(1).await;
}

#[tokio::test]
async fn an_adapter_that_is_pulled_out_within_a_receipt_goes_on_when_it_is_back() {
    let world = world("joined", "answer = \"3964r\"");
    let _agent = world.agent().await;
    for telegram in joined_receipt(7) {
        let mut till = Till::plug_in(&world).opened().await;
        // Pulled out within a telegram: it is sent again as a whole.
        assert_eq!(till.ask(&telegram[..1]).await, DLE);
        till.say(&telegram[1..9]);
        drop(till);
        let mut till = Till::plug_in(&world).opened().await;
        assert_eq!(till.ask(&telegram[..1]).await, DLE);
        assert_eq!(till.ask(&telegram[1..]).await, DLE);
    }
    world.until_cut(1, 698).await;
}

#[tokio::test]
async fn a_port_is_ours_alone_and_a_passive_one_is_never_written_to() {
    let world = world("whole", "");
    let mut till = Till::plug_in(&world);
    let config = SerialConfig {
        device: world.path("port"),
        baud: 9600,
        framing: SerialFraming::Bits8None,
        flow: Flow::None,
        line: LineConfig { answer: Answer::None, hold: Hold::Silent, quiet: SOON },
    };
    let agent = world.agent().await;
    till.say(&whole_receipt(1, 199));
    world.until_cut(1, 199).await;
    assert!(till.heard().is_none(), "a byte was written");
    let told = probe(config.clone()).await.unwrap_err().to_string();
    assert!(told.contains("cannot be opened"), "{told}");
    assert!(Serial::new(config.clone(), Vec::new(), Clock::real()).next().await.is_err());
    assert!(agent.stop().await.success());
    assert!(probe(config).await.unwrap().contains("can be opened"));
}

/// The till's end of a port, and the port.
pub(crate) struct Till {
    line: File,
    port: OwnedFd,
}

impl Till {
    /// Plugs an adapter in, under the name that the box knows.
    fn plug_in(world: &World) -> Self {
        Self::plug_in_as(&world.path("port"))
    }

    /// Plugs an adapter in under a name.
    pub(crate) fn plug_in_as(port: &Path) -> Self {
        let pair = openpty(None, None).unwrap();
        let mut habits = tcgetattr(&pair.slave).unwrap();
        cfmakeraw(&mut habits);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &habits).unwrap();
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let name = std::fs::read_link(format!("/proc/self/fd/{}", pair.slave.as_raw_fd())).unwrap();
        let fresh = port.with_extension("new");
        std::os::unix::fs::symlink(name, &fresh).unwrap();
        std::fs::rename(fresh, port).unwrap();
        Self { line: File::from(pair.master), port: pair.slave }
    }

    /// Waits until somebody has the port: what is said earlier is flushed, as on a real one.
    async fn opened(self) -> Self {
        let look = async || if self.is_open() { Ok(()) } else { Err("nobody has it".to_owned()) };
        wait::until("the port is opened", SOON, look).await.unwrap();
        self
    }

    /// Tells whether somebody has the port.
    pub(crate) fn is_open(&self) -> bool {
        let port = File::from(self.port.try_clone().unwrap());
        let is_free = port.try_lock().is_ok();
        if is_free {
            port.unlock().unwrap();
        }
        !is_free
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.line.write_all(bytes).unwrap();
    }

    /// Says something and waits for the answer.
    async fn ask(&mut self, bytes: &[u8]) -> u8 {
        self.say(bytes);
        let look = async || self.heard().ok_or_else(|| "nothing is heard".to_owned());
        wait::until("an answer comes", SOON, look).await.unwrap()
    }

    pub(crate) fn heard(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.line.read(&mut byte) {
            Ok(1) => Some(byte[0]),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn world(layout: &str, more: &str) -> World {
    let world = World::new();
    let settings = data(&format!("telegram/{layout}/layout.toml")).display().to_string();
    world.configure_source(&format!(
        "[[sources]]\nname = \"port\"\nkind = \"serial\"\ndevice = \"port\"\nformat = \"telegram\"\n\
         settings = {settings:?}\n{more}\n"
    ));
    world
}
