//! A runtime that reads its configuration all the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::node::Node;

/// Fewer reads say little.
const ENOUGH: usize = 1_000;

/// Reads until it is asked what it saw, and has read enough.
pub(crate) struct Runtime {
    shared: Arc<Shared>,
    reader: JoinHandle<Seen>,
}

#[derive(Default)]
struct Shared {
    ending: AtomicBool,
    /// Odd while the owner of the configuration has a hole in it, which is not the installer's.
    holes: AtomicU64,
}

/// What it saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Reads while the owner's files were whole.
    pub(crate) reads: usize,
    /// Of these, with the plugin.
    pub(crate) with_plugin: usize,
    /// Why the network could not be used.
    pub(crate) invalid: Vec<String>,
}

impl Runtime {
    pub(crate) fn start(node: &Node) -> Self {
        let shared = Arc::new(Shared::default());
        let (configurations, programs) = (node.path("net.d"), node.path("bin"));
        let of_reader = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while seen.reads < ENOUGH || !of_reader.ending.load(Ordering::SeqCst) {
                let before = of_reader.holes.load(Ordering::SeqCst);
                let read = usable(&configurations, &programs);
                // What was read while the owner wrote tells of the owner.
                if before % 2 == 1 || of_reader.holes.load(Ordering::SeqCst) != before {
                    continue;
                }
                seen.reads += 1;
                match read {
                    Ok(with_plugin) => seen.with_plugin += usize::from(with_plugin),
                    Err(why) => seen.invalid.push(why),
                }
            }
            seen
        });
        Self { shared, reader }
    }

    /// The owner does something by which its own configuration is not there for a moment.
    pub(crate) fn hole(&self, work: impl FnOnce()) {
        self.shared.holes.fetch_add(1, Ordering::SeqCst);
        work();
        self.shared.holes.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn saw(self) -> Seen {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.reader.join().unwrap()
    }
}

/// Whether the plugin is in the network that is used; why none can be.
fn usable(configurations: &Path, programs: &Path) -> Result<bool, String> {
    let has_plugin = |network: &Value| {
        let plugins = network["plugins"].as_array();
        let ours = |plugin: &Value| plugin["type"] == "sluice-cni";
        plugins.into_iter().flatten().any(ours)
    };
    let network = first(configurations)?;
    if !has_plugin(&network) {
        return Ok(false);
    }
    // Where it was taken out since, its program may be gone.
    if programs.join("sluice-cni").exists() || !has_plugin(&first(configurations)?) {
        Ok(true)
    } else {
        Err("the plugin's program is missing".to_owned())
    }
}

/// The first by name that can be used, as go-cni looks for it.
fn first(configurations: &Path) -> Result<Value, String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(configurations)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let ending = |path: &PathBuf| path.extension().unwrap_or_default().to_owned();
    paths.retain(|path| {
        ["conf", "conflist", "json"]
            .iter()
            .any(|known| ending(path) == *known)
    });
    paths.sort();
    let mut passed_over = Vec::new();
    for path in &paths {
        let network: Value = fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let is_list = ending(path) == "conflist";
        let usable = if is_list {
            network["plugins"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        } else {
            network["type"].is_string()
        };
        if usable && network["name"].is_string() {
            return Ok(network);
        }
        passed_over.push(path.display().to_string());
    }
    Err(format!("none of {passed_over:?}"))
}
