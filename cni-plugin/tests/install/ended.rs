//! An installer that is ended at whatever step.

use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::node::{Node, Watch, eventually, list, plain};
use crate::runtime::Runtime;

const TIMES: u32 = 40;

fn end(child: &mut Child, signal: &str) {
    // It may have ended by itself.
    let id = child.id().to_string();
    let _ = Command::new("kill").args([signal, &id]).status().unwrap();
    child.wait().unwrap();
}

/// How long a whole run takes here.
fn duration(node: &Node, verb: &str) -> Duration {
    let began = Instant::now();
    node.run(&[verb]);
    began.elapsed()
}

#[test]
fn one_that_is_killed_leaves_a_network_and_the_next_finishes_its_work() {
    let files = [
        ("10-main.conflist", &*list(1)),
        ("20-plain.conf", &*plain(2)),
    ];
    let node = Node::new(&files);
    let before = node.files();
    // The least of some: what was measured while the machine did something else would kill none.
    let mut took = [Duration::MAX; 2];
    for _ in 0..5 {
        for (verb, least) in ["install", "uninstall"].into_iter().zip(&mut took) {
            *least = duration(&node, verb).min(*least);
        }
    }
    let runtime = Runtime::start(&node);
    for signal in ["-KILL", "-TERM"] {
        for n in 0..=TIMES {
            for (verb, took) in ["install", "uninstall"].into_iter().zip(took) {
                let mut child = node.start(&[verb]);
                sleep(took * n / TIMES);
                end(&mut child, signal);
            }
        }
    }
    node.run(&["install"]);
    assert_eq!(
        node.types("10-main.conflist"),
        ["bridge", "portmap", "sluice-cni"]
    );
    node.run(&["uninstall"]);
    let seen = runtime.saw();
    assert!(seen.invalid.is_empty(), "{:?}", seen.invalid);
    // Owners' bytes, and nothing else.
    assert_eq!(node.files(), before);
}

#[test]
fn one_that_is_killed_while_it_installs_leaves_nothing_that_uninstall_does_not_remove() {
    for n in 0..=TIMES / 2 {
        let node = Node::new(&[("10-main.conflist", &list(1))]);
        let before = node.files();
        let mut child = node.start(&["install"]);
        sleep(Duration::from_micros(u64::from(n) * 700));
        end(&mut child, "-KILL");
        node.run(&["uninstall"]);
        assert_eq!(node.files(), before, "killed after {n}");
    }
}

#[test]
fn one_that_watches_ends_when_it_is_told_to_and_another_goes_on() {
    let node = Node::new(&[("10-main.conflist", &list(1))]);
    for n in 2..4 {
        let mut watch = node.start(&["install", "--watch"]);
        eventually("the plugin is in", || {
            node.types("10-main.conflist")
                .contains(&"sluice-cni".to_owned())
        });
        let began = Instant::now();
        end(&mut watch, "-TERM");
        assert!(began.elapsed() < Duration::from_secs(15));
        std::fs::write(node.conf("10-main.conflist"), list(n)).unwrap();
    }
    let _watch = Watch::start(&node);
    eventually("the plugin is in what was written meanwhile", || {
        node.types("10-main.conflist")
            .contains(&"sluice-cni".to_owned())
            && node.number("10-main.conflist") == Some(3)
    });
}
