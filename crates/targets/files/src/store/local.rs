//! A folder on a local filesystem as a store.
//!
//! Everything is written to `_millrace/tmp/`, synced, and then linked to its name: a name is never half-written, and `link`
//! refuses a name that is taken, also over NFS. A link is durable once its folder is synced, and a folder once its own
//! parent is: each folder's way up to the root is synced once a process, whoever made it, because another process may have
//! made it a moment ago and not have synced it yet.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use millrace_model::{Fault, Timestamp};

use super::{Created, Entry, EntryKind, Store, Upload, clean_prefix};
use crate::fault::{Cause, Unmade, lost_task, of_io, rule};
use crate::names::TMP_FOLDER;

/// Between an encoder and the file: pages are larger, footers are many small writes.
const WRITE_BUFFER: usize = 64 * 1024;
/// Folders whose way up is known to be durable; beyond so many the set starts anew, which only costs syncs.
const KNOWN_FOLDERS: usize = 100_000;

/// Tells the unfinished files of this process apart.
static NEXT_TMP: AtomicU64 = AtomicU64::new(0);

/// A folder on a local filesystem.
#[derive(Clone, Debug)]
pub struct LocalStore {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl LocalStore {
    /// The folder `root`, which is made when something is first written.
    pub fn new(root: PathBuf) -> Self {
        Self { place: Arc::new(Place { root, durable: Mutex::default() }) }
    }

    /// Runs blocking file operations where they block nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &str,
        work: impl FnOnce(&Place, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (place, path) = (Arc::clone(&self.place), path.to_owned());
        tokio::task::spawn_blocking(move || work(&place, &path).map_err(|e| place.fault(doing, &path, e)))
            .await
            .map_err(lost_task)?
    }
}

#[async_trait]
impl Store for LocalStore {
    fn under(&self, prefix: &str) -> Arc<dyn Store> {
        Arc::new(Self::new(self.place.root.join(clean_prefix(prefix))))
    }

    async fn create(&self, path: &str, bytes: Arc<[u8]>) -> Result<Created, Fault> {
        let place = Arc::clone(&self.place);
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || {
            let (tmp, mut file) = place.scratch().map_err(|e| place.fault("create", &path, e))?;
            let written = file.write_all(&bytes).and_then(|()| file.sync_all());
            written.map_err(|e| place.fault("write", &path, e))?;
            let created = place.link(tmp.path(), &path)?;
            if created == Created::Created {
                place.sync_parent(&path).map_err(|e| place.fault("sync", &path, e))?;
            }
            Ok(created)
        })
        .await
        .map_err(lost_task)?
    }

    async fn read(&self, path: &str) -> Result<Option<Arc<[u8]>>, Fault> {
        self.blocking("read", path, |place, path| absent_is_none(fs::read(place.at(path)).map(Arc::from))).await
    }

