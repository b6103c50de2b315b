//! Where the warehouse lies: a local folder, or a bucket of an S3-compatible object store.
//!
//! Its one demand is put-if-absent: without it two writers could give the same version to two
//! commits, and one of them would vanish. It is tried out at the start, never taken on trust.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_for, logstore_with};
use deltalake::{DeltaTableError, ensure_table_uri};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::disk::SyncedFolder;

/// Where the warehouse lies.
#[derive(Debug, Clone)]
pub struct Storage {
    place: Place,
    options: BTreeMap<String, String>,
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
    /// The store cannot be written or read.
    #[error("cannot write to the lake's store")]
    Unreachable(#[source] Error),
    /// The store lets a second writer overwrite the first.
    #[error(
        "the lake's store does not honour put-if-absent: two writers could overwrite each other's \
         commits; use a store with conditional writes"
    )]
    Overwrites,
}

impl Storage {
    /// Reads a place: an address with a scheme, such as `s3://bucket/lake`, or a folder.
    pub fn new(place: &str, options: BTreeMap<String, String>) -> Self {
        let place = if place.contains("://") {
            Place::Url(place.trim_end_matches('/').to_owned())
        } else {
            Place::Folder(place.into())
        };
        Self { place, options }
    }

    /// Proves that the place can be written to, and that a name can be given only once.
    pub async fn prove(&self) -> Result<(), StorageError> {
        let log = self.log_store("probe")?;
        let proved = prove_put_if_absent(log.object_store(None).as_ref()).await;
        self.remove_probe().await;
        proved
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
        let options = self.options.iter().map(|(key, value)| (key.clone(), value.clone()));
        let config = StorageConfig::parse_options(options).map_err(address)?;
        logstore_for(&url, config).map_err(address)
    }
}

/// Puts one name twice and sees to it that the second is refused.
async fn prove_put_if_absent(store: &dyn ObjectStore) -> Result<(), StorageError> {
    let name = Path::from(format!("put-if-absent-{}", uuid::Uuid::now_v7()));
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&name, "first".into(), create()).await.map_err(StorageError::Unreachable)?;
    let second = store.put_opts(&name, "second".into(), create()).await;
    store.delete(&name).await.map_err(StorageError::Unreachable)?;
    match second {
        Err(Error::AlreadyExists { .. }) => Ok(()),
        Ok(_) | Err(Error::NotImplemented { .. }) => Err(StorageError::Overwrites),
        Err(error) => Err(StorageError::Unreachable(error)),
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
        Storage::new(&place, BTreeMap::new()).prove().await.unwrap();
        let left = std::fs::read_dir(folder.path().join("lake")).unwrap().count();
        assert_eq!(left, 0, "the probe leaves nothing behind");
    }

    #[tokio::test]
    async fn a_store_that_overwrites_is_refused() {
        let refused = prove_put_if_absent(&Overwriting(InMemory::new())).await.unwrap_err();
        assert!(matches!(refused, StorageError::Overwrites), "{refused}");
    }

    #[tokio::test]
    async fn a_place_that_is_none_is_named() {
        let refused = Storage::new("ftp://host/lake", BTreeMap::new()).prove().await.unwrap_err();
        assert!(refused.to_string().contains("ftp://host/lake"), "{refused}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let place = file.path().join("lake").display().to_string();
        let refused = Storage::new(&place, BTreeMap::new()).prove().await.unwrap_err();
        assert!(refused.to_string().contains("cannot use the folder"), "{refused}");
    }

    /// A store as some S3-compatible ones are: it takes the condition and ignores it.
    #[derive(Debug)]
    struct Overwriting(InMemory);

    impl std::fmt::Display for Overwriting {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
