//! SYNs that a host sent again: what is lost shows there, however slow the machine is.

use std::fs::File;
use std::io::{self, Read, Seek};

use super::{LabError, Namespace};

/// Of the thread that opens it; an open file stays with its namespace.
const TABLE: &str = "/proc/thread-self/net/netstat";

/// Counts the SYNs that a host sends again from now on (`TCPSynRetrans` of its network namespace).
#[derive(Debug)]
pub(super) struct LostSyns {
    namespace: String,
    table: File,
    before: u64,
}

impl LostSyns {
    pub(super) fn of(namespace: &Namespace) -> Result<Self, LabError> {
        let opened = namespace.run(|| {
            let mut table = File::open(TABLE)?;
            let before = retransmitted(&mut table)?;
            Ok((table, before))
        })?;
        let namespace = namespace.name().to_owned();
        match opened {
            Ok((table, before)) => Ok(Self {
                namespace,
                table,
                before,
            }),
            Err(source) => Err(LabError::Counters { namespace, source }),
        }
    }

    pub(super) fn count(&mut self) -> Result<u64, LabError> {
        let after = retransmitted(&mut self.table).map_err(|source| LabError::Counters {
            namespace: self.namespace.clone(),
            source,
        })?;
        Ok(after - self.before)
    }
}

fn retransmitted(table: &mut File) -> io::Result<u64> {
    let mut text = String::new();
    table.rewind()?;
    table.read_to_string(&mut text)?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next().unwrap_or_default().split(' ');
    let values = lines.next().unwrap_or_default().split(' ');
    let mut named = names.zip(values);
    let value = named.find(|(name, _)| *name == "TCPSynRetrans");
    value
        .and_then(|(_, number)| number.parse().ok())
        .ok_or_else(|| io::Error::other(format!("there is no TCPSynRetrans in {TABLE}")))
}
