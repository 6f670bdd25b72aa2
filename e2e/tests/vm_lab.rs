//! The VM lab: what a guest is, what comes out of it, and what never does.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sluice_e2e::skip::skip;

/// `sluice-vm run` with these flags and this command; `None`, and reported, where there is no QEMU.
fn in_guest(test: &str, flags: &[&str], command: &[&str]) -> Option<Command> {
    if !is_there("qemu-system-x86_64") {
        skip(test, "no qemu-system-x86_64: run e2e/setup/packages vm");
        return None;
    }
    let mut run = Command::new(env!("CARGO_BIN_EXE_sluice-vm"));
    run.arg("run").args(flags).arg("--").args(command);
    Some(run)
}

fn shell(test: &str, flags: &[&str], script: &str) -> Option<Output> {
    let mut run = in_guest(test, flags, &["sh", "-c", script])?;
    Some(run.output().unwrap())
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The lab's own words, the last line of standard error.
fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or_default().to_owned()
}

/// The console log that the lab names; removed, since these tests make guests fail on purpose.
fn console(output: &Output) -> String {
    let words = words(output);
    let (_, path) = words.rsplit_once("console log: ").unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    std::fs::remove_dir_all(Path::new(path).parent().unwrap()).unwrap();
    text
}

/// A directory under `/tmp`, which a guest has to itself.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/tmp").unwrap()
}

#[test]
fn output_arrives_byte_for_byte_each_stream_apart_and_the_status_after_it() {
    let directory = directory();
    // Every byte, at no regular distance, more than any buffer on the way holds.
    let bytes = |step: u32| -> Vec<u8> {
        (0..3_000_000_u32)
            .map(|n| (n.wrapping_mul(step) >> 11).to_le_bytes()[0])
            .collect()
    };
    let (out, err) = (bytes(2_654_435_761), bytes(40_503));
    std::fs::write(directory.path().join("out"), &out).unwrap();
    std::fs::write(directory.path().join("err"), &err).unwrap();
    let share = format!("{}:/mnt/streams", directory.path().display());
    let script = "cat /mnt/streams/err >&2 & cat /mnt/streams/out; wait; exit 3";
    let Some(output) = shell("byte for byte", &["--share", &share], script) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3));
    assert!(
        output.stdout == out,
        "{} of {} bytes",
        output.stdout.len(),
        out.len()
    );
    assert!(
        output.stderr == err,
        "{} of {} bytes",
        output.stderr.len(),
        err.len()
    );
}

#[test]
fn a_command_killed_by_a_signal_has_the_status_that_a_shell_gives() {
    let Some(output) = shell("signal", &[], "kill -KILL $$") else {
        return;
    };
    assert_eq!(output.status.code(), Some(128 + 9));
    assert!(output.stderr.is_empty(), "{}", words(&output));
}

#[test]
fn a_program_that_is_not_there_has_the_status_127() {
    let Some(mut run) = in_guest("no program", &[], &["no-such-program"]) else {
        return;
    };
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(
        words(&output).contains("no-such-program"),
        "{}",
        words(&output)
    );
}

#[test]
fn a_panic_is_no_failing_test() {
    let directory = directory();
    let report = directory.path().join("report.json");
    let flags = ["--report", report.to_str().unwrap()];
    let Some(output) = shell("panic", &flags, "echo c >/proc/sysrq-trigger") else {
        return;
    };
    assert_eq!(output.status.code(), Some(120));
    assert!(
        words(&output).contains("the guest died: "),
        "{}",
        words(&output)
    );
    assert!(console(&output).contains("sysrq triggered crash"));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["end"], "died");
    assert!(
        report["reason"].as_str().unwrap().contains("Kernel panic"),
        "{report}"
    );
}

#[test]
fn a_guest_that_is_switched_off_is_no_failing_test() {
    let Some(output) = shell("power", &[], "echo o >/proc/sysrq-trigger; sleep 60") else {
        return;
    };
    assert_eq!(output.status.code(), Some(120));
    assert!(words(&output).contains("powered off"), "{}", words(&output));
    console(&output);
}

#[test]
fn a_hang_ends_at_the_timeout_and_is_no_failing_test() {
    let Some(output) = shell("hang", &["--timeout", "10"], "sleep 1000") else {
        return;
    };
    assert_eq!(output.status.code(), Some(124));
    assert!(words(&output).contains("timeout"), "{}", words(&output));
    console(&output);
}

#[test]
fn a_guest_that_does_not_get_ready_is_no_failing_test() {
    let Some(output) = shell("not ready", &["--modules", "no_such_module"], "true") else {
        return;
    };
    assert_eq!(output.status.code(), Some(125));
    assert!(
        words(&output).contains("no_such_module"),
        "{}",
        words(&output)
    );
    console(&output);
}

