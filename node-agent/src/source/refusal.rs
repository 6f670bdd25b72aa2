//! What could not be used, and why.

use std::fmt;
use std::sync::Arc;

use super::Kind;

/// One thing in a source that is not used: a field, an object or a whole file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refusal {
    /// File name inside the manifest directory; absent when it comes from elsewhere.
    pub file: Option<Arc<str>>,
    /// Line in that file, from 1; absent when the whole file cannot be read.
    pub line: Option<usize>,
    /// Kind of the object, when it is known and one that the agent reads.
    pub kind: Option<Kind>,
    /// The object as people write it: `namespace/name`, or `name` where its kind has no namespaces. Empty when not known.
    pub object: String,
    /// Path of the field, such as `spec.ports[0].port`; empty for the object as a whole.
    pub field: String,
    /// What is wrong and what to do.
    pub reason: String,
}

impl Refusal {
    /// The kind as a metric label.
    pub fn kind_label(&self) -> &'static str {
        self.kind.map_or("unknown", Kind::as_str)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        match (self.kind, self.object.as_str()) {
            (Some(kind), "") => write!(f, "{kind}: ")?,
            (Some(kind), object) => write!(f, "{kind} {object}: ")?,
            (None, _) => {}
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}
