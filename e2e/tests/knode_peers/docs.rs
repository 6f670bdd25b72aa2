//! The document says what the lists say.

use std::fmt::Write as _;

use crate::comparable::REASONS;
use crate::differences;

const DOCUMENT: &str = include_str!("../../../docs/differences-from-kube-proxy.md");
/// After it the document is the lists, and nothing else.
const FIRST_HEADING: &str = "## Differences\n";

#[test]
fn the_document_has_every_difference_and_no_other() {
    let (_, lists) = DOCUMENT.split_once(FIRST_HEADING).unwrap();
    let expected = lists_as_text();
    // Where lines end is the document's own business.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words(lists) == words(&expected),
        "docs/differences-from-kube-proxy.md should say from {FIRST_HEADING:?} on:\n{expected}"
    );
}

#[test]
fn every_title_is_said_once() {
    let titles = differences::all().map(|one| one.title);
    let mut titles: Vec<&str> = titles.chain(REASONS.iter().map(|one| one.title)).collect();
    let all = titles.len();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), all);
}

fn lists_as_text() -> String {
    let mut text = String::new();
    for one in differences::all() {
        let modes: Vec<&str> = one.modes.iter().map(|mode| mode.name()).collect();
        let _ = write!(
            text,
            "\n### {}\n\n- kube-proxy ({}) {}\n- Sluice {}\n- Why: {}\n",
            one.title,
            modes.join(", "),
            one.kube_proxy,
            one.sluice,
            one.reason
        );
    }
    text.push_str("\n## Not compared\n");
    for one in REASONS {
        let _ = write!(text, "\n### {}\n\n{}\n", one.title, one.reason);
    }
    text
}
