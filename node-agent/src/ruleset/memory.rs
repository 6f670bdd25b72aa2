//! What the kernel held of ours at a moment, on disk, so that a restart need not list it if nothing was committed since.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sluice_kernel::iptables::{Family, Stamp, Table, Variant};

use super::chain::stable_hash;
use super::held::{Held, HeldChain};

/// The first line; another one where digests or the file's form are others.
const VERSION: &str = "sluice rules 1";

/// Tables with what they hold.
pub(super) type HeldTables = HashMap<(Family, Table), Held>;

/// Removes the note of a variant; one that is not there is no error.
pub fn forget(directory: &Path, variant: Variant) -> io::Result<()> {
    match fs::remove_file(path(directory, variant)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(directory: &Path, variant: Variant) -> PathBuf {
    directory.join(format!("rules-{variant}"))
}

/// A file of one variant.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    /// The moment that the file is about.
    written: Option<Stamp>,
}

impl Memory {
    /// A file in this directory; nothing is read yet.
    pub(super) fn new(directory: &Path, variant: Variant) -> Self {
        Self {
            path: path(directory, variant),
            written: None,
        }
    }

    /// What was held at this very moment; nothing where the file is of another one, is missing or is damaged.
    pub(super) fn read(&mut self, now: &Stamp) -> Option<HeldTables> {
        let text = fs::read_to_string(&self.path).ok()?;
        let tables = decode(&text, now)?;
        self.written = Some(now.clone());
        Some(tables)
    }

    /// Writes what is held at a moment, unless that is what the file says. The file is whole or the one before.
    pub(super) fn write(
        &mut self,
        moment: &Stamp,
        tables: impl FnOnce() -> HeldTables,
    ) -> io::Result<()> {
        if self.written.as_ref() == Some(moment) {
            return Ok(());
        }
        self.written = None;
        let beside = self.path.with_extension("new");
        fs::write(&beside, encode(moment, &tables()))?;
        fs::rename(&beside, &self.path)?;
        self.written = Some(moment.clone());
        Ok(())
    }
}

fn encode(moment: &Stamp, tables: &HeldTables) -> String {
    let mut text = format!("{VERSION}\n{moment}\n");
    for ((family, table), held) in tables {
        let _ = writeln!(text, "*{} {table}", word(*family));
        for (name, chain) in &held.chains {
            let _ = writeln!(text, ":{name} {:016x} {}", chain.digest, chain.rules);
        }
        for (from, rule) in &held.jumps {
            let _ = writeln!(text, "-{from} {rule}");
        }
    }
    let sum = checksum(&text);
    let _ = writeln!(text, "#{sum:016x}");
    text
}

fn decode(text: &str, now: &Stamp) -> Option<HeldTables> {
    let (body, sum) = text.trim_end().rsplit_once("\n#")?;
    let body = &text[..=body.len()];
    if u64::from_str_radix(sum, 16).ok()? != checksum(body) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != VERSION || lines.next()? != now.to_string() {
        return None;
    }
    let mut tables = HeldTables::new();
    let mut open: Option<&mut Held> = None;
    for line in lines {
        let (mark, rest) = line.split_at_checked(1)?;
        let (first, rest) = rest.split_once(' ')?;
        match mark {
            "*" => {
                let family = [Family::V4, Family::V6]
                    .into_iter()
                    .find(|family| word(*family) == first)?;
                open = Some(tables.entry((family, Table::from_name(rest)?)).or_default());
            }
            ":" => {
                let (digest, rules) = rest.split_once(' ')?;
                let chain = HeldChain {
                    digest: u64::from_str_radix(digest, 16).ok()?,
                    rules: rules.parse().ok()?,
                };
                open.as_mut()?.chains.insert(first.into(), chain);
            }
            "-" => open.as_mut()?.jumps.push((first.into(), rest.into())),
            _ => return None,
        }
    }
    Some(tables)
}

fn checksum(text: &str) -> u64 {
    stable_hash(&[text.as_bytes()])
}

fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_kernel::iptables::{Iptables, MemoryIptables};

    fn stamps() -> [Stamp; 2] {
        let mut door = MemoryIptables::new(Variant::Nft);
        let before = door.stamp().unwrap();
        door.restore(Family::V4, "*nat\n:SLUICE-A - [0:0]\nCOMMIT\n")
            .unwrap();
        [before, door.stamp().unwrap()]
    }

    fn tables() -> HeldTables {
        let chain = HeldChain {
            digest: 7,
            rules: 3,
        };
        let held = Held {
            chains: HashMap::from([("SLUICE-A".into(), chain)]),
            jumps: vec![(
                "OUTPUT".into(),
                "-m comment --comment \"a b\" -j SLUICE-A".into(),
            )],
        };
        HeldTables::from([
            ((Family::V4, Table::Nat), held),
            ((Family::V6, Table::Filter), Held::default()),
        ])
    }

    #[test]
    fn what_was_written_is_read_at_the_same_moment_only() {
        let directory = tempfile::tempdir().unwrap();
        let [before, after] = stamps();
        let mut memory = Memory::new(directory.path(), Variant::Nft);
        assert!(memory.read(&before).is_none(), "there is no file yet");
        memory.write(&before, tables).unwrap();
        let mut next = Memory::new(directory.path(), Variant::Nft);
        assert_eq!(next.read(&before), Some(tables()));
        assert!(next.read(&after).is_none());
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        let [moment, _] = stamps();
        let whole = encode(&moment, &tables());
        assert!(decode(&whole, &moment).is_some());
        for at in 0..whole.len() - 1 {
            assert!(decode(&whole[..at], &moment).is_none(), "cut at {at}");
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(decode(&damaged, &moment).is_none(), "damaged at {at}");
        }
    }
}
