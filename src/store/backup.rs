//! Backups of a data directory: one file, taken while others write, and put in place again. Of SQLite only: Postgres has tools
//! of its own.
//!
//! A file bears the name of a backup only once its evidence has been proven, and nothing is put in place that has not been proven
//! again.

use super::open::{DATABASE_FILE, open_copy};
use super::seal::{self, Seal, Sealed};
use super::{Db, Holdings, Store, StoreError};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

impl Store {
    /// Copies the whole database, as it is at one moment, into a new file for its owner only, proves the copy's evidence and
    /// seals it. Others may write meanwhile; what they commit after that moment is not in it.
    pub async fn back_up(&self, file: &Path, proven: impl Fn(u64)) -> Result<Holdings, StoreError> {
        let Db::Sqlite { read, .. } = &self.db else {
            return Err(other("Postgres is backed up by its own tools: pg_dump, or its archive of the log"));
        };
        let shown = file.display();
        if file.exists() {
            return Err(other(format!(
                "{shown} exists already, and a backup overwrites nothing: name another file"
            )));
        }
        let partial = beside(file, ".partial");
        create_new(&partial).map_err(|error| cannot_create(&partial, &error))?;
        let made = async {
            let name = std::path::absolute(&partial).map_err(|error| cannot_create(&partial, &error))?;
            let name = name.to_str().ok_or_else(|| other(format!("{shown} is no name in UTF-8")))?;
            let copied = sqlx::query("vacuum into ?").bind(name).execute(read).await;
            copied.map_err(|error| other(format!("the database cannot be copied to {shown}: {error}")))?;
            let copy = open_copy(&partial).await?;
            let holdings = copy.verify(proven).await;
            copy.close().await;
            let holdings = holdings?;
            finish(&partial, file).await.map_err(|error| cannot_create(file, &error))?;
            Ok(holdings)
        };
        let made = made.await;
        if made.is_err() {
            for leftover in [partial.clone(), beside(&partial, "-journal")] {
                let _ = fs::remove_file(leftover);
            }
        }
        made
    }
}

/// A backup file whose seal is whole.
pub struct Backup {
    file: PathBuf,
    sealed: Sealed,
}

impl Backup {
    /// Looks at each byte of it. A damaged one is told with the delivery that the damage is in, if it is in any.
    pub async fn open(file: &Path) -> Result<Backup, StoreError> {
        let (path, shown) = (file.to_owned(), file.display());
        let seal = blocking(move || seal::look_at(&mut File::open(path)?)).await;
        match seal.map_err(|error| other(format!("the backup {shown} cannot be read: {error}")))? {
            Seal::Whole(sealed) => Ok(Backup { file: file.to_owned(), sealed }),
            Seal::Missing => Err(other(format!(
                "{shown} is no backup that `calltrail backup` finished: its last bytes, the seal, are missing"
            ))),
            Seal::Broken => Err(StoreError::Inconsistent(format!(
                "the backup {shown} is damaged: {}; take another one",
                damage(file).await
            ))),
        }
    }

    /// The database in it, to be read only.
    pub async fn store(&self) -> Result<Store, StoreError> {
        open_copy(&self.file).await
    }

    /// Makes it the database of a directory that exists and holds none.
    pub async fn place(&self, directory: &Path) -> Result<(), StoreError> {
        holds_no_data(directory)?;
        let (from, sealed, directory) = (self.file.clone(), self.sealed, directory.to_owned());
        let shown = directory.display().to_string();
        let placed = blocking(move || {
            let partial = directory.join(format!("{DATABASE_FILE}.partial"));
            match fs::remove_file(&partial) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut to = create_new(&partial)?;
            seal::take_off(sealed, &mut File::open(from)?, &mut to)?;
            fs::rename(partial, directory.join(DATABASE_FILE))?;
            sync_directory(&directory)
        });
        placed.await.map_err(|error| other(format!("the data cannot be put into {shown}: {error}")))
    }
}

/// Refuses a directory in which anything of a database is left: a log of changes would be played into the next one.
pub fn holds_no_data(directory: &Path) -> Result<(), StoreError> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let file = directory.join(format!("{DATABASE_FILE}{ending}"));
        if file.exists() {
            return Err(other(format!(
                "{} holds data already ({DATABASE_FILE}{ending}): restore into a new directory",
                directory.display()
            )));
        }
    }
    Ok(())
}

/// What is wrong with a file that is not as it was sealed.
async fn damage(file: &Path) -> String {
    let proven = async {
        let copy = open_copy(file).await?;
        let proven = copy.verify(|_| ()).await;
        copy.close().await;
        proven
    };
    match proven.await {
        Ok(_) => "its evidence is whole, but other bytes are not those that were written".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Seals the file and gives it its name, unless somebody else has taken that meanwhile.
async fn finish(partial: &Path, file: &Path) -> io::Result<()> {
    let (partial, file) = (partial.to_owned(), file.to_owned());
    blocking(move || {
        seal::put_on(&mut OpenOptions::new().read(true).write(true).open(&partial)?)?;
        match fs::hard_link(&partial, &file) {
            Ok(()) => fs::remove_file(&partial)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Not every file system can give a file two names.
            Err(_) => fs::rename(&partial, &file)?,
        }
        let parent = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_directory(parent)
    })
    .await
}

/// So that a new name is on disk too.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// For its owner only; never over another file.
fn create_new(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

fn cannot_create(file: &Path, error: &io::Error) -> StoreError {
    let shown = file.display();
    other(match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{shown} is there already: another backup is writing it, or one was broken off; then remove it and try again"
        ),
        _ => format!("the backup {shown} cannot be written: {error}"),
    })
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn other(what: impl Into<String>) -> StoreError {
    StoreError::Other(what.into())
}
