//! How many CPUs the node has.

use std::fs;
use std::thread;

const ONLINE: &str = "/sys/devices/system/cpu/online";

/// CPUs of the node that are online. The agent itself may be kept to fewer, by its affinity or its container's quota (kubernetes/kubernetes#99225).
pub(crate) fn online() -> u32 {
    let told = fs::read_to_string(ONLINE).ok();
    told.and_then(|list| count(&list)).unwrap_or_else(|| {
        let usable = thread::available_parallelism().map_or(1, usize::from);
        u32::try_from(usable).unwrap_or(u32::MAX)
    })
}

/// Counts the numbers of a list as the kernel writes it, such as `0-3,8`.
fn count(list: &str) -> Option<u32> {
    list.trim().split(',').try_fold(0u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?)?.checked_add(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_counted_and_nonsense_is_not() {
        for (list, expected) in [
            ("0\n", Some(1)),
            ("0-63\n", Some(64)),
            ("0-3,8\n", Some(5)),
            ("0,2-5,7-8", Some(7)),
            ("\n", None),
            ("0-", None),
            ("3-0", None),
            ("0-4294967295", None),
        ] {
            assert_eq!(count(list), expected, "{list:?}");
        }
    }
}
