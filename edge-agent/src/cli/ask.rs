//! Asks the running agent by its socket; where none runs, does it in its place.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::{Shape, print, print_json};
use crate::config::Config;
use crate::control::{Answer, LINE_BYTES_MAX, Request, path};

/// How long an answer may take: a large unit is read and committed meanwhile.
const ANSWER_MOST: Duration = Duration::from_secs(60);

/// Asks, and prints what is answered.
pub(super) fn ask(config: &Config, request: &Request, shape: Shape) -> anyhow::Result<ExitCode> {
    let answer = match UnixStream::connect(path(&config.state_folder)) {
        Ok(stream) => over(stream, request).context("the agent gave no answer")?,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            in_its_place(config, request)?
        }
        Err(error) => {
            return Err(error).context("the agent's socket cannot be used; run this as its user");
        }
    };
    match answer {
        Answer::Done(said) => {
            match shape {
                Shape::Json => print_json(&serde_json::json!({ "said": said }))?,
                Shape::Text => print(&said)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Answer::Failed(why) => anyhow::bail!(why),
    }
}

fn over(mut stream: UnixStream, request: &Request) -> anyhow::Result<Answer> {
    stream.set_read_timeout(Some(ANSWER_MOST))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

fn in_its_place(config: &Config, request: &Request) -> anyhow::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(crate::run::in_its_place(config.clone(), request))
}
