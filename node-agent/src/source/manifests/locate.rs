//! The line of a field, looked for only when there is something to say about it.

use std::cell::OnceCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::document::{Chunk, yaml_options};

/// A document's text, which is looked through once somebody asks for a place in it.
#[derive(Debug)]
pub(super) struct LocatedText<'a> {
    chunk: Chunk<'a>,
    shape: OnceCell<Option<Spanned<Node>>>,
}

impl<'a> LocatedText<'a> {
    pub(super) fn new(chunk: Chunk<'a>) -> Self {
        Self {
            chunk,
            shape: OnceCell::new(),
        }
    }

    /// The text.
    pub(super) fn as_str(&self) -> &'a str {
        self.chunk.text
    }

    /// Line in the file of the field `path` (`spec.ports[0].port`), or of the nearest field above it that is there.
    pub(super) fn line_of(&self, path: &str) -> usize {
        if path.is_empty() {
            return self.chunk.line;
        }
        let Some((mut node, mut rest)) = self.shape().and_then(|root| root.value.child(path))
        else {
            return self.chunk.line;
        };
        while let Some((child, after)) = node.value.child(rest) {
            (node, rest) = (child, after);
        }
        let line = usize::try_from(node.referenced.line()).unwrap_or(1);
        self.chunk.line + line.saturating_sub(1)
    }

    fn shape(&self) -> Option<&Spanned<Node>> {
        let parse = || serde_saphyr::from_str_with_options(self.chunk.text, yaml_options()).ok();
        self.shape.get_or_init(parse).as_ref()
    }
}

/// The shape of a document, with the places of its parts.
#[derive(Debug)]
enum Node {
    Leaf,
    List(Vec<Spanned<Self>>),
    Map(Vec<(String, Spanned<Self>)>),
}

impl Node {
    /// The child that a path starts with, and the path below it. Keys may have dots in them, so the longest one that fits is meant.
    fn child<'n, 'p>(&'n self, path: &'p str) -> Option<(&'n Spanned<Self>, &'p str)> {
        match self {
            Self::Leaf => None,
            Self::List(items) => {
                let (index, after) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, after))
            }
            Self::Map(entries) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                let below = |key: &str| {
                    path.strip_prefix(key)
                        .filter(|after| after.is_empty() || after.starts_with(['.', '[']))
                };
                let fitting = entries
                    .iter()
                    .filter_map(|(key, node)| below(key).map(|after| (key.len(), node, after)));
                fitting
                    .max_by_key(|(len, ..)| *len)
                    .map(|(_, node, after)| (node, after))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_field_or_of_what_is_nearest_above_it() {
        let yaml = "# a comment\nmetadata:\n  labels:\n    a.b/c: x\n    a: y\nspec:\n  ports:\n  - name: a\n    port: 1\n  - port: 2\n";
        let json = "{\"spec\": {\n \"ports\": [\n  {\"port\": 1},\n  {\n   \"port\": 2}]}}";
        let rows = [
            (yaml, "", 11),
            (yaml, "metadata.labels.a.b/c", 14),
            (yaml, "metadata.labels.a", 15),
            (yaml, "spec.ports[0].port", 19),
            (yaml, "spec.ports[1].port", 20),
            (yaml, "spec.ports[1].protocol", 20),
            (yaml, "status.x", 11),
            (json, "spec.ports[1].port", 15),
            ("a: [", "a", 11),
        ];
        for (text, path, expected) in rows {
            let text = LocatedText::new(Chunk { line: 11, text });
            assert_eq!(text.line_of(path), expected, "{path}");
        }
    }
}
