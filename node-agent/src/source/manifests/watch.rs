//! Tells changes of a manifest directory as they happen.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::super::{Source, SourceError, Update};
use super::ManifestSource;

/// A burst of events ends when nothing happens for so long.
const QUIET: Duration = Duration::from_millis(30);

/// A burst is not waited for longer than this.
const LONGEST_BURST: Duration = Duration::from_millis(300);

/// Time between looks at the files while the kernel tells of changes: for what it cannot tell, such as a changed target of a link.
const POLL_WATCHED: Duration = Duration::from_secs(60);

/// Time between looks at the files while it does not.
const POLL_UNWATCHED: Duration = Duration::from_secs(1);

/// Time between looks whether the directory is still the one that is watched.
const CHECK_DIRECTORY: Duration = Duration::from_secs(5);

/// Time between attempts to watch a directory that could not be watched.
const WATCH_AGAIN: Duration = Duration::from_secs(60);

/// Has a directory watched.
type Start = fn(&Path, Sender<()>) -> notify::Result<RecommendedWatcher>;

/// A [`ManifestSource`] that follows its directory, by inotify where that works and by looking again and again where not.
#[derive(Debug)]
pub struct ManifestWatch {
    source: ManifestSource,
    start: Start,
    watcher: Option<DirectoryWatcher>,
    /// What could not be watched, which has been told, and when that was tried last.
    unwatched: Option<((u64, u64), Instant)>,
    sender: Sender<()>,
    events: Receiver<()>,
    loaded: Option<Instant>,
    /// The last load failed, which has been told.
    is_failing: bool,
}

/// inotify on one directory.
#[derive(Debug)]
struct DirectoryWatcher {
    _watcher: RecommendedWatcher,
    /// Device and inode of the directory: a new one under the same name must be watched anew.
    directory: (u64, u64),
}

impl ManifestSource {
    /// Follows the directory from now on.
    pub fn watch(self) -> ManifestWatch {
        let (sender, events) = mpsc::channel();
        ManifestWatch {
            source: self,
            start: start_watcher,
            watcher: None,
            unwatched: None,
            sender,
            events,
            loaded: None,
            is_failing: false,
        }
    }
}

impl ManifestWatch {
    /// The source that is followed.
    pub fn source(&self) -> &ManifestSource {
        &self.source
    }

    /// Starts to watch before the files are read, so that nothing between is missed. Returns whether it started just now.
    fn ensure_watched(&mut self) -> bool {
        let identity = identity_of(self.source.directory());
        if self.watcher.as_ref().map(|watcher| watcher.directory) == identity {
            return false;
        }
        self.watcher = identity.and_then(|directory| self.start_watcher(directory));
        self.watcher.is_some()
    }

    fn start_watcher(&mut self, directory: (u64, u64)) -> Option<DirectoryWatcher> {
        let now = Instant::now();
        self.unwatched = self.unwatched.filter(|(of, _)| *of == directory);
        if let Some((_, tried)) = self.unwatched
            && now.duration_since(tried) < WATCH_AGAIN
        {
            return None;
        }
        let path = self.source.directory();
        match (self.start)(path, self.sender.clone()) {
            Ok(watcher) => {
                self.unwatched = None;
                Some(DirectoryWatcher {
                    _watcher: watcher,
                    directory,
                })
            }
            Err(error) => {
                if self.unwatched.replace((directory, now)).is_none() {
                    tracing::warn!(directory = %path.display(), %error, "the manifest directory cannot be watched, it is read every second");
                }
                None
            }
        }
    }

    /// Waits until something happened and the burst is over, or it is time to look, or until the deadline. Returns whether to look.
    fn wait_for_change(&mut self, deadline: Instant) -> bool {
        let poll = if self.watcher.is_some() {
            POLL_WATCHED
        } else {
            POLL_UNWATCHED
        };
        let Some(look_at) = self.loaded.map(|loaded| loaded + poll) else {
            return true;
        };
        let until = deadline.min(look_at).min(Instant::now() + CHECK_DIRECTORY);
        match self
            .events
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            Ok(()) => {
                let end = Instant::now() + LONGEST_BURST;
                while Instant::now() < end && self.events.recv_timeout(QUIET).is_ok() {}
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Instant::now() >= look_at
            }
        }
    }
}

impl Source for ManifestWatch {
    fn next_update(&mut self, wait: Duration) -> Result<Option<Update>, SourceError> {
        let deadline = Instant::now() + wait;
        self.source.save_last_good();
        loop {
            if self.ensure_watched() || self.wait_for_change(deadline) {
                match self.source.load() {
                    Ok(update) => {
                        self.is_failing = false;
                        let is_first = self.loaded.replace(Instant::now()).is_none();
                        if is_first || !update.is_empty() {
                            return Ok(Some(update));
                        }
                        // What could not be kept waits.
                        self.source.save_last_good();
                    }
                    Err(error) if self.loaded.is_none() => return Err(error.into()),
                    Err(error) => {
                        self.loaded = Some(Instant::now());
                        if !std::mem::replace(&mut self.is_failing, true) {
                            return Err(error.into());
                        }
                    }
                }
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }
}

fn start_watcher(directory: &Path, sender: Sender<()>) -> notify::Result<RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, is_change) {
            // The receiver goes only together with the watcher.
            let _ = sender.send(());
        }
    };
    let mut watcher = notify::recommended_watcher(on_event)?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Reading the files is an event too, but no change.
fn is_change(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn identity_of(directory: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

    use super::*;

    #[test]
    fn a_directory_that_cannot_be_watched_is_not_tried_at_every_look() {
        static TRIED: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        let policy = ServiceProxyPolicySpec::default();
        let mut watch = ManifestSource::new(directory.path(), "n1", policy).watch();
        watch.start = |_, _| {
            TRIED.fetch_add(1, Ordering::Relaxed);
            Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
        };
        watch.next_update(Duration::ZERO).unwrap();
        watch.next_update(Duration::from_millis(2200)).unwrap();
        assert_eq!(TRIED.load(Ordering::Relaxed), 1);
        std::fs::write(directory.path().join("f.yaml"), "kind: [").unwrap();
        let read = watch.next_update(Duration::from_secs(2)).unwrap();
        assert!(read.is_some(), "it is read all the same");
    }

    #[test]
    fn reading_a_file_is_no_change_and_writing_is() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, events) = mpsc::channel();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let _ = sender.send(is_change(&event.unwrap()));
            })
            .unwrap();
        let file = directory.path().join("f.yaml");
        std::fs::write(&file, "a").unwrap();
        watcher
            .watch(directory.path(), RecursiveMode::NonRecursive)
            .unwrap();
        std::fs::read(&file).unwrap();
        std::fs::read_dir(directory.path()).unwrap().count();
        while let Ok(is_change) = events.recv_timeout(Duration::from_millis(300)) {
            assert!(!is_change, "an event of the reader counts as a change");
        }
        std::fs::write(&file, "b").unwrap();
        // Events of the reader may still come before it.
        let mut heard = std::iter::from_fn(|| events.recv_timeout(Duration::from_secs(20)).ok());
        assert!(heard.any(|is_change| is_change));
    }
}
