//! What a node's state directory holds.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

const LOCK: &str = ".lock";
/// What names of records end with.
const RECORD: &str = ".json";
const INDEX: &str = "by-address";
/// What the name of an address that its record's writer has not put into the index begins with.
pub const NOT_IN_INDEX: &str = "not-by-address";

/// Names of the files in it, without the lock; and of addresses of which index and records do not say the same, as the index's own file or
/// as one in [`NOT_IN_INDEX`].
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = listed(directory)?;
    names.retain(|name| name != LOCK && name != INDEX);
    let mut held = BTreeSet::new();
    for name in names.iter().filter(|name| name.ends_with(RECORD)) {
        let record = fs::read(directory.join(name))?;
        let record: Value = serde_json::from_slice(&record).unwrap_or_default();
        let addresses = record["addresses"].as_array().into_iter().flatten();
        let addresses = addresses.filter_map(Value::as_str);
        held.extend(addresses.map(|address| (address.to_owned(), format!("../{name}"))));
    }
    let index = directory.join(INDEX);
    let mut entries = BTreeSet::new();
    for address in listed(&index)? {
        let target = fs::read_link(index.join(&address)).unwrap_or_default();
        entries.insert((address, target.to_string_lossy().into_owned()));
    }
    let missing = held.difference(&entries).map(|entry| (NOT_IN_INDEX, entry));
    let wrong = entries.difference(&held).map(|entry| (INDEX, entry));
    names.extend(
        missing
            .chain(wrong)
            .map(|(of, (address, _))| format!("{of}/{address}")),
    );
    names.sort();
    Ok(names)
}

/// Nothing, where there is no such directory.
fn listed(directory: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect(),
    }
}
