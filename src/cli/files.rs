//! Files that arguments name.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::failure::Failure;

/// The content of a file.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

/// The content of a file; `-` is standard input.
pub(super) fn file_or_stdin(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return file(path);
    }
    let mut data = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut data)
        .map(|_| data)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))
}

/// Writes a new file, or, where it may `replace` one, a whole one in the place
/// of the old one. From its first byte on only `mode` lets anybody read it. Its
/// folder is made if it does not exist.
pub(super) fn write(path: &Path, mode: u32, content: &[u8], replace: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if !replace {
        return create(path, mode, content);
    }
    let mut next = path.as_os_str().to_owned();
    next.push(format!(".{:08x}", rand::random::<u32>()));
    create(Path::new(&next), mode, content)
        .and_then(|()| fs::rename(&next, path))
        .inspect_err(|_| drop(fs::remove_file(&next)))
}

fn create(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)?.write_all(content)
}

/// A file with unusable contents.
pub(super) fn unusable(path: &Path, error: &dyn Display) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}
