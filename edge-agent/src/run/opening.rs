//! Opens the buffer. One that is a copy of what was here before begins a new stream; what waits in the
//! old one goes out first, as it is.

use shared::log::Chain;

use crate::buffer::{self, Binding, Buffer, BufferError, Key, Quota, renew};
use crate::config::Config;

use super::time::Timekeeper;

/// What becomes of a buffer that is a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    /// It begins a new stream.
    BeginsAnew,
    /// It is refused: only a running agent begins one.
    IsRefused,
}

/// Returns how a configuration's buffer is opened.
pub(crate) fn buffer_settings(config: &Config) -> Result<buffer::Settings, BufferError> {
    let (bytes, reserve_bytes) = (config.buffer.quota_bytes, config.buffer.reserve_bytes);
    Ok(buffer::Settings {
        path: config.buffer.path.clone(),
        key: Key::from_file(&config.buffer.key_file).map_err(BufferError::Key)?,
        machine_id: config.machine_id.clone(),
        quota: Quota { bytes, reserve_bytes },
        now: Timekeeper::start(config.clock, None).stamp(),
    })
}

/// Returns what tells a configuration's buffer from its copies.
pub(crate) fn binding(config: &Config) -> Binding {
    Binding { store: config.store.clone(), counter: config.buffer.counter_file.clone() }
}

/// Opens the buffer of a configuration, or makes it.
pub(super) fn open_buffer(
    config: &Config,
    copy: Copy,
) -> Result<(Buffer, buffer::Writer), BufferError> {
    let (settings, binding) = (buffer_settings(config)?, binding(config));
    match Buffer::open_bound(settings.clone(), &binding) {
        Err(BufferError::Unbound { path, why }) if copy == Copy::BeginsAnew => {
            let kept = renew::renew(&settings, &binding, why)?;
            let (path, kept) = (path.display(), kept.display());
            tracing::error!(
                %path, %kept, %why,
                "the buffer begins a new stream; the centre takes it once the store is activated"
            );
            Ok(Buffer::open_bound(settings, &binding)?)
        }
        opened => Ok(opened?),
    }
}

/// Returns the buffers that were here before and still hold what waits, with their writers.
pub(super) async fn past_buffers(
    config: &Config,
) -> anyhow::Result<(Vec<Buffer>, Vec<buffer::Writer>)> {
    let (mut buffers, mut writers) = (Vec::new(), Vec::new());
    for path in renew::past(&config.buffer.path)? {
        let name = path.display().to_string();
        let quota = Quota { bytes: config.buffer.quota_bytes, reserve_bytes: 0 };
        let settings = buffer_settings(config)?;
        let settings = buffer::Settings { path, machine_id: None, quota, ..settings };
        match waiting(settings, config).await {
            Ok(Some((backlog, buffer, writer))) => {
                tracing::info!(path = %name, backlog, "batches of an earlier stream go out first");
                buffers.push(buffer);
                writers.push(writer);
            }
            Ok(None) => {}
            Err(error) => {
                // A damaged past must not keep the present from working.
                let error = Chain(&error).to_string();
                tracing::error!(path = %name, error, "what waits in an old buffer cannot be sent");
            }
        }
    }
    Ok((buffers, writers))
}

/// Opens an earlier buffer; nothing where nothing of this store waits in it.
async fn waiting(
    settings: buffer::Settings,
    config: &Config,
) -> Result<Option<(u64, Buffer, buffer::Writer)>, BufferError> {
    let (buffer, writer) = Buffer::open(settings)?;
    let backlog = buffer.figures().await?.backlog;
    let is_ours = buffer.store().await?.is_none_or(|store| store == config.store);
    Ok((backlog > 0 && is_ours).then_some((backlog, buffer, writer)))
}
