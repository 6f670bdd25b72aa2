//! How fast this machine is: loads and waits of tests are written for one that is not emulated.

use std::time::Duration;

/// How many times slower things go here: the variable `SLUICE_PACE`, which the VM lab sets in an emulated guest; else 1.
pub fn pace() -> u32 {
    let told = std::env::var("SLUICE_PACE").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// A rate that this machine manages as easily as another manages `per_second`.
pub fn rate(per_second: u32) -> u32 {
    (per_second / pace()).max(1)
}

/// How long an answer may take that nothing delays, on a busy machine. A lost SYN is sent again meanwhile:
/// [`LoadReport::syn_retransmits`](super::load::LoadReport::syn_retransmits) tells of those.
pub fn patience() -> Duration {
    stretched(Duration::from_secs(5))
}

/// A time in which as much happens here as elsewhere in `time`.
pub fn stretched(time: Duration) -> Duration {
    time * pace()
}
