//! Tries what data planes need, in a network namespace made for it, so that nothing is left on the node.

mod ipv6;
mod ipvs;
mod trial;

use std::io;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use sluice_kernel::address_set::{AddressSets, IpsetNetlink, SetKind, SetSpec};
use sluice_kernel::conntrack::ConntrackNetlink;
use sluice_kernel::iptables::{Family, Iptables, IptablesPrograms, Variant, try_variant};
use sluice_kernel::sysctl::{ProcSysctls, Sysctls};

use crate::family::family_words;

pub(crate) use ipv6::served_families;
pub(crate) use ipvs::{IpvsTrials, ipvs};
pub(crate) use trial::{IptablesTrial, SysctlTrial, Trial};

/// Every extension that our rules use, but for those that need a set.
const SAMPLE: &str = "\
*nat
-A POSTROUTING -m mark --mark 0x4000/0x4000 -m comment --comment trial -j MASQUERADE --random-fully
-A PREROUTING -m addrtype --dst-type LOCAL -p tcp -m tcp --dport 1 -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x4000/0x4000
COMMIT
*filter
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -p tcp -j REJECT --reject-with tcp-reset
-A FORWARD -j REJECT
COMMIT
";

const TRIAL_SET: &str = "SLUICE-TRIAL";
const SET_MATCH: &str =
    "*filter\n-A FORWARD -m set --match-set SLUICE-TRIAL dst -j ACCEPT\nCOMMIT\n";

/// Both variants for both families.
pub(crate) fn iptables() -> Vec<IptablesTrial> {
    let mut reports = Vec::new();
    for variant in [Variant::Legacy, Variant::Nft] {
        for family in [Family::V4, Family::V6] {
            let tried = try_variant(variant, family, SAMPLE);
            let name = format!("iptables {variant} for {}", family_words(family));
            reports.push(IptablesTrial {
                variant: variant.to_string(),
                family: family_words(family),
                trial: trial(name, tried),
            });
        }
    }
    reports
}

/// Every type of address set.
pub(crate) fn address_sets() -> Vec<Trial> {
    let tried = in_trial_namespace(|| {
        let mut sets = IpsetNetlink::open()?;
        Ok(SetKind::ALL.map(|kind| {
            let spec = SetSpec {
                name: TRIAL_SET.to_owned(),
                kind,
                family: Family::V4,
                max_entries: 16,
                expected_entries: 16,
                timeout_seconds: None,
                marks: false,
            };
            let made = sets.create(&spec).and_then(|()| sets.destroy(&spec.name));
            trial(format!("address set {kind}"), made)
        }))
    });
    match tried {
        Ok(Ok(trials)) => trials.to_vec(),
        Ok(Err(error)) => vec![trial::<(), sluice_kernel::address_set::AddressSetError>(
            "address sets".to_owned(),
            Err(error),
        )],
        Err(error) => vec![trial::<(), io::Error>(
            "address sets".to_owned(),
            Err(error),
        )],
    }
}

/// The match by which rules of every mode ask address sets.
pub(crate) fn set_match(variant: Variant) -> Trial {
    let spec = SetSpec {
        name: TRIAL_SET.to_owned(),
        kind: SetKind::HashIp,
        family: Family::V4,
        max_entries: 16,
        expected_entries: 16,
        timeout_seconds: None,
        marks: false,
    };
    let name = format!("iptables {variant} match set");
    trial(name, rules_by_set(variant, &spec, SET_MATCH))
}

/// A set, and rules that name it.
fn rules_by_set(variant: Variant, spec: &SetSpec, rules: &str) -> Result<(), String> {
    let tried = in_trial_namespace(|| {
        let made = IpsetNetlink::open().and_then(|mut sets| sets.create(spec));
        made.map_err(|error| error.to_string())?;
        let ruled = IptablesPrograms::open(variant)
            .and_then(|mut programs| programs.restore(Family::V4, rules));
        ruled.map_err(|error| error.to_string())
    });
    tried.unwrap_or_else(|error| Err(error.to_string()))
}

/// Connection tracking.
pub(crate) fn conntrack() -> Trial {
    let name = "connection tracking".to_owned();
    match ConntrackNetlink::open().and_then(|mut door| door.statistics()) {
        Ok(now) => {
            let most = now
                .max_entries
                .map(|max| format!(" of {max}"))
                .unwrap_or_default();
            Trial {
                name,
                works: true,
                remark: Some(format!("{}{most} entries", now.entries)),
            }
        }
        Err(error) => trial::<(), _>(name, Err(error)),
    }
}

/// A sysctl that is asked for. Nothing is written: whether it can be is read from the file's permissions.
pub(crate) fn sysctl(proc_sys: &Path, name: String, wanted: String) -> SysctlTrial {
    match ProcSysctls::below(proc_sys).read(&name) {
        Ok(present) => {
            let same = present.split_whitespace().eq(wanted.split_whitespace());
            let works = same || is_writable(proc_sys, &name);
            let remark = (!works).then(|| "cannot be written here".to_owned());
            SysctlTrial {
                name,
                wanted,
                present: Some(present),
                works,
                remark,
            }
        }
        Err(error) => SysctlTrial {
            name,
            wanted,
            present: None,
            works: false,
            remark: Some(error.to_string()),
        },
    }
}

fn is_writable(proc_sys: &Path, name: &str) -> bool {
    // A slash stands for a dot inside a part, as sysctl(8) has it.
    let path: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    std::fs::OpenOptions::new()
        .write(true)
        .open(proc_sys.join(path))
        .is_ok()
}

fn trial<T, E: std::fmt::Display>(name: String, result: Result<T, E>) -> Trial {
    Trial {
        name,
        works: result.is_ok(),
        remark: result.err().map(|error| error.to_string()),
    }
}

/// Namespaces are a thread's own, and this one ends with the thread.
fn in_trial_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the trial ended early")))
    })
}
