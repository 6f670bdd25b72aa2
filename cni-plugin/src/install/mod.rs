//! Putting the plugin on a node, keeping it there, and taking it away.

mod active;
mod arguments;
mod conflist;
mod contest;
mod error;
mod files;
mod rest;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_attachment::store::Store;

use self::active::{Active, Shape};
pub use self::arguments::{Action, Arguments, USAGE};
use self::contest::Contest;
pub use self::error::InstallError;
use self::rest::Rest;
use crate::cni::{RawObject, Version};

const PROGRAM: &str = "sluice-cni";
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Between two looks at the configuration. A pod that is attached meanwhile lacks what the plugin gives; CHECK would tell.
const PAUSE: Duration = Duration::from_secs(1);

/// What a pass over the configuration did.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    /// The active configuration has the plugin as it shall be.
    Unchanged,
    /// This file has it now.
    Added(PathBuf),
    /// The plugin would refuse every call by the active configuration, so it is not in there.
    OtherVersion {
        /// Which configuration.
        path: PathBuf,
        /// Which version it says, as it is written there.
        version: Option<String>,
    },
    /// There is no configuration of a main plugin.
    NothingSuitable,
}

/// Carries out what the command line asks for. With `--watch` it goes on until SIGTERM or SIGINT.
pub fn run(arguments: &Arguments, log: &mut dyn Write) -> Result<(), InstallError> {
    match arguments.action {
        Action::Uninstall => uninstall(arguments, log),
        Action::Install => {
            place_program(arguments)?;
            say(
                log,
                &format!("{} is in place", program(arguments).display()),
            );
            let rest = arguments.watch.then(Rest::new).transpose()?;
            let mut last = None;
            let mut contest = Contest::default();
            loop {
                if !is_program_whole(arguments)? {
                    place_program(arguments)?;
                    let path = program(arguments);
                    say(
                        log,
                        &format!("{} was gone: it is in place again", path.display()),
                    );
                }
                let pass = put_in(arguments)?;
                if last.as_ref() != Some(&pass) {
                    say(log, &told(&pass, arguments));
                }
                if let (Pass::Added(path), true) = (&pass, contest.begins_with(&pass)) {
                    say(log, &contested(path));
                }
                let goes_on = match &rest {
                    Some(rest) => rest.pause(PAUSE * contest.pauses())?,
                    None => false,
                };
                if !goes_on {
                    return Ok(());
                }
                last = Some(pass);
            }
        }
    }
}

fn say(log: &mut dyn Write, text: &str) {
    // That it cannot be told changes nothing on the node.
    let _ = writeln!(log, "sluice-cni: {text}");
}

fn told(pass: &Pass, arguments: &Arguments) -> String {
    match pass {
        Pass::Unchanged => "the active network configuration has the plugin".to_owned(),
        Pass::Added(path) => format!("the plugin was added to {}", path.display()),
        Pass::OtherVersion { path, version } => format!(
            "{} says {} for its cniVersion, which the plugin does not speak and would fail every pod by, so pods are attached without it: \
             have its owner set cniVersion to one of {}",
            path.display(),
            version.as_deref().unwrap_or("nothing"),
            Version::list()
        ),
        Pass::NothingSuitable => format!(
            "no network configuration with a main plugin in {} (files *.conflist, *.conf and *.json): install one; with --watch this goes on \
             looking",
            arguments.configurations.display()
        ),
    }
}

fn contested(path: &Path) -> String {
    format!(
        "another program takes the plugin out of {} again and again, so it is put in less often from now on, and pods that are attached meanwhile \
         lack it: let that program leave others' plugins in (Cilium: cni.exclusive=false), or do without this one (cni.enabled=false)",
        path.display()
    )
}

fn program(arguments: &Arguments) -> PathBuf {
    arguments.programs.join(PROGRAM)
}

/// The program first: no configuration may name one that is not there.
fn place_program(arguments: &Arguments) -> Result<(), InstallError> {
    let own = Path::new(OWN_PROGRAM);
    let bytes = fs::read(own).map_err(|e| InstallError::io("read", own, e))?;
    files::replace(&program(arguments), &bytes, 0o755)
}

/// By its length: to read it each second would be too much.
fn is_program_whole(arguments: &Arguments) -> Result<bool, InstallError> {
    let own = Path::new(OWN_PROGRAM);
    let own = fs::metadata(own).map_err(|e| InstallError::io("read", own, e))?;
    let placed = fs::metadata(program(arguments));
    Ok(placed.is_ok_and(|placed| placed.is_file() && placed.len() == own.len()))
}

/// Sees to it that the configuration that runtimes use, the first by name that is one, has the plugin.
fn put_in(arguments: &Arguments) -> Result<Pass, InstallError> {
    loop {
        let Some(active) = active::find(&arguments.configurations)? else {
            return Ok(Pass::NothingSuitable);
        };
        let put = match active.shape {
            _ if !is_spoken(&active.object) => keep_out(&active)?,
            Shape::List => put_in_list(arguments, &active)?,
            Shape::Plain => Some(put_before_plain(arguments, &active)?),
        };
        if let Some(pass) = put {
            let plain = (active.shape == Shape::Plain).then_some(&*active.path);
            remove_orphans(arguments, plain)?;
            return Ok(pass);
        }
    }
}

