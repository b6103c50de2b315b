//! A local folder whose writes are on the disk before they are reported done.
//!
//! The plain local store renames a file into place and returns; after a power cut the log could name
//! data files that are empty, while the topic's records are already forgotten. Here a file's bytes
//! are synced before its name appears, and the folder after it. Since the data files of a commit are
//! put before its log entry, that order holds on the disk as well.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};

const STORE: &str = "SyncedFolder";

/// The local file system, synced.
#[derive(Debug)]
pub(super) struct SyncedFolder(Arc<LocalFileSystem>);

impl SyncedFolder {
    /// Makes a store whose paths begin at the root of the file system.
    pub(super) fn new() -> Self {
        Self(Arc::new(LocalFileSystem::new()))
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        let path = self.0.path_to_filesystem(location)?;
        blocking(move || sync_file_and_folder(&path)).await
    }
}

impl std::fmt::Display for SyncedFolder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{STORE}({})", self.0)
    }
}

#[async_trait]
impl ObjectStore for SyncedFolder {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let path = self.0.path_to_filesystem(location)?;
        let staged = staged_beside(&path);
        blocking(move || {
            stage(&staged, &payload).and_then(|()| place(&staged, &path, &options.mode))
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.put_multipart_opts(location, options).await?;
        let path = self.0.path_to_filesystem(location)?;
        Ok(Box::new(SyncedUpload { upload, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// A large file in parts: synced when it is complete. Nothing names it before.
#[derive(Debug)]
struct SyncedUpload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.upload.complete().await?;
        let path = self.path.clone();
        blocking(move || sync_file_and_folder(&path)).await?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// Readers of the folder skip names that end in `#` and digits.
fn staged_beside(path: &FilePath) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{}", uuid::Uuid::now_v7().as_u128()));
    name.into()
}

fn stage(staged: &FilePath, payload: &PutPayload) -> Result<()> {
    make_folders(folder_of(staged)).map_err(|source| failed(staged, source))?;
    let written = (|| {
        let mut file = File::create_new(staged)?;
        payload.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    })();
    written.map_err(|source| give_up(staged, source))
}

fn place(staged: &FilePath, path: &FilePath, mode: &PutMode) -> Result<()> {
    let placed = match mode {
        PutMode::Overwrite => fs::rename(staged, path),
        // A link fails where the name is taken: this is put-if-absent.
        PutMode::Create => fs::hard_link(staged, path).and_then(|()| fs::remove_file(staged)),
        PutMode::Update(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    if let Err(source) = placed {
        let taken = source.kind() == io::ErrorKind::AlreadyExists;
        let name = path.display().to_string();
        let failure = give_up(staged, source);
        return Err(if taken {
            Error::AlreadyExists { path: name, source: Box::new(failure) }
        } else {
            failure
        });
    }
    sync_folder(folder_of(path)).map_err(|source| failed(path, source))
}

/// Makes the missing folders, and their names last.
fn make_folders(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder);
    make_folders(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => sync_folder(parent),
    }
}

fn folder_of(path: &FilePath) -> &FilePath {
    path.parent().unwrap_or(FilePath::new("/"))
}

fn sync_file_and_folder(path: &FilePath) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .and_then(|()| sync_folder(folder_of(path)))
        .map_err(|source| failed(path, source))
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &FilePath, source: io::Error) -> Error {
    Error::Generic { store: STORE, source: format!("{}: {source}", path.display()).into() }
}

/// Removes a staged file that will not be placed. Where that fails too, it lies there unnamed until
/// the next vacuum.
fn give_up(staged: &FilePath, source: io::Error) -> Error {
    match fs::remove_file(staged) {
        Ok(()) => failed(staged, source),
        Err(also) => failed(staged, io::Error::other(format!("{source}; left behind: {also}"))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|source| Error::JoinError { source })?
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    fn create() -> PutOptions {
        PutOptions { mode: PutMode::Create, ..PutOptions::default() }
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_nothing_else_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = SyncedFolder::new();
        let file = folder.path().join("a/b/1.json");
        let path = Path::from_absolute_path(&file).unwrap();

        store.put_opts(&path, "first".into(), create()).await.unwrap();
        let second = store.put_opts(&path, "second".into(), create()).await.unwrap_err();

        assert!(matches!(second, Error::AlreadyExists { .. }), "{second}");
        assert_eq!(fs::read(&file).unwrap(), b"first");
        store.put(&path, "third".into()).await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"third");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn an_upload_in_parts_is_there_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let store = SyncedFolder::new();
        let file = folder.path().join("part.parquet");
        let path = Path::from_absolute_path(&file).unwrap();

        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("ab".into()).await.unwrap();
        assert!(!file.exists());
        upload.complete().await.unwrap();

        assert_eq!(fs::read(&file).unwrap(), b"ab");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let path = Path::from_absolute_path(folder.path().join("file/below")).unwrap();
        let error = SyncedFolder::new().put(&path, "x".into()).await.unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
    }
}
