//! What is shipped is one file that needs nothing of the node.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

use std::fs;

const MAX_BYTES: usize = 5 * 1024 * 1024;
/// `PT_INTERP`: the program that loads this one with its libraries.
const INTERPRETER: u32 = 3;

/// Types of the program headers of a 64-bit little-endian ELF file.
fn program_headers(file: &[u8]) -> Vec<u32> {
    assert_eq!(file[..6], *b"\x7fELF\x02\x01");
    let number = |at: usize, bytes: usize| {
        let mut whole = [0; 8];
        whole[..bytes].copy_from_slice(&file[at..at + bytes]);
        usize::try_from(u64::from_le_bytes(whole)).unwrap()
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count)
        .map(|n| u32::try_from(number(start + n * size, 4)).unwrap())
        .collect()
}

#[test]
fn the_shipped_file_has_no_interpreter_and_is_small() {
    let Some(path) = std::env::var_os("SLUICE_CNI") else {
        eprintln!("SKIP: SLUICE_CNI does not name the file that `make cni` builds");
        return;
    };
    let file = fs::read(path).unwrap();
    assert!(!program_headers(&file).contains(&INTERPRETER));
    assert!(file.len() <= MAX_BYTES, "{} bytes", file.len());
    // The test itself is not such a file, so the check tells the difference.
    let own = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(program_headers(&own).contains(&INTERPRETER));
}