#[test]
fn what_a_guest_writes_reaches_the_host_only_in_a_writable_share() {
    let (shown, writable) = (directory(), directory());
    std::fs::write(shown.path().join("read"), "from the host").unwrap();
    let path = |directory: &tempfile::TempDir| directory.path().to_str().unwrap().to_owned();
    let flags = [
        "--share",
        &path(&shown),
        "--share",
        &format!("{}:/mnt/results:rw", path(&writable)),
    ];
    let beside = format!("/etc/written-by-a-guest-{}", std::process::id());
    let script = format!(
        "set -e; cd {shown}; echo x >written; echo x >{beside}; cp read /mnt/results/copy",
        shown = path(&shown),
    );
    let Some(output) = shell("shares", &flags, &script) else {
        return;
    };
    assert!(output.status.success(), "{}", words(&output));
    let copy = std::fs::read_to_string(writable.path().join("copy")).unwrap();
    assert_eq!(copy, "from the host");
    assert!(!shown.path().join("written").exists());
    assert!(!Path::new(&beside).exists());
}

#[test]
fn a_guest_has_its_disks_and_what_it_writes_there_is_forgotten() {
    let (content, directory) = (directory(), directory());
    std::fs::write(content.path().join("read"), "from the host").unwrap();
    let disk = directory.path().join("disk");
    let made = Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([content.path(), &disk])
        .arg("64M")
        .status();
    assert!(made.unwrap().success());
    let before = std::fs::read(&disk).unwrap();
    let flag = format!("{}:/mnt/disk", disk.display());
    let script = "set -e; cd /mnt/disk; echo x >written; sync; cat read; df --output=fstype .";
    let Some(output) = shell("disks", &["--disk", &flag], script) else {
        return;
    };
    assert!(output.status.success(), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("from the host") && said.contains("ext4"),
        "{said}"
    );
    assert!(std::fs::read(&disk).unwrap() == before);
}

#[test]
fn a_test_binary_runs_with_its_arguments_where_cargo_built_it_though_that_be_below_tmp() {
    let target = directory();
    let deps = target.path().join("debug/deps");
    std::fs::create_dir_all(&deps).unwrap();
    let binary = deps.join("a_test");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    std::fs::write(target.path().join("debug/agent"), "beside").unwrap();
    let arguments = ["--list", "--format", "terse"];
    let here = Command::new(&binary).args(arguments).output().unwrap();

    let script = r#"cat "$CARGO_TARGET_DIR/debug/agent" "$SLUICE_SEED"; pwd; exec "$0" "$@""#;
    let mut command = vec!["sh", "-c", script, binary.to_str().unwrap()];
    command.extend(arguments);
    let Some(mut run) = in_guest("test binary", &[], &command) else {
        return;
    };
    let there = run
        .env("CARGO_TARGET_DIR", target.path())
        .env("SLUICE_SEED", "debug/agent")
        .current_dir(target.path())
        .output()
        .unwrap();
    let mut want = format!("besidebeside{}\n", target.path().display()).into_bytes();
    want.extend(here.stdout);
    assert!(there.status.success(), "{}", words(&there));
    assert_eq!(
        String::from_utf8_lossy(&there.stdout),
        String::from_utf8_lossy(&want)
    );
}

#[test]
fn a_guest_has_ipvs_dummy_ipset_nftables_and_netem_and_no_way_out() {
    let script = "set -e
        ls /sys/class/net
        ! ip route get 192.0.2.1 2>/dev/null
        test $(cat /sys/module/ip_vs/parameters/conn_tab_bits) = 8
        for s in rr wrr lc wlc lblc lblcr sh dh sed nq fo ovf mh; do modprobe ip_vs_$s; done
        ipvsadm -A -t 10.96.0.10:80 -s mh
        ipvsadm -A -t '[fd00::10]:80' -s wrr
        ipvsadm -A --sctp-service 10.96.0.10:80 -s rr
        ipvsadm -Ln | grep -c '^[TS]'
        ip link add kube-ipvs0 type dummy
        ip address add 10.96.0.10/32 dev kube-ipvs0
        ipset create vips hash:ip,port family inet6
        nft add table inet t
        iptables-nft -w -t nat -A POSTROUTING -m ipvs --vaddr 10.96.0.10 -j MASQUERADE
        iptables-legacy -w -t nat -A POSTROUTING -m set --match-set vips dst,dst -j RETURN 2>/dev/null \
            || iptables-legacy -w -t nat -A POSTROUTING -j RETURN
        tc qdisc add dev lo root netem delay 1ms
        ip link add tunnel type ipip local 127.0.0.1
        ip netns add other";
    let flags = ["--modules", "ip_vs", "--append", "ip_vs.conn_tab_bits=8"];
    let Some(output) = shell("features", &flags, script) else {
        return;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "lo\n3\n",
        "{errors}"
    );
}

#[test]
fn no_guest_outlives_the_process_that_asked_for_it() {
    let Some(mut run) = in_guest("kill", &[], &["sh", "-c", "echo up; sleep 1000"]) else {
        return;
    };
    let mut run = run.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "up\n");
    let qemu = child_of(run.id());
    run.kill().unwrap();
    run.wait().unwrap();
    let start = Instant::now();
    while is_running(&qemu) {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{} runs",
            qemu.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `/proc/PID` of the only child of a process.
fn child_of(process: u32) -> PathBuf {
    let children = format!("/proc/{process}/task/{process}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let child: u32 = children.trim().parse().unwrap();
    Path::new("/proc").join(child.to_string())
}

/// A process that has ended may wait a little for its new parent to notice.
fn is_running(process: &Path) -> bool {
    std::fs::read_to_string(process.join("stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}
