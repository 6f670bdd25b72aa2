//! Modules by modprobe, in made-up trees and with made-up programs, and their twin in memory. No module is loaded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sluice_kernel::modules::{MemoryModules, ModprobeModules, ModuleState, Modules, ModulesError};
use tempfile::TempDir;

/// A node whose kernel has something of every kind.
fn node() -> TempDir {
    let root = TempDir::new().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/sys/kernel/osrelease", "6.1.0-test\n");
    write(
        "proc/modules",
        "ip_vs_rr 16384 2 - Live 0x0000000000000000\n\
         ip_vs 188416 4 ip_vs_rr, Live 0x0000000000000000\n\
         leaving 16384 0 - Unloading 0x0000000000000000\n",
    );
    write("sys/module/ip_vs/initstate", "live\n");
    write("sys/module/leaving/initstate", "going\n");
    write("sys/module/tcp_cubic/parameters/beta", "717\n");
    write(
        "lib/modules/6.1.0-test/modules.builtin",
        "kernel/net/ipv4/netfilter/built-in.ko\n",
    );
    write(
        "lib/modules/6.1.0-test/modules.dep",
        "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz\n\
         kernel/net/netfilter/ipvs/ip_vs_sh.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n",
    );
    root
}

/// A program in place of modprobe: it writes its arguments down, then runs `then` in the node's root.
fn modprobe(root: &Path, then: &str) -> ModprobeModules {
    let program = root.join("modprobe");
    let script = format!(
        "#!/bin/sh\ncd {}\necho \"$@\" >arguments\n{then}\n",
        root.display()
    );
    // By another process: what this one has open for writing a child of another test may have too, and then it is not executed.
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let written = Command::new("sh")
        .args(["-c", write])
        .arg(&program)
        .arg(script)
        .status();
    assert!(written.unwrap().success());
    ModprobeModules::with(root, program)
}

#[test]
fn a_modprobe_that_hangs_is_stopped() {
    let node = node();
    let begin = Instant::now();
    let mut modules =
        modprobe(node.path(), "exec sleep 30").with_timeout(Duration::from_millis(200));
    let error = modules.load("ip_vs_sh", &[]).unwrap_err();
    assert!(
        matches!(&error, ModulesError::TimedOut { name, .. } if name == "ip_vs_sh"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn built_in_loaded_loadable_and_missing_are_told_apart() {
    let node = node();
    let mut modules = ModprobeModules::with(node.path(), "none");
    let expected = [
        ("ip_vs", ModuleState::Loaded),
        ("ip-vs-rr", ModuleState::Loaded),
        ("tcp_cubic", ModuleState::BuiltIn),
        ("built_in", ModuleState::BuiltIn),
        ("ip_vs_sh", ModuleState::Loadable),
        ("nf_conntrack", ModuleState::Missing),
        ("leaving", ModuleState::Missing),
        ("", ModuleState::Missing),
        ("../module/ip_vs", ModuleState::Missing),
    ];
    for (name, state) in expected {
        assert_eq!(modules.state(name).unwrap(), state, "{name}");
    }
}

#[test]
fn a_node_without_module_lists_has_none() {
    let node = node();
    fs::remove_file(node.path().join("proc/modules")).unwrap();
    fs::remove_dir_all(node.path().join("lib")).unwrap();
    let mut modules = ModprobeModules::with(node.path(), "none");
    assert_eq!(modules.state("ip_vs_sh").unwrap(), ModuleState::Missing);
    assert_eq!(modules.state("tcp_cubic").unwrap(), ModuleState::BuiltIn);
}

#[test]
fn a_module_is_loaded_with_its_parameters() {
    let node = node();
    let live = "echo 'ip_vs_sh 16384 0 - Live 0x0' >>proc/modules";
    let mut modules = modprobe(node.path(), live);
    modules
        .load("ip_vs_sh", &[("one", "1"), ("two", "2")])
        .unwrap();
    let arguments = fs::read_to_string(node.path().join("arguments")).unwrap();
    assert_eq!(arguments, "-q -- ip_vs_sh one=1 two=2\n");
    assert_eq!(modules.state("ip_vs_sh").unwrap(), ModuleState::Loaded);
}

#[test]
fn no_program_is_started_for_a_module_that_is_present_or_missing() {
    let node = node();
    let mut modules = ModprobeModules::with(node.path(), "/nonexistent/modprobe");
    modules.load("ip_vs", &[]).unwrap();
    modules.load("built_in", &[]).unwrap();
    let Err(ModulesError::NotFound { name, directory }) = modules.load("nonesuch", &[]) else {
        panic!("a module out of nowhere");
    };
    assert_eq!(name, "nonesuch");
    assert!(directory.ends_with("lib/modules/6.1.0-test"));
    let refused = modules.load("ip_vs_sh", &[]);
    assert!(matches!(refused, Err(ModulesError::NoModprobe { .. })));
}

#[test]
fn a_refusal_is_told_as_modprobe_tells_it() {
    let node = node();
    let mut denied = modprobe(
        node.path(),
        "echo \"modprobe: ERROR: could not insert 'ip_vs_sh': Operation not permitted\" >&2; exit 1",
    );
    let refused = denied.load("ip_vs_sh", &[]);
    assert!(matches!(refused, Err(ModulesError::NotPermitted { .. })));
    let mut invalid = modprobe(node.path(), "echo 'Invalid argument' >&2; exit 1");
    let refused = invalid.load("ip_vs_sh", &[]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "cannot load the kernel module ip_vs_sh: Invalid argument"
    );
}

#[test]
fn a_success_that_loads_nothing_is_a_refusal() {
    let node = node();
    let refused = modprobe(node.path(), "exit 0").load("ip_vs_sh", &[]);
    assert!(
        matches!(&refused, Err(ModulesError::Refused { reason, .. }) if reason.contains("modprobe.d")),
        "{refused:?}"
    );
}

#[test]
fn this_node_tells_the_state_of_any_module() {
    let state = ModprobeModules::new().state("no_module_has_this_name");
    assert_eq!(state.unwrap(), ModuleState::Missing);
}

#[test]
fn the_twin_loads_what_is_loadable_and_fails_once_when_it_was_told_to() {
    let shared = MemoryModules::new();
    let mut modules = shared.clone();
    shared.set("ip-vs", ModuleState::Loadable);
    shared.set("nf_tables", ModuleState::BuiltIn);
    shared.fail_after(0, || ModulesError::NotPermitted {
        name: "ip_vs".to_owned(),
    });
    let parameters = [("conn_tab_bits", "20")];
    let failed = modules.load("ip_vs", &parameters);
    assert!(matches!(failed, Err(ModulesError::NotPermitted { .. })));
    assert_eq!(modules.state("ip_vs").unwrap(), ModuleState::Loadable);
    for name in ["ip_vs", "ip_vs", "nf_tables"] {
        modules.load(name, &parameters).unwrap();
    }
    assert_eq!(modules.state("ip_vs").unwrap(), ModuleState::Loaded);
    assert_eq!(shared.loads(), ["ip_vs conn_tab_bits=20"]);
    let missing = modules.load("nonesuch", &[]);
    assert!(matches!(missing, Err(ModulesError::NotFound { .. })));
}
