//! The door to sysctls against `/proc/sys`, in namespaces of its own; its twin runs the same suite.

mod namespace;

use std::fs;

use namespace::{in_new_namespace, sh};
use sluice_kernel::sysctl::{
    LedgerError, MemorySysctls, ProcSysctls, Restored, SysctlError, SysctlLedger, Sysctls,
};

const LOCALNET: &str = "net.ipv4.conf.all.route_localnet";
const PORTS: &str = "net.ipv4.ip_local_port_range";
const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";

fn everywhere(test: impl Fn(&mut dyn Sysctls) + Sync) {
    in_new_namespace(|| test(&mut ProcSysctls::new()));
    test(&mut MemorySysctls::new([
        (LOCALNET, "0"),
        (PORTS, "32768\t60999"),
        (RESERVED, ""),
    ]));
}

#[test]
fn a_value_is_written_only_when_it_differs() {
    everywhere(|door| {
        assert_eq!(door.read(LOCALNET).unwrap(), "0");
        assert_eq!(door.set(LOCALNET, "1").unwrap().as_deref(), Some("0"));
        assert_eq!(door.set(LOCALNET, "1").unwrap(), None);
        assert_eq!(door.read(LOCALNET).unwrap(), "1");
    });
}

#[test]
fn white_space_makes_no_difference() {
    everywhere(|door| {
        assert_eq!(door.set(PORTS, "32768 60999").unwrap(), None);
        assert_eq!(
            door.set(PORTS, "32768 50000").unwrap().as_deref(),
            Some("32768\t60999")
        );
        assert_eq!(door.read(PORTS).unwrap(), "32768\t50000");
    });
}

#[test]
fn an_absent_tunable_is_told_apart() {
    everywhere(|door| {
        for name in ["net.ipv4.no_such_thing", "net.ipv4.conf.nowhere0.rp_filter"] {
            assert!(
                matches!(door.read(name), Err(SysctlError::NotFound { .. })),
                "{name}"
            );
            assert!(
                matches!(door.set(name, "1"), Err(SysctlError::NotFound { .. })),
                "{name}"
            );
        }
    });
}

#[test]
fn values_that_the_kernel_refuses_and_files_that_it_protects_are_told_apart() {
    in_new_namespace(|| {
        let mut door = ProcSysctls::new();
        let refused = door.set(LOCALNET, "yes").unwrap_err();
        assert!(
            matches!(refused, SysctlError::InvalidValue { .. }),
            "{refused:?}"
        );
        let protected = door.set("kernel.ostype", "Sluice").unwrap_err();
        assert!(
            matches!(protected, SysctlError::ReadOnly { .. }),
            "{protected:?}"
        );
        for name in ["net.ipv4", "", "net..ipv4", "net.ipv4.//.x"] {
            assert!(
                matches!(door.read(name), Err(SysctlError::NotFound { .. })),
                "{name}"
            );
        }
    });
}

#[test]
fn an_interface_name_may_have_a_dot() {
    in_new_namespace(|| {
        sh("ip link add br0.5 type bridge");
        let mut door = ProcSysctls::new();
        assert_eq!(
            door.set("net.ipv4.conf.br0/5.arp_ignore", "1")
                .unwrap()
                .as_deref(),
            Some("0")
        );
        assert_eq!(sh("cat /proc/sys/net/ipv4/conf/br0.5/arp_ignore"), "1\n");
    });
}

