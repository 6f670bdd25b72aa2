//! Lists of plugins with the plugin and without it. All that is not about it stays as its owner wrote it.

use serde_json::value::{RawValue, to_raw_value};

use super::{InstallError, PROGRAM};
use crate::cni::RawObject;

const PLUGINS: &str = "plugins";

/// How many plugins besides this one; `None` where there is no list.
pub(super) fn main_plugins(list: &RawObject) -> Option<usize> {
    let all = plugins(list).ok()?;
    Some(all.iter().filter(|plugin| !is_ours(plugin)).count())
}

pub(super) fn has(list: &RawObject) -> Result<bool, InstallError> {
    Ok(plugins(list)?.iter().any(|plugin| is_ours(plugin)))
}

/// The list with this entry once, behind a main plugin; `None` where it is so already, wherever another plugin's installer moved it.
pub(super) fn with(list: &RawObject, entry: &RawValue) -> Result<Option<String>, InstallError> {
    let mut all = plugins(list)?;
    let mut ours = (all.iter().enumerate()).filter(|(_, plugin)| is_ours(plugin));
    if let (Some((at, only)), None) = (ours.next(), ours.next())
        && at > 0
        && is_same(only, entry)
    {
        return Ok(None);
    }
    all.retain(|plugin| !is_ours(plugin));
    all.push(entry.to_owned());
    changed(list, &all).map(Some)
}

pub(super) fn without(list: &RawObject) -> Result<String, InstallError> {
    let mut all = plugins(list)?;
    all.retain(|plugin| !is_ours(plugin));
    changed(list, &all)
}

/// Whether a list is what these bytes became: the same but for the plugin.
pub(super) fn became(original: &[u8], list: &RawObject) -> Result<bool, InstallError> {
    match serde_json::from_slice(original) {
        Ok(original) => Ok(without(&original)? == without(list)?),
        Err(_) => Ok(false),
    }
}

/// A list of a plain configuration's plugin and this entry.
pub(super) fn of_plain(plain: &RawObject, entry: &RawValue) -> Result<String, InstallError> {
    let mut list = RawObject::default();
    let mut plugin = RawObject::default();
    for key in plain.keys() {
        let Some(value) = plain.get(key) else {
            continue;
        };
        let of_the_network = matches!(key, "cniVersion" | "name");
        let object = if of_the_network {
            &mut list
        } else {
            &mut plugin
        };
        object.set(key, value.to_owned());
    }
    let plugin = to_raw_value(&plugin).map_err(InstallError::NotAList)?;
    changed(&list, &[plugin, entry.to_owned()])
}

fn plugins(list: &RawObject) -> Result<Vec<Box<RawValue>>, InstallError> {
    let raw = list.get(PLUGINS).map_or("null", RawValue::get);
    serde_json::from_str(raw).map_err(InstallError::NotAList)
}

fn is_ours(plugin: &RawValue) -> bool {
    serde_json::from_str::<RawObject>(plugin.get())
        .ok()
        .as_ref()
        .and_then(|plugin| serde_json::from_str::<String>(plugin.get("type")?.get()).ok())
        .is_some_and(|name| name == PROGRAM)
}

/// However they are written.
fn is_same(one: &RawValue, other: &RawValue) -> bool {
    let value = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get()).ok();
    one.get() == other.get() || value(one).is_some_and(|one| value(other) == Some(one))
}

/// One key and value a line.
fn changed(list: &RawObject, all: &[Box<RawValue>]) -> Result<String, InstallError> {
    let mut lines = Vec::new();
    let mut written = false;
    let new = to_raw_value(all).map_err(InstallError::NotAList)?;
    for key in list.keys() {
        let value = if key == PLUGINS {
            Some(&*new)
        } else {
            list.get(key)
        };
        written |= key == PLUGINS;
        lines.extend(value.map(|value| line(key, value)));
    }
    if !written {
        lines.push(line(PLUGINS, &new));
    }
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

fn line(key: &str, value: &RawValue) -> String {
    format!("  {}: {}", serde_json::Value::from(key), value.get())
}
