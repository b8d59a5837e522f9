//! Which commit is built, for `--version`.

use std::path::Path;
use std::process::Command;

/// The commit as given from outside, for example by the build of the container
/// image, which has no repository: its number, perhaps with `-dirty` behind it.
pub(crate) fn from_text(text: &str) -> Option<String> {
    let (number, dirt) = match text.trim().strip_suffix("-dirty") {
        Some(number) => (number, "-dirty"),
        None => (text.trim(), ""),
    };
    let is_number = number.len() >= 7 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| format!("{}{dirt}", number.get(..12).unwrap_or(number).to_lowercase()))
}

/// The commit of the repository with the root `folder`. `None` without git, and for
/// an archive, even one that lies within some other repository.
pub(crate) fn of_repository(folder: &Path) -> Option<String> {
    let root = git(folder, &["rev-parse", "--show-toplevel"])?;
    let is_root = Path::new(&root).canonicalize().ok()? == folder.canonicalize().ok()?;
    if !is_root {
        return None;
    }
    let number = git(folder, &["rev-parse", "HEAD"])?;
    let changes = git(folder, &["status", "--porcelain", "--untracked-files=no"])?;
    from_text(&if changes.is_empty() { number } else { format!("{number}-dirty") })
}

/// Git's output.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let done = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    done.status.success().then(|| text.trim().to_owned())
}