#[test]
fn original_values_come_back_also_after_a_restart() {
    everywhere(|door| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sysctls.json");
        let mut ledger = SysctlLedger::open(&file).unwrap();
        assert!(ledger.set(door, LOCALNET, "1").unwrap());
        assert!(!ledger.set(door, LOCALNET, "1").unwrap());
        assert!(ledger.set(door, PORTS, "20000 50000").unwrap());
        let mut ledger = SysctlLedger::open(&file).unwrap();
        assert!(ledger.set(door, PORTS, "20000 40000").unwrap());
        assert_eq!(ledger.names().collect::<Vec<_>>(), [LOCALNET, PORTS]);
        let outcomes = SysctlLedger::open(&file)
            .unwrap()
            .restore_all(door)
            .unwrap();
        assert!(
            outcomes
                .iter()
                .all(|(_, o)| matches!(o, Restored::Original)),
            "{outcomes:?}"
        );
        assert_eq!(
            (
                door.read(LOCALNET).unwrap().as_str(),
                door.read(PORTS).unwrap().as_str()
            ),
            ("0", "32768\t60999")
        );
        assert!(!file.exists());
        assert!(
            SysctlLedger::open(&file)
                .unwrap()
                .restore_all(door)
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn a_value_that_was_empty_is_so_again() {
    everywhere(|door| {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = SysctlLedger::open(&directory.path().join("sysctls.json")).unwrap();
        assert!(ledger.set(door, RESERVED, "8080").unwrap());
        assert_eq!(door.read(RESERVED).unwrap(), "8080");
        let outcomes = ledger.restore_all(door).unwrap();
        assert!(
            matches!(outcomes[..], [(_, Restored::Original)]),
            "{outcomes:?}"
        );
        assert_eq!(door.read(RESERVED).unwrap(), "");
    });
}

#[test]
fn a_value_that_the_kernel_prints_otherwise_is_known_as_ours() {
    in_new_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sysctls.json");
        let door = &mut ProcSysctls::new();
        door.set(RESERVED, "9000").unwrap();
        let mut ledger = SysctlLedger::open(&file).unwrap();
        assert!(ledger.set(door, RESERVED, "8080,8081").unwrap());
        assert_eq!(door.read(RESERVED).unwrap(), "8080-8081");
        assert!(!ledger.set(door, RESERVED, "8080,8081").unwrap());
        let mut ledger = SysctlLedger::open(&file).unwrap();
        assert!(!ledger.set(door, RESERVED, "8080,8081").unwrap());
        let outcomes = ledger.restore_all(door).unwrap();
        assert!(
            matches!(outcomes[..], [(_, Restored::Original)]),
            "{outcomes:?}"
        );
        assert_eq!(door.read(RESERVED).unwrap(), "9000");
    });
}

#[test]
fn a_record_of_an_earlier_version_is_understood() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sysctls.json");
    fs::write(
        &file,
        format!(r#"{{"{LOCALNET}": {{"original": "0", "ours": "1"}}}}"#),
    )
    .unwrap();
    let mut door = MemorySysctls::new([(LOCALNET, "1")]);
    let mut ledger = SysctlLedger::open(&file).unwrap();
    ledger.restore_all(&mut door).unwrap();
    assert_eq!(door.read(LOCALNET).unwrap(), "0");
}

#[test]
fn a_value_that_somebody_changed_after_us_is_left() {
    everywhere(|door| {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = SysctlLedger::open(&directory.path().join("sysctls.json")).unwrap();
        ledger.set(door, PORTS, "20000 50000").unwrap();
        door.set(PORTS, "1024 65535").unwrap();
        let outcome = ledger.restore(door, PORTS).unwrap().unwrap();
        assert!(
            matches!(&outcome, Restored::ChangedByOthers { ours, present } if ours == "20000 50000" && present == "1024\t65535"),
            "{outcome:?}"
        );
        assert_eq!(door.read(PORTS).unwrap(), "1024\t65535");
        assert!(ledger.restore(door, PORTS).unwrap().is_none(), "forgotten");
    });
}

#[test]
fn a_value_that_could_not_be_set_is_not_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sysctls.json");
    let mut door = MemorySysctls::new([(LOCALNET, "0")]);
    let mut ledger = SysctlLedger::open(&file).unwrap();
    door.fail_next_write(
        LOCALNET,
        SysctlError::ReadOnly {
            name: LOCALNET.to_owned(),
        },
    );
    assert!(matches!(
        ledger.set(&mut door, LOCALNET, "1"),
        Err(LedgerError::Sysctl(SysctlError::ReadOnly { .. }))
    ));
    assert!(!file.exists());
    ledger.set(&mut door, LOCALNET, "1").unwrap();
    door.fail_next_write(
        LOCALNET,
        SysctlError::ReadOnly {
            name: LOCALNET.to_owned(),
        },
    );
    let outcomes = ledger.restore_all(&mut door).unwrap();
    assert!(
        matches!(outcomes[..], [(_, Restored::Failed(_))]),
        "{outcomes:?}"
    );
    assert_eq!(ledger.names().count(), 1, "to be tried again");
    ledger.restore_all(&mut door).unwrap();
    assert_eq!(door.read(LOCALNET).unwrap(), "0");
}

