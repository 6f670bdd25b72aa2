//! What is different between what the kernel holds and what it should hold.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::snapshot::{Object, Snapshot};

/// Lines as diff(1) marks them: `-` the kernel holds and should not, `+` it should hold and does not. Empty when there is no difference.
pub(super) fn difference(kernel: &Snapshot, wanted: &Snapshot) -> Vec<String> {
    let names: BTreeSet<&Object> = kernel
        .objects()
        .keys()
        .chain(wanted.objects().keys())
        .collect();
    let mut lines = Vec::new();
    for name in names {
        let (is, should) = (kernel.objects().get(name), wanted.objects().get(name));
        if is == should {
            continue;
        }
        lines.push(format!("@@ {name} @@{}", remark(is, should)));
        let none = Vec::new();
        let (is, should) = (is.unwrap_or(&none), should.unwrap_or(&none));
        let (gone, new) = (surplus(is, should), surplus(should, is));
        if gone.is_empty() && new.is_empty() && !is.is_empty() {
            lines.push("! the same lines in another order".to_owned());
        }
        lines.extend(gone.iter().map(|line| format!("-{line}")));
        lines.extend(new.iter().map(|line| format!("+{line}")));
    }
    lines
}

fn remark(is: Option<&Vec<String>>, should: Option<&Vec<String>>) -> &'static str {
    match (is, should) {
        (None, _) => " is not in the kernel",
        (_, None) => " is in the kernel only",
        _ => "",
    }
}

/// Lines of `one` that `other` has not, or not as often.
fn surplus<'a>(one: &'a [String], other: &[String]) -> Vec<&'a String> {
    let mut left: BTreeMap<&String, usize> = BTreeMap::new();
    for line in other {
        *left.entry(line).or_default() += 1;
    }
    one.iter()
        .filter(|line| match left.get_mut(line) {
            Some(count @ 1..) => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .collect()
}
