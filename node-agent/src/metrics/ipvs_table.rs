//! How many connections IPVS remembers, added up from the kernel's listing of real servers: nothing tells it at once.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::time::Instant;

/// Of the calling thread's network namespace (`ip_vs_info_seq_show`).
const LISTING: &str = "/proc/thread-self/net/ip_vs";
/// A sum is told for so many times as long as the listing took: at most one percent of a core goes into it.
const TOLD_FOR: u32 = 100;

/// The last sum, and until when it is told.
#[derive(Debug, Default)]
pub(super) struct TableLoad(Option<(u64, Instant)>);

impl TableLoad {
    /// Connections, active ones or not; what affinity remembers of clients is not among them.
    pub(super) fn connections(&mut self) -> io::Result<u64> {
        let start = Instant::now();
        if let Some((connections, until)) = self.0
            && start < until
        {
            return Ok(connections);
        }
        let connections = add_up(BufReader::new(File::open(LISTING)?))?;
        let end = Instant::now();
        self.0 = Some((connections, end + (end - start) * TOLD_FOR));
        Ok(connections)
    }
}

/// Lines of real servers are `-> ADDRESS FORWARD WEIGHT ACTIVE INACTIVE`.
fn add_up(listing: impl BufRead) -> io::Result<u64> {
    let mut connections = 0;
    for line in listing.lines() {
        let line = line?;
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("->") {
            let counts = words.skip(3);
            // The heading has words where the others have numbers.
            connections += counts
                .filter_map(|word| word.parse::<u64>().ok())
                .sum::<u64>();
        }
    }
    Ok(connections)
}

#[cfg(test)]
mod tests {
    use super::add_up;

    #[test]
    fn the_connections_of_all_real_servers_are_added_up() {
        let listing = "IP Virtual Server version 1.2.1 (size=4096)\n\
                       Prot LocalAddress:Port Scheduler Flags\n  \
                         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                       TCP  0A600001:0050 rr  persistent 60 FFFFFFFF\n  \
                         -> 0A010001:1F90      Masq    1      5          7         \n  \
                         -> 0A010002:1F90      Masq    0      100        0         \n\
                       UDP  [fd00:0096:0000:0000:0000:0000:0000:0001]:0035 rr \n  \
                         -> [fd00:0001:0000:0000:0000:0000:0000:0001]:0035      Masq    1      0          30        \n";
        assert_eq!(add_up(listing.as_bytes()).unwrap(), 142);
    }
}
