//! Owners of main plugins, each with a way of its own to write its configuration.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::node::{Node, Watch, eventually, list, plain};
use crate::runtime::{Runtime, Seen};

const WRITES: usize = 5;
const FILE: &str = "10-main.conflist";

fn renamed(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

/// In pieces, as a shell's redirection may.
fn truncated(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    for piece in text.as_bytes().chunks(7_000) {
        file.write_all(piece).unwrap();
        sleep(Duration::from_millis(2));
    }
}

fn made_anew(path: &Path, text: &str) {
    fs::remove_file(path).unwrap();
    sleep(Duration::from_millis(5));
    truncated(path, text);
}

fn nothing_invalid(seen: &Seen) {
    assert!(
        seen.invalid.is_empty(),
        "{:?} of {} reads",
        seen.invalid,
        seen.reads
    );
    assert!(seen.with_plugin > 0, "{seen:?}");
    eprintln!(
        "{} reads, {} with the plugin, none invalid",
        seen.reads, seen.with_plugin
    );
}

/// The owner writes again and again, at other moments of the installer's second each time; whatever it wrote last is what counts, with the plugin.
fn rewritten(holes: bool, write: impl Fn(&Path, &str)) {
    let node = Node::new(&[(FILE, &list(0))]);
    let runtime = Runtime::start(&node);
    let mut watch = Watch::start(&node);
    let has_plugin = || node.types(FILE) == ["bridge", "portmap", "sluice-cni"];
    eventually("the plugin is in", has_plugin);
    for n in 1..=WRITES {
        sleep(Duration::from_millis(137 * n as u64));
        let work = || write(&node.conf(FILE), &list(n));
        if holes {
            runtime.hole(work);
        } else {
            work();
        }
        eventually("the plugin is in what the owner wrote", || {
            has_plugin() && node.number(FILE) == Some(n as u64)
        });
    }
    assert!(watch.goes_on());
    drop(watch);
    node.run(&["uninstall"]);
    nothing_invalid(&runtime.saw());
    assert_eq!(node.files(), [(node.conf(FILE), list(WRITES))]);
}

#[test]
fn an_owner_that_renames() {
    rewritten(false, renamed);
}

#[test]
fn an_owner_that_truncates() {
    rewritten(true, truncated);
}

#[test]
fn an_owner_that_deletes() {
    rewritten(true, made_anew);
}

#[test]
fn an_owner_that_truncates_beside_another_network_leaves_no_hole_at_all() {
    let other = "20-other.conflist";
    let node = Node::new(&[(FILE, &list(0)), (other, &list(1_000))]);
    let runtime = Runtime::start(&node);
    let watch = Watch::start(&node);
    for n in 1..=WRITES {
        sleep(Duration::from_millis(300));
        truncated(&node.conf(FILE), &list(n));
    }
    eventually("the plugin is in what the owner wrote last", || {
        node.types(FILE).contains(&"sluice-cni".to_owned())
            && node.number(FILE) == Some(WRITES as u64)
    });
    drop(watch);
    node.run(&["uninstall"]);
    nothing_invalid(&runtime.saw());
    let expected = [
        (node.conf(FILE), list(WRITES)),
        (node.conf(other), list(1_000)),
    ];
    assert_eq!(node.files(), expected);
}

#[test]
fn an_owner_of_one_plugin_has_a_list_before_its_own_file() {
    let (file, before) = ("10-main.conf", "10-main-sluice.conflist");
    let node = Node::new(&[(file, &plain(0))]);
    let watch = Watch::start(&node);
    let is_of = |n: usize| {
        node.types(before) == ["bridge", "sluice-cni"] && node.number(before) == Some(n as u64)
    };
    eventually("the list is there", || is_of(0));
    let runtime = Runtime::start(&node);
    for n in 1..=WRITES {
        // The list stands while the owner has none.
        made_anew(&node.conf(file), &plain(n));
        eventually("the list is of what the owner wrote", || is_of(n));
    }
    drop(watch);
    node.run(&["uninstall"]);
    nothing_invalid(&runtime.saw());
    assert_eq!(node.files(), [(node.conf(file), plain(WRITES))]);
}

#[test]
fn an_owner_that_comes_first_by_name_later_and_goes_again() {
    let (first, second) = ("05-new.conf", "10-main.conflist");
    let node = Node::new(&[(second, &list(1))]);
    let runtime = Runtime::start(&node);
    let watch = Watch::start(&node);
    let has_plugin = |name: &str| node.types(name).contains(&"sluice-cni".to_owned());
    eventually("the only one has the plugin", || has_plugin(second));
    renamed(&node.conf(first), &plain(2));
    eventually("the new first one has it", || {
        has_plugin("05-new-sluice.conflist")
    });
    // Its owner is uninstalled: what was made of its file must not stand for it.
    fs::remove_file(node.conf(first)).unwrap();
    eventually("the second is the network again", || {
        !node.conf("05-new-sluice.conflist").exists() && has_plugin(second)
    });
    drop(watch);
    node.run(&["uninstall"]);
    nothing_invalid(&runtime.saw());
    assert_eq!(node.files(), [(node.conf(second), list(1))]);
}

#[test]
fn an_owner_that_takes_the_plugin_out_again_and_again_is_named_and_the_fight_slows_down() {
    let node = Node::new(&[(FILE, &list(0))]);
    let mut watch = node.start(&["install", "--watch"]);
    let log = BufReader::new(watch.stderr.take().unwrap());
    let (naming, named) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let fights = |line: &String| line.contains("again and again");
        let told = log.lines().map_while(Result::ok).filter(fights);
        told.inspect(|_| naming.send(()).unwrap_or_default())
            .count()
    });
    // When the installer put it in, by its own files: how soon it is taken out shortens none of its pauses.
    let put_in = || {
        eventually("the plugin is in", || {
            node.types(FILE).contains(&"sluice-cni".to_owned())
        });
        let written = fs::metadata(node.conf(FILE)).unwrap().modified().unwrap();
        renamed(&node.conf(FILE), &list(0));
        written
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut last = put_in();
    while named.try_recv().is_err() {
        assert!(Instant::now() < deadline, "nobody is named");
        last = put_in();
    }
    let rest = put_in().duration_since(last).unwrap();
    assert!(rest > Duration::from_millis(1_800), "{rest:?}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(reader.join().unwrap(), 1);
}

#[test]
fn a_program_that_somebody_removes_comes_back() {
    let node = Node::new(&[(FILE, &list(0))]);
    let watch = Watch::start(&node);
    let program = node.path("bin/sluice-cni");
    eventually("the plugin is in", || {
        node.types(FILE).contains(&"sluice-cni".to_owned())
    });
    let whole = fs::read(&program).unwrap();
    let is_whole = || fs::read(&program).is_ok_and(|present| present == whole);
    fs::remove_file(&program).unwrap();
    eventually("the program is back", is_whole);
    assert_eq!(
        fs::metadata(&program).unwrap().permissions().mode() & 0o777,
        0o755
    );
    fs::write(node.path("bin/other"), &whole[..whole.len() / 2]).unwrap();
    fs::rename(node.path("bin/other"), &program).unwrap();
    eventually("the program is whole", is_whole);
    drop(watch);
    node.run(&["uninstall"]);
}

#[test]
fn an_owner_that_writes_while_the_plugin_is_taken_out_keeps_what_it_wrote() {
    let node = Node::new(&[(FILE, &list(0))]);
    node.run(&["install"]);
    // The installer has read the configuration when it reads this, and waits for it.
    let original = node.path("originals").join(FILE);
    fs::remove_file(&original).unwrap();
    let made = Command::new("mkfifo").arg(&original).status().unwrap();
    assert!(made.success());
    let mut uninstall = node.start(&["uninstall"]);
    let mut pipe = fs::OpenOptions::new().write(true).open(&original).unwrap();
    renamed(&node.conf(FILE), &list(1));
    fs::remove_file(&original).unwrap();
    pipe.write_all(list(0).as_bytes()).unwrap();
    drop(pipe);
    assert!(uninstall.wait().unwrap().success());
    assert_eq!(node.files(), [(node.conf(FILE), list(1))]);
}