#[test]
fn a_record_that_cannot_be_written_keeps_no_value_from_coming_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state/sysctls.json");
    std::fs::create_dir(directory.path().join("state")).unwrap();
    let mut door = MemorySysctls::new([(LOCALNET, "0"), (PORTS, "1024 65535")]);
    let mut ledger = SysctlLedger::open(&file).unwrap();
    ledger.set(&mut door, LOCALNET, "1").unwrap();
    ledger.set(&mut door, PORTS, "20000 50000").unwrap();
    // A directory where the file was cannot be removed as a file.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let answer = ledger.restore_all(&mut door);
    assert!(matches!(answer, Err(LedgerError::Io { .. })), "{answer:?}");
    assert_eq!(door.read(LOCALNET).unwrap(), "0");
    assert_eq!(door.read(PORTS).unwrap(), "1024\t65535");
}

#[test]
fn nothing_is_set_that_could_not_be_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let mut door = MemorySysctls::new([(LOCALNET, "0")]);
    let mut ledger = SysctlLedger::open(&directory.path().join("absent/sysctls.json")).unwrap();
    assert!(matches!(
        ledger.set(&mut door, LOCALNET, "1"),
        Err(LedgerError::Io { .. })
    ));
    assert!(door.take_writes().is_empty());
}

#[test]
fn what_is_recorded_already_is_set_though_the_record_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sysctls.json");
    let mut door = MemorySysctls::new([(LOCALNET, "0"), (PORTS, "32768 60999")]);
    let mut ledger = SysctlLedger::open(&file).unwrap();
    ledger.set(&mut door, LOCALNET, "1").unwrap();

    // A reboot, after which the disk is full.
    let mut door = MemorySysctls::new([(LOCALNET, "0"), (PORTS, "32768 60999")]);
    let mut ledger = SysctlLedger::open(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("in the way")).unwrap();
    assert!(ledger.set(&mut door, LOCALNET, "1").unwrap());
    assert_eq!(door.read(LOCALNET).unwrap(), "1");

    for _ in 0..2 {
        let not_noted = ledger.set(&mut door, PORTS, "20000 50000");
        assert!(matches!(not_noted, Err(LedgerError::Io { .. })));
    }
    assert_eq!(ledger.names().collect::<Vec<_>>(), [LOCALNET]);
    assert_eq!(door.read(PORTS).unwrap(), "32768 60999");
    assert!(matches!(
        ledger.restore(&mut door, LOCALNET),
        Err(LedgerError::Io { .. })
    ));
    assert_eq!(ledger.names().collect::<Vec<_>>(), [LOCALNET]);
}

#[test]
fn a_corrupt_record_is_moved_aside_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sysctls.json");
    for (text, aside) in [
        ("{ \"net", "sysctls.json.corrupt"),
        ("[]", "sysctls.json.corrupt.1"),
    ] {
        fs::write(&file, text).unwrap();
        let error = SysctlLedger::open(&file).unwrap_err();
        assert!(
            matches!(&error, LedgerError::Corrupt { moved_to, .. } if moved_to.ends_with(aside)),
            "{error:?}"
        );
        assert_eq!(
            fs::read_to_string(directory.path().join(aside)).unwrap(),
            text
        );
        assert_eq!(SysctlLedger::open(&file).unwrap().names().count(), 0);
    }
}
