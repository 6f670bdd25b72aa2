//! Both comparisons.

use std::fmt::Write as _;

use serde::Serialize;

use super::kernel::Kernel;
use super::told::Told;
use crate::style::Style;

/// The answer of `diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiffReport {
    /// The node.
    pub(super) node: String,
    /// By the API server: what the node was told, and what its agent says.
    pub(super) told: Vec<Told>,
    /// By the node's kernel; absent where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<Kernel>,
}

impl DiffReport {
    /// Everything that was asked for could be compared.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.kernel, Some(Kernel::Unknown { .. }))
    }

    pub(super) fn differs(&self) -> bool {
        self.told.iter().any(|row| !row.same)
            || matches!(self.kernel, Some(Kernel::Different { .. }))
    }

    pub(super) fn text(&self, style: Style) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            text,
            "{}",
            style.title(&format!(
                "{}: what it was told, and what its agent says",
                self.node
            ))
        );
        for Told {
            what,
            wanted,
            said,
            same,
        } in &self.told
        {
            let _ = if *same {
                writeln!(text, "  {} {what}: {said}", style.good("same   "))
            } else {
                writeln!(
                    text,
                    "  {} {what}: {wanted} is wanted; {said}",
                    style.bad("differs")
                )
            };
        }
        let Some(kernel) = &self.kernel else {
            return text;
        };
        let _ = writeln!(text, "{}", style.title("What its kernel holds"));
        let _ = match kernel {
            Kernel::Same => writeln!(
                text,
                "  {} what is wanted, line by line",
                style.good("same   ")
            ),
            Kernel::Unknown { message } => writeln!(text, "  {} {message}", style.bad("unknown")),
            Kernel::Different { lines } => {
                let _ = writeln!(
                    text,
                    "  {} (- it holds and should not, + it should hold and does not; a change that is under way shows too)",
                    style.bad("differs")
                );
                lines.iter().try_for_each(|line| writeln!(text, "  {line}"))
            }
        };
        text
    }
}
