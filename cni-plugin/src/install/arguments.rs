//! The installer's command line.

use std::path::PathBuf;

use serde_json::value::{RawValue, to_raw_value};

use super::PROGRAM;
use crate::cni::{RawObject, Version};
use crate::conf::Conf;

/// What it says about itself.
pub const USAGE: &str = "usage: sluice-cni install|uninstall [--programs DIR] [--configurations DIR] [--originals DIR] [--records DIR] [--entry JSON] [--watch]
  --programs        where the runtime finds plugins                    (/opt/cni/bin)
  --configurations  where it finds network configurations              (/etc/cni/net.d)
  --originals       where configurations are kept as their owner wrote them (/var/lib/sluice/cni-originals)
  --records         what the plugin remembers of pods, for uninstall  (/var/lib/sluice/attachments)
  --entry           the plugin's entry, a JSON object                  ({\"type\":\"sluice-cni\"})
  --watch           go on, and add the plugin again whenever the main plugin's owner rewrites the configuration";

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Onto the node.
    Install,
    /// Off it.
    Uninstall,
}

/// A command line that is understood.
#[derive(Debug)]
pub struct Arguments {
    pub(super) action: Action,
    pub(super) programs: PathBuf,
    pub(super) configurations: PathBuf,
    pub(super) originals: PathBuf,
    pub(super) records: PathBuf,
    pub(super) watch: bool,
    entry: Box<RawValue>,
}

impl Arguments {
    /// Reads what comes after the action; an error says which argument is wrong.
    pub fn parse(action: Action, mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut programs, mut configurations) = ("/opt/cni/bin".into(), "/etc/cni/net.d".into());
        let mut originals = "/var/lib/sluice/cni-originals".into();
        let mut records = "/var/lib/sluice/attachments".into();
        let mut entry = format!("{{\"type\":\"{PROGRAM}\"}}");
        let mut watch = false;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--programs" => programs = value()?.into(),
                "--configurations" => configurations = value()?.into(),
                "--originals" => originals = value()?.into(),
                "--records" => records = value()?.into(),
                "--entry" => entry = value()?,
                "--watch" => watch = true,
                _ => return Err(format!("{word} is not an option")),
            }
        }
        Ok(Self {
            action,
            programs,
            configurations,
            originals,
            records,
            watch,
            entry: checked(entry)?,
        })
    }

    pub(super) fn entry(&self) -> &RawValue {
        &self.entry
    }
}

/// An entry that the plugin would refuse would fail every pod of the node, so it is read as the plugin will read it.
fn checked(entry: String) -> Result<Box<RawValue>, String> {
    let wrong =
        |why: &str| format!("--entry must be a JSON object with \"type\":\"{PROGRAM}\": {why}");
    let mut object: RawObject = serde_json::from_str(&entry).map_err(|e| wrong(&e.to_string()))?;
    let name = object.get("type").map_or("nothing", RawValue::get);
    if name != format!("\"{PROGRAM}\"") {
        return Err(wrong(&format!("its type is {name}")));
    }
    // Runtimes give the network's.
    object.set("name", to_raw_value("any").map_err(|e| e.to_string())?);
    Conf::read(&object, Version::NEWEST).map_err(|e| format!("--entry: {e}"))?;
    RawValue::from_string(entry).map_err(|e| wrong(&e.to_string()))
}
