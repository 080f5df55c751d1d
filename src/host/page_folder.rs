//! A folder of the page's files, read into a table while the page is worked on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The files of a folder and all below it, by their path inside it.
pub fn read(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let files = walk(folder)?.into_iter().filter_map(|path| {
        let name = path.strip_prefix(folder).ok()?.to_str()?.to_owned();
        Some(fs::read(&path).map(|bytes| (name, bytes)))
    });
    files.collect()
}

/// What changes whenever a file of the folder does: the number of files and the latest change.
pub fn version(folder: &Path) -> io::Result<(usize, Option<SystemTime>)> {
    let files = walk(folder)?;
    let modified = files
        .iter()
        .filter_map(|path| fs::metadata(path).ok()?.modified().ok());
    Ok((files.len(), modified.max()))
}

fn walk(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn files_are_named_by_their_path_inside_and_links_are_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("assets")).unwrap();
        let mut file = fs::File::create(dir.path().join("assets/a.js")).unwrap();
        file.write_all(b"1").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).unwrap();

        let files = read(dir.path()).unwrap();

        assert_eq!(files, [("assets/a.js".to_owned(), b"1".to_vec())]);
        assert_eq!(version(dir.path()).unwrap().0, 1);
    }
}