/// Runtimes hand on what a configuration says, and an empty text where it says nothing.
fn is_spoken(network: &RawObject) -> bool {
    let raw = network.get("cniVersion");
    let name = raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    name.is_some_and(|name| Version::named(&name).is_some())
}

/// Takes the plugin out where it was before its owner changed the version. `None` where it wrote meanwhile.
fn keep_out(active: &Active) -> Result<Option<Pass>, InstallError> {
    match active.shape {
        Shape::List if conflist::has(&active.object)? => {
            let without = conflist::without(&active.object)?;
            let (path, bytes) = (&active.path, &active.bytes);
            if !files::replace_unchanged(path, bytes, without.as_bytes(), active.mode)? {
                return Ok(None);
            }
        }
        Shape::List => {}
        Shape::Plain => files::remove(&list_before(&active.path))?,
    }
    Ok(Some(Pass::OtherVersion {
        path: active.path.clone(),
        version: active.object.get("cniVersion").map(ToString::to_string),
    }))
}

/// `None` where its owner wrote it meanwhile.
fn put_in_list(arguments: &Arguments, active: &Active) -> Result<Option<Pass>, InstallError> {
    let Some(wanted) = conflist::with(&active.object, arguments.entry())? else {
        return Ok(Some(Pass::Unchanged));
    };
    if !conflist::has(&active.object)? {
        // Bytes of the owner's, whenever it wrote them.
        files::replace(&saved(arguments, active)?, &active.bytes, 0o600)?;
    }
    let put =
        files::replace_unchanged(&active.path, &active.bytes, wanted.as_bytes(), active.mode)?;
    Ok(put.then(|| Pass::Added(active.path.clone())))
}

fn put_before_plain(arguments: &Arguments, active: &Active) -> Result<Pass, InstallError> {
    let path = list_before(&active.path);
    let wanted = conflist::of_plain(&active.object, arguments.entry())?;
    if fs::read(&path).is_ok_and(|present| present == wanted.as_bytes()) {
        return Ok(Pass::Unchanged);
    }
    files::replace(&path, wanted.as_bytes(), active.mode)?;
    Ok(Pass::Added(path))
}

/// Lists that were made of plain configurations which are gone: their main plugins may be gone too. The node's network stays, as its owner may
/// be writing it anew just now.
fn remove_orphans(arguments: &Arguments, network: Option<&Path>) -> Result<(), InstallError> {
    let all = active::all(&arguments.configurations)?;
    let (lists, plains): (Vec<_>, Vec<_>) = (all.iter()).partition(|path| {
        path.extension()
            .is_some_and(|ending| ending == active::LIST)
    });
    let of_ours = |path: &&&PathBuf| path.to_string_lossy().ends_with(active::OWN_ENDING);
    for path in lists.iter().filter(of_ours) {
        let of = |plain: &Path| list_before(plain) == **path;
        if !network.is_some_and(of) && !plains.iter().any(|plain| of(plain)) {
            files::remove(path)?;
        }
    }
    Ok(())
}

/// Of a plain configuration `NAME.conf` the list `NAME-sluice.conflist`: by name it comes before, so it is active the moment it is there, and
/// the plain one is the moment it is gone.
fn list_before(plain: &Path) -> PathBuf {
    let stem = plain.file_stem().unwrap_or_default().to_string_lossy();
    plain.with_file_name(format!("{stem}{}", active::OWN_ENDING))
}

fn saved(arguments: &Arguments, active: &Active) -> Result<PathBuf, InstallError> {
    let directory = &arguments.originals;
    fs::create_dir_all(directory).map_err(|e| InstallError::io("make", directory, e))?;
    Ok(directory.join(active.path.file_name().unwrap_or_default()))
}

/// Whether the plugin was in it. What its owner writes meanwhile is looked at anew.
fn take_out(arguments: &Arguments, path: &Path) -> Result<bool, InstallError> {
    let original = arguments
        .originals
        .join(path.file_name().unwrap_or_default());
    loop {
        let Some(found) = active::read(path)? else {
            return Ok(false);
        };
        if found.shape != Shape::List || !conflist::has(&found.object)? {
            return Ok(false);
        }
        let bytes = match fs::read(&original) {
            Ok(bytes) if conflist::became(&bytes, &found.object)? => bytes,
            _ => conflist::without(&found.object)?.into_bytes(),
        };
        if files::replace_unchanged(path, &found.bytes, &bytes, found.mode)? {
            return Ok(true);
        }
    }
}

/// Configurations first, then the program and what it remembers, which nobody would take away when its pods go. A file that is as it was made gets its owner's bytes back; from one that its owner wrote since, only the
/// plugin is taken.
fn uninstall(arguments: &Arguments, log: &mut dyn Write) -> Result<(), InstallError> {
    for path in active::all(&arguments.configurations)? {
        if path.to_string_lossy().ends_with(active::OWN_ENDING) {
            files::remove(&path)?;
            say(log, &format!("{} is removed", path.display()));
            continue;
        }
        if take_out(arguments, &path)? {
            say(log, &format!("{} is as it was", path.display()));
        }
    }
    if arguments.originals.exists() {
        fs::remove_dir_all(&arguments.originals)
            .map_err(|e| InstallError::io("remove", &arguments.originals, e))?;
    }
    files::remove(&program(arguments))?;
    Store::remove(&arguments.records)?;
    files::sweep(&arguments.configurations)?;
    files::sweep(&arguments.programs)
}

#[cfg(test)]
mod tests;
