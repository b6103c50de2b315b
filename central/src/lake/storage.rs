//! Where the warehouse lies: a local folder, or a bucket of an S3-compatible object store.
//!
//! Its one demand is put-if-absent: without it two writers could give the same version to two
//! commits, and one of them would vanish. It is tried out at the start, never taken on trust.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_for, logstore_with};
use deltalake::{DeltaTableError, ensure_table_uri};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use shared::log::Chain;

use super::disk::SyncedFolder;
use super::remote::{self, Meaning, SettingsError};
use crate::config::LakeConfig;

/// Where the warehouse lies. Its settings hold keys, so they are never printed.
#[derive(Clone)]
pub struct Storage {
    place: Place,
    settings: BTreeMap<String, String>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Storage").field("place", &self.place).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    Url(String),
}

/// Why the place cannot hold the warehouse.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The folder cannot be made or found.
    #[error("cannot use the folder {path} for the lake")]
    Folder {
        /// The folder.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The place is no folder and no URL that is known.
    #[error("{place} is neither a folder nor an s3:// address of a lake")]
    Address {
        /// The place.
        place: String,
        /// The cause.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// The folder does not take a file.
    #[error("cannot write to the lake's folder")]
    Unwritable(#[source] Error),
    /// The object store is told something wrong.
    #[error("the lake's object store cannot be asked")]
    Settings(#[source] SettingsError),
    /// There is no such bucket.
    #[error("there is no bucket for {place} at {endpoint}: make it, or correct lake.path")]
    NoBucket {
        /// The lake's address.
        place: String,
        /// Who was asked.
        endpoint: String,
        /// The cause.
        #[source]
        source: Error,
    },
    /// The store does not let us write.
    #[error(
        "the store at {endpoint} does not let us write to {place}: look at the credentials and the \
         bucket's rights"
    )]
    Denied {
        /// The lake's address.
        place: String,
        /// Who was asked.
        endpoint: String,
        /// The cause.
        #[source]
        source: Error,
    },
    /// The store is away or does not work.
    #[error(
        "the store at {endpoint} does not take {place}: is it up, and is lake.options.endpoint its \
         address?"
    )]
    Away {
        /// The lake's address.
        place: String,
        /// Who was asked.
        endpoint: String,
        /// The cause.
        #[source]
        source: Error,
    },
    /// The store lets a second writer overwrite the first.
    #[error(
        "the lake's store does not honour put-if-absent: two writers could overwrite each other's \
         commits; use a store with conditional writes"
    )]
    Overwrites,
}

impl StorageError {
    /// Returns true where the store may be there later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Folder { .. }
            | Self::Address { .. }
            | Self::Unwritable(_)
            | Self::Settings(_)
            | Self::NoBucket { .. }
            | Self::Denied { .. }
            | Self::Overwrites => false,
        }
    }
}

/// What the proof of a store has shown.
#[derive(Debug)]
enum Proof {
    Refused(Error),
    Overwrites,
}

impl Storage {
    /// Reads what the configuration says: an address with a scheme, such as `s3://bucket/lake`, with
    /// its settings and keys, or a folder.
    pub fn of(config: &LakeConfig) -> Result<Self, StorageError> {
        if !config.path.contains("://") {
            return Ok(Self::in_folder(&config.path));
        }
        let place = Place::Url(config.path.trim_end_matches('/').to_owned());
        let settings = remote::settings(&config.options, config.credentials_file.as_deref());
        Ok(Self { place, settings: settings.map_err(StorageError::Settings)? })
    }

    /// Takes a folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { place: Place::Folder(folder.into()), settings: BTreeMap::new() }
    }

    /// Proves that the place can be written to, and that a name can be given only once.
    pub async fn prove(&self) -> Result<(), StorageError> {
        let log = self.log_store("probe")?;
        let proved = prove_put_if_absent(log.object_store(None).as_ref()).await;
        self.remove_probe().await;
        proved.map_err(|proof| match proof {
            Proof::Overwrites => StorageError::Overwrites,
            Proof::Refused(error) => self.refused(error),
        })
    }

    fn refused(&self, source: Error) -> StorageError {
        let place = match &self.place {
            Place::Folder(_) => return StorageError::Unwritable(source),
            Place::Url(place) => place.clone(),
        };
        let endpoint = remote::endpoint(&self.settings);
        match remote::meaning(&source) {
            Meaning::NoBucket => StorageError::NoBucket { place, endpoint, source },
            Meaning::Denied => StorageError::Denied { place, endpoint, source },
            Meaning::Away => StorageError::Away { place, endpoint, source },
        }
    }

    /// A local store leaves the probe's empty folder behind.
    async fn remove_probe(&self) {
        if let Place::Folder(root) = &self.place
            && let Err(error) = tokio::fs::remove_dir(root.join("probe")).await
        {
            tracing::debug!(%error, "the probe's folder stays");
        }
    }

    /// Returns false where a table cannot be there, so that a reader need not make its folder.
    pub(super) fn may_hold(&self, table: &str) -> bool {
        match &self.place {
            Place::Folder(root) => root.join(table).is_dir(),
            Place::Url(_) => true,
        }
    }

    /// Opens the log of a table; the table need not exist, but its folder is made.
    pub(super) fn log_store(&self, table: &str) -> Result<LogStoreRef, StorageError> {
        match &self.place {
            Place::Folder(root) => self.local(&root.join(table)),
            Place::Url(root) => self.remote(&format!("{root}/{table}")),
        }
    }

    fn local(&self, folder: &std::path::Path) -> Result<LogStoreRef, StorageError> {
        let path = folder.display().to_string();
        std::fs::create_dir_all(folder)
            .map_err(|source| StorageError::Folder { path: path.clone(), source })?;
        let address = |source| StorageError::Address { place: path.clone(), source };
        let url = ensure_table_uri(&path).map_err(|error| address(Box::new(error)))?;
        logstore_with(Arc::new(SyncedFolder::new()), &url, StorageConfig::default())
            .map_err(|error| address(Box::new(error)))
    }

    fn remote(&self, place: &str) -> Result<LogStoreRef, StorageError> {
        let address =
            |source| StorageError::Address { place: place.to_owned(), source: Box::new(source) };
        let url = ensure_table_uri(place).map_err(address)?;
        let settings = self.settings.iter().map(|(key, value)| (key.clone(), value.clone()));
        let config = StorageConfig::parse_options(settings).map_err(address)?;
        logstore_for(&url, config).map_err(address)
    }
}

