//! Files that arguments name.

use std::fmt::Display;
use std::io::Read as _;
use std::path::Path;

use super::failure::Failure;

/// What is in a file.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

/// What is in a file; `-` is standard input.
pub(super) fn file_or_stdin(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return file(path);
    }
    let mut data = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut data)
        .map(|_| data)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))
}

/// A file whose contents are no good.
pub(super) fn unusable(path: &Path, error: &dyn Display) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}
