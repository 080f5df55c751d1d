//! The picture on disk: one file, whose type is read from its bytes.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::StoreError;
use super::files::{self, Previous};
use crate::access::avatar::{Avatar, AvatarError, ImageType};
use crate::access::digest::Digest;

/// A picture as it is served.
#[derive(Clone, Debug)]
pub struct StoredAvatar {
    /// The picture.
    pub picture: Avatar,
    /// When it was stored, in seconds since 1970 with fractions.
    pub modified: f64,
    /// A strong validator (RFC 9110 §8.8.3), without its quotes.
    pub etag: String,
}

/// The file, and what it held when it was last read.
#[derive(Debug)]
pub struct AvatarFile {
    path: PathBuf,
    changing: Mutex<()>,
    stored: ArcSwapOption<StoredAvatar>,
}

impl AvatarFile {
    /// Reads the picture; one that cannot be read is told in a sentence and counts as none.
    pub fn open(path: PathBuf) -> (Self, Option<String>) {
        let (stored, told) = match fs::read(&path) {
            Ok(bytes) => match clean(&bytes) {
                Ok(picture) => (Some(stored(picture, modified(&path))), None),
                Err(error) => (None, Some(format!("{}: {error}", path.display()))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            Err(error) => (None, Some(format!("{}: {error}", path.display()))),
        };
        let file = Self {
            path,
            changing: Mutex::new(()),
            stored: ArcSwapOption::from_pointee(stored),
        };
        (file, told)
    }

    /// Returns the picture, if there is one.
    pub fn get(&self) -> Option<Arc<StoredAvatar>> {
        self.stored.load_full()
    }

    /// Replaces the picture, whole or not at all.
    pub fn put(&self, picture: Avatar, now: Timestamp) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        files::replace_file(&self.path, picture.bytes(), Previous::Dropped)?;
        // The Python program reads the type from a file of its own; ours is in the bytes, so a
        // failure here loses only the way back.
        let kind = self.path.with_extension("type");
        let _way_back =
            files::replace_file(&kind, picture.kind().as_str().as_bytes(), Previous::Dropped);
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 fit a double"
        )]
        let modified = now.as_millisecond() as f64 / 1000.0;
        self.stored.store(Some(Arc::new(stored(picture, modified))));
        Ok(())
    }

    /// Removes the picture; none is removed already.
    pub fn remove(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        files::remove_if_there(&self.path)?;
        files::remove_if_there(&self.path.with_extension("type"))?;
        files::sync_directory(&self.path)?;
        self.stored.store(None);
        Ok(())
    }
}

/// Reads a stored picture as if it were sent now: the Python program kept what cameras write into
/// one.
fn clean(bytes: &[u8]) -> Result<Avatar, AvatarError> {
    Avatar::from_upload(bytes, ImageType::detect(bytes)?)
}

fn stored(picture: Avatar, modified: f64) -> StoredAvatar {
    StoredAvatar {
        etag: Digest::of(picture.bytes()).short(),
        picture,
        modified,
    }
}

fn modified(path: &std::path::Path) -> f64 {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = modified
        .ok()
        .and_then(|at| at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    since.map_or(0.0, |since| since.as_secs_f64())
}
