//! Watching the files that a configuration is made of.
//!
//! The directories are watched rather than the files, since editors and
//! Kubernetes replace files instead of writing them. Only a change of the content
//! counts: touching a file in the same folder, or writing the same content again,
//! has no effect.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Changes that come together count as one.
const SETTLE: Duration = Duration::from_millis(100);
/// Files are checked even without an event: not every file system has them.
const LOOK: Duration = Duration::from_secs(10);

/// Watches a set of files for changes of their content.
pub(super) struct Files {
    /// A hash of each file's content at the last check.
    seen: BTreeMap<PathBuf, u64>,
    /// Watched folders. A folder that is no longer needed stays: an event from
    /// there costs a check, no more.
    folders: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    /// The time of the next check.
    look_at: Instant,
}

impl Files {
    /// Watches files, which need not exist, from their current content on.
    pub(super) fn watch(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // Full: a change is already pending.
                let _seen_anyway = sender.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "file changes are only looked for now and then"),
            )
            .ok();
        let mut files = Self {
            seen: BTreeMap::new(),
            folders: BTreeSet::new(),
            events,
            watcher,
            look_at: Instant::now() + LOOK,
        };
        for path in paths {
            files.add(&path);
        }
        files
    }

    /// Adds files, with their current content. Files that are watched already
    /// keep the content of the last check, so that no change is lost.
    pub(super) fn also<'p>(&mut self, paths: impl IntoIterator<Item = &'p Path>) {
        for path in paths {
            self.add(path);
        }
    }

    fn add(&mut self, path: &Path) {
        if self.seen.contains_key(path) {
            return;
        }
        self.seen.insert(path.to_owned(), content_of(path));
        let folder = folder_of(path);
        if let Some(watcher) = &mut self.watcher
            && !self.folders.contains(folder)
        {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %folder.display(), %error, "cannot watch for changes");
            }
            self.folders.insert(folder.to_owned());
        }
    }

    /// Waits until the content of a file has changed. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::select! {
                event = self.events.recv(), if self.watcher.is_some() => {
                    if event.is_some() {
                        self.look_at = self.look_at.min(Instant::now() + SETTLE);
                    }
                }
                () = sleep_until(self.look_at) => {
                    self.look_at = Instant::now() + LOOK;
                    if self.look() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether any file has changed since the last check.
    fn look(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.seen {
            let now = content_of(path);
            changed |= std::mem::replace(seen, now) != now;
        }
        changed
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A hash of a file's content, or of its absence.
pub(super) fn content_of(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).ok().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    async fn is_seen(files: &mut Files) -> bool {
        timeout(Duration::from_secs(5), files.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn written_and_replaced_files_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.yaml");
        std::fs::write(&path, "one").unwrap();
        let mut files = Files::watch([path.clone()]);
        std::fs::write(&path, "two").unwrap();
        assert!(is_seen(&mut files).await);
        let other = dir.path().join("new");
        std::fs::write(&other, "three").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(is_seen(&mut files).await);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_swapped_link_is_seen_as_kubernetes_does_it() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["v1", "v2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("routes.yaml"), version).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/routes.yaml", at("routes.yaml")).unwrap();
        let mut files = Files::watch([at("routes.yaml")]);
        symlink("v2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(is_seen(&mut files).await);
    }

    #[tokio::test]
    async fn the_same_content_again_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.yaml");
        std::fs::write(&path, "one").unwrap();
        let mut files = Files::watch([path.clone()]);
        std::fs::write(&path, "one").unwrap();
        std::fs::write(dir.path().join("neighbour"), "x").unwrap();
        assert!(timeout(Duration::from_millis(500), files.changed()).await.is_err());
    }
}
