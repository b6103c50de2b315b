//! A serial line without a cable: a pseudo terminal whose other end stands under a path.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{ttyname, write};
use tokio::time::Instant;

use crate::error::StackError;

/// How often a line whose reader is behind is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// The tills' end of a serial line. The reader's end stays open too, so that what was sent waits for
/// a reader that comes later; only the buffer's few kilobytes do.
#[derive(Debug)]
pub(super) struct Line {
    path: PathBuf,
    near: OwnedFd,
    _far: OwnedFd,
}

impl Line {
    /// Opens a line and puts a link to its far end under `path`.
    pub(super) fn open(path: &Path) -> Result<Self, StackError> {
        let made = || StackError::path("make the serial line", path);
        let pair = openpty(None, None).map_err(io::Error::from).map_err(made())?;
        let far = raw(&pair.slave).and_then(|()| {
            fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            ttyname(&pair.slave)
        });
        let far = far.map_err(io::Error::from).map_err(made())?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(made()(error)),
            Ok(()) | Err(_) => {}
        }
        symlink(far, path).map_err(made())?;
        Ok(Self { path: path.to_owned(), near: pair.master, _far: pair.slave })
    }

    /// Sends bytes, and waits this long where the reader is behind.
    pub(super) async fn send(&self, bytes: &[u8], patience: Duration) -> Result<(), StackError> {
        let mut until = Instant::now() + patience;
        let mut rest = bytes;
        while !rest.is_empty() {
            match write(&self.near, rest) {
                Ok(count) => {
                    rest = &rest[count..];
                    until = Instant::now() + patience;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                Err(error) => {
                    let failed = StackError::path("send on the serial line", &self.path);
                    return Err(failed(error.into()));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Line {
    /// The link leads nowhere once the line is closed.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the serial line's link stays");
        }
    }
}

/// Bytes pass as they are: no echo, no line ends, no signals.
fn raw(far: &OwnedFd) -> Result<(), Errno> {
    let mut settings = tcgetattr(far)?;
    cfmakeraw(&mut settings);
    tcsetattr(far, SetArg::TCSANOW, &settings)
}