    // Why not the one above for each: to hop to a blocking thread and back costs more than to read a commit.
    async fn read_many(&self, paths: Vec<String>) -> Result<Vec<Option<Arc<[u8]>>>, Fault> {
        let place = Arc::clone(&self.place);
        let read = move |path: &String| {
            absent_is_none(fs::read(place.at(path)).map(Arc::from)).map_err(|e| place.fault("read", path, e))
        };
        tokio::task::spawn_blocking(move || paths.iter().map(read).collect()).await.map_err(lost_task)?
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, Fault> {
        self.blocking("look for", path, |place, path| {
            absent_is_none(fs::metadata(place.at(path)).map(|found| found.len()))
        })
        .await
    }

    async fn confirm(&self, path: &str) -> Result<(), Fault> {
        self.blocking("sync", path, |place, path| {
            File::open(place.at(path))?.sync_all()?;
            place.prepare_parent(path)?;
            place.sync_parent(path)
        })
        .await
    }

    async fn replace(&self, path: &str, bytes: Arc<[u8]>) -> Result<(), Fault> {
        self.blocking("replace", path, move |place, path| {
            let (tmp, mut file) = place.scratch()?;
            file.write_all(&bytes)?;
            place.prepare_parent(path)?;
            fs::rename(tmp.path(), place.at(path))
        })
        .await
    }

    async fn begin(&self, path: &str) -> Result<Box<dyn Upload>, Fault> {
        let (tmp, file) = self.blocking("begin", path, |place, _| place.scratch()).await?;
        let file = BufWriter::with_capacity(WRITE_BUFFER, file);
        Ok(Box::new(LocalUpload { place: Arc::clone(&self.place), tmp, file, path: path.to_owned() }))
    }

    async fn settle(&self, paths: &[String]) -> Result<(), Fault> {
        let folders: HashSet<PathBuf> = paths.iter().map(|path| self.place.parent(path)).collect();
        self.blocking("sync the folders of a round in", "", move |_, _| {
            folders.iter().try_for_each(|it| sync_folder(it))
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>, Fault> {
        self.blocking("list", folder, |place, folder| {
            let Some(found) = absent_is_none(fs::read_dir(place.at(folder)))? else { return Ok(Vec::new()) };
            found.filter_map(|one| one.and_then(|one| entry(&one)).transpose()).collect()
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<(), Fault> {
        self.blocking("delete", path, |place, path| absent_is_none(fs::remove_file(place.at(path))).map(drop)).await
    }
}

impl Place {
    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// The fault of a call; it names the whole path, for whoever looks for it on the disk.
    fn fault(&self, doing: &'static str, path: &str, error: io::Error) -> Fault {
        of_io(doing, &self.at(path).display().to_string(), error).into()
    }

    fn parent(&self, path: &str) -> PathBuf {
        self.at(path).parent().map_or_else(|| self.root.clone(), Path::to_path_buf)
    }

    /// A new file without a name of its own yet.
    #[expect(clippy::disallowed_methods, reason = "it only makes a name that no other process uses")]
    fn scratch(&self) -> io::Result<(Tmp, File)> {
        loop {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            let number = NEXT_TMP.fetch_add(1, Ordering::Relaxed);
            let path = self.at(TMP_FOLDER).join(format!("{}-{nanos}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Tmp(path), file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.forget();
                    self.make_durable(&self.at(TMP_FOLDER))?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the bytes of `tmp` the name `path`, if it is free.
    fn link(&self, tmp: &Path, path: &str) -> Result<Created, Fault> {
        let to = self.at(path);
        self.prepare_parent(path).map_err(|e| self.fault("create a folder for", path, e))?;
        let mut linked = fs::hard_link(tmp, &to);
        if matches!(&linked, Err(error) if error.kind() == ErrorKind::NotFound) {
            // Somebody removed a folder that this process had made.
            self.forget();
            self.prepare_parent(path).map_err(|e| self.fault("create a folder for", path, e))?;
            linked = fs::hard_link(tmp, &to);
        }
        match linked {
            Ok(()) => Ok(Created::Created),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Created::Exists),
            // link(2): EPERM where the filesystem has no hard links; FAT and FUSE may say that it is not supported.
            Err(error) if error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(EPERM) => {
                Err(Cause::NoHardLinks { path: path.into(), cause: error }.into())
            }
            Err(error) => Err(self.fault("link", path, error)),
        }
    }

    fn prepare_parent(&self, path: &str) -> io::Result<()> {
        self.make_durable(&self.parent(path))
    }

    fn sync_parent(&self, path: &str) -> io::Result<()> {
        sync_folder(&self.parent(path))
    }

    /// Makes a folder where there is none, and its way up to the root durable.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        if self.known(|known| known.contains(folder)) {
            return Ok(());
        }
        match folder.parent().filter(|_| folder != self.root) {
            Some(parent) => {
                self.make_durable(parent)?;
                make_folder(folder)?;
                sync_folder(parent)?;
            }
            None => make_root(folder)
                .map_err(|cause| io::Error::new(cause.kind(), Unmade { folder: folder.to_path_buf(), cause }))?,
        }
        self.known(|known| {
            if known.len() >= KNOWN_FOLDERS {
                known.clear();
            }
            known.insert(folder.to_path_buf());
        });
        Ok(())
    }

    fn forget(&self) {
        self.known(HashSet::clear);
    }

    fn known<T>(&self, with: impl FnOnce(&mut HashSet<PathBuf>) -> T) -> T {
        with(&mut self.durable.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// "Operation not permitted" on every Unix.
const EPERM: i32 = 1;

/// The name of an unfinished file; it goes with this.
#[derive(Debug)]
struct Tmp(PathBuf);

impl Tmp {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmp {
    fn drop(&mut self) {
        // What stays behind is deleted by the sweep.
        drop(fs::remove_file(&self.0));
    }
}

struct LocalUpload {
    place: Arc<Place>,
    tmp: Tmp,
    file: BufWriter<File>,
    path: String,
}

impl Write for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn publish(self: Box<Self>) -> Result<(), Fault> {
        tokio::task::spawn_blocking(move || {
            let Self { place, tmp, mut file, path } = *self;
            let synced = file.flush().and_then(|()| file.get_ref().sync_all());
            synced.map_err(|e| place.fault("write", &path, e))?;
            match place.link(tmp.path(), &path)? {
                Created::Created => Ok(()),
                Created::Exists => Err(rule(format!("`{path}` is the name of another data file"))),
            }
        })
        .await
        .map_err(lost_task)?
    }
}

/// Makes the root and whatever is missing above it.
fn make_root(root: &Path) -> io::Result<()> {
    let parent = |folder: &Path| match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let missing: Vec<&Path> =
        root.ancestors().filter(|it| !it.as_os_str().is_empty()).take_while(|it| !it.is_dir()).collect();
    for folder in missing.iter().rev() {
        make_folder(folder)?;
        sync_folder(&parent(folder))?;
    }
    match sync_folder(&parent(root)) {
        // A root that stood before the lake may lie in a folder that we cannot read.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && missing.is_empty() => Ok(()),
        other => other,
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => Ok(()),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` for a file that went while its folder was being read.
fn entry(found: &fs::DirEntry) -> io::Result<Option<Entry>> {
    let name = found.file_name().to_string_lossy().into_owned();
    let Some(about) = absent_is_none(found.metadata())? else { return Ok(None) };
    if about.is_dir() {
        return Ok(Some(Entry { name, kind: EntryKind::Folder }));
    }
    let since = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let kind = EntryKind::File { bytes: about.len(), modified: Timestamp(since.as_micros() as i64) };
    Ok(Some(Entry { name, kind }))
}