/// Puts one name twice and sees to it that the second is refused. The name is new, so one that is
/// there at the first try is ours: a store may have put it and failed to say so.
async fn prove_put_if_absent(store: &dyn ObjectStore) -> Result<(), Proof> {
    let name = Path::from(format!("put-if-absent-{}", uuid::Uuid::now_v7()));
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(&name, "first".into(), create()).await {
        Ok(_) | Err(Error::AlreadyExists { .. }) => {}
        Err(Error::NotImplemented { .. }) => return Err(Proof::Overwrites),
        Err(error) => {
            // It may lie there all the same.
            if let Err(also) = store.delete(&name).await {
                tracing::debug!(error = %Chain(&also), %name, "a probe may be left behind");
            }
            return Err(Proof::Refused(error));
        }
    }
    let second = store.put_opts(&name, "second".into(), create()).await;
    store.delete(&name).await.map_err(Proof::Refused)?;
    match second {
        Err(Error::AlreadyExists { .. }) => Ok(()),
        Ok(_) | Err(Error::NotImplemented { .. }) => Err(Proof::Overwrites),
        Err(error) => Err(Proof::Refused(error)),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_store_that_gives_a_name_once_is_taken() {
        prove_put_if_absent(&InMemory::new()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("lake").display().to_string();
        Storage::in_folder(&place).prove().await.unwrap();
        let left = std::fs::read_dir(folder.path().join("lake")).unwrap().count();
        assert_eq!(left, 0, "the probe leaves nothing behind");
    }

    #[tokio::test]
    async fn a_store_that_overwrites_is_refused() {
        let refused = prove_put_if_absent(&Overwriting(InMemory::new())).await.unwrap_err();
        assert!(matches!(refused, Proof::Overwrites), "{refused:?}");
    }

    #[tokio::test]
    async fn a_place_that_is_none_is_named() {
        let refused = Storage::of(&config("ftp://host/lake")).unwrap().prove().await.unwrap_err();
        assert!(refused.to_string().contains("ftp://host/lake"), "{refused}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let place = file.path().join("lake").display().to_string();
        let refused = Storage::in_folder(&place).prove().await.unwrap_err();
        assert!(refused.to_string().contains("cannot use the folder"), "{refused}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_is_away_is_named_with_its_address_and_may_come_back() {
        // Nobody listens on the first port; https shows that the client can be made.
        let mut config = config("s3://bucket/lake");
        for (name, value) in [
            ("endpoint", "https://127.0.0.1:1"),
            ("region", "eu-central-1"),
            ("skip_signature", "true"),
            ("max_retries", "0"),
        ] {
            config.options.insert(name.to_owned(), value.to_owned());
        }
        let refused = Storage::of(&config).unwrap().prove().await.unwrap_err();
        assert!(refused.is_transient(), "{refused:?}");
        assert!(refused.to_string().contains("https://127.0.0.1:1"), "{refused}");
    }

    fn config(path: &str) -> LakeConfig {
        LakeConfig {
            path: path.to_owned(),
            flush_seconds: 1,
            upkeep_minutes: 60,
            credentials_file: None,
            options: BTreeMap::new(),
        }
    }

    /// A store as some S3-compatible ones are: it takes the condition and ignores it.
    #[derive(Debug)]
    struct Overwriting(InMemory);

    impl fmt::Display for Overwriting {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("Overwriting")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Overwriting {
        async fn put_opts(
            &self,
            location: &Path,
            payload: object_store::PutPayload,
            _: PutOptions,
        ) -> object_store::Result<object_store::PutResult> {
            self.0.put_opts(location, payload, PutOptions::default()).await
        }
        async fn put_multipart_opts(
            &self,
            location: &Path,
            options: object_store::PutMultipartOptions,
        ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
            self.0.put_multipart_opts(location, options).await
        }
        async fn get_opts(
            &self,
            location: &Path,
            options: object_store::GetOptions,
        ) -> object_store::Result<object_store::GetResult> {
            self.0.get_opts(location, options).await
        }
        fn delete_stream(
            &self,
            locations: futures_util::stream::BoxStream<'static, object_store::Result<Path>>,
        ) -> futures_util::stream::BoxStream<'static, object_store::Result<Path>> {
            self.0.delete_stream(locations)
        }
        fn list(
            &self,
            prefix: Option<&Path>,
        ) -> futures_util::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>>
        {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(
            &self,
            prefix: Option<&Path>,
        ) -> object_store::Result<object_store::ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(
            &self,
            from: &Path,
            to: &Path,
            options: object_store::CopyOptions,
        ) -> object_store::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }
}
