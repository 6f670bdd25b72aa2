//! What one file says.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;
use sluice_service_plan::model::ObjectName;

use super::super::{Kind, Refusal};
use super::decode::{self, Fault, Head};
use super::document::{self, Body, Chunk, Document, LineCounter, SyntaxError};
use super::locate::LocatedText;
use super::object::{Object, ObjectKey};

/// A file's content.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Objects that can be used.
    pub(super) entries: Vec<Entry>,
    /// What cannot be used.
    pub(super) refusals: Vec<Refusal>,
    /// Names in documents that cannot be used: if the file had such an object, its last good version stays.
    pub(super) refused_names: Vec<ObjectName>,
    /// A document cannot be used and has no name: it may be any object that the file had.
    pub(super) has_nameless: bool,
}

/// An object in a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: ObjectKey,
    pub(super) line: usize,
    pub(super) hash: u64,
    /// Absent when the text is known already.
    pub(super) object: Option<Object>,
}

/// Reads one file.
pub(super) struct Reader<'a> {
    file: &'a Arc<str>,
    /// The agent's node; Nodes of another name are left out.
    node: &'a str,
    /// Objects by the hash of their text, which need not be parsed again.
    known: &'a HashMap<u64, ObjectKey>,
    content: Content,
    seen: HashMap<ObjectKey, usize>,
}

/// Reads a file's text. A syntax error anywhere refuses it as a whole.
pub(super) fn read(
    file: &Arc<str>,
    text: &str,
    node: &str,
    known: &HashMap<u64, ObjectKey>,
) -> Result<Content, Refusal> {
    let mut reader = Reader {
        file,
        node,
        known,
        content: Content::default(),
        seen: HashMap::new(),
    };
    let outcome = if file.ends_with(".json") {
        reader.json(text)
    } else {
        reader.yaml(text)
    };
    outcome.map_err(|error| Refusal {
        file: Some(file.clone()),
        line: Some(error.line),
        kind: None,
        object: String::new(),
        field: String::new(),
        reason: format!(
            "{}: correct the file, until then the last good state of its objects is kept",
            error.message
        ),
    })?;
    Ok(reader.content)
}

impl Reader<'_> {
    fn json(&mut self, text: &str) -> Result<(), SyntaxError> {
        for chunk in document::json_chunks(text)? {
            if !self.is_known(chunk) {
                self.document(chunk, Body::Json(chunk.text));
            }
        }
        Ok(())
    }

    fn yaml(&mut self, text: &str) -> Result<(), SyntaxError> {
        for chunk in document::yaml_chunks(text) {
            if !self.is_known(chunk) {
                self.document(chunk, document::parse_yaml(chunk)?);
            }
        }
        Ok(())
    }

    /// Takes a document over whose text is known.
    fn is_known(&mut self, chunk: Chunk<'_>) -> bool {
        let hash = hash_of(chunk.text);
        let Some(key) = self.known.get(&hash).cloned() else {
            return false;
        };
        self.add(Entry {
            key,
            line: chunk.line,
            hash,
            object: None,
        });
        true
    }

    fn document(&mut self, chunk: Chunk<'_>, body: Body<'_>) {
        let head = decode::head(&body);
        match head.kind.strip_suffix("List") {
            Some(item_kind) => self.list(&LocatedText::new(chunk), body, &head, item_kind),
            None => self.whole(chunk, body, &head),
        }
    }

    /// Reads an object whose text is all of the chunk.
    fn whole(&mut self, chunk: Chunk<'_>, body: Body<'_>, head: &Head) {
        let document = Document {
            text: &LocatedText::new(chunk),
            path: String::new(),
            body,
        };
        self.single(&document, head, hash_of(chunk.text));
    }

    /// Reads the items of `List`, or of `ServiceList` and the like, whose items need not say what they are.
    fn list(&mut self, text: &LocatedText<'_>, body: Body<'_>, list: &Head, item_kind: &str) {
        let read = match &body {
            Body::Json(json) => self.json_list(text, json, list, item_kind),
            Body::Yaml(value) => self.yaml_list(text, value, list, item_kind),
        };
        if let Err(fault) = read {
            let path = String::new();
            self.refuse(&Document { text, path, body }, list, None, &[fault]);
            // Whatever its own name is.
            self.content.has_nameless = true;
        }
    }

    fn json_list(
        &mut self,
        text: &LocatedText<'_>,
        json: &str,
        list: &Head,
        item_kind: &str,
    ) -> Result<(), Fault> {
        let mut lines = LineCounter::new(text.as_str());
        for item in decode::json_items(json)? {
            let chunk = Chunk {
                line: text.line_of("") + lines.line_of(item.get()) - 1,
                text: item.get(),
            };
            if !self.is_known(chunk) {
                let body = Body::Json(chunk.text);
                let head = item_head(&body, list, item_kind);
                self.whole(chunk, body, &head);
            }
        }
        Ok(())
    }

    fn yaml_list(
        &mut self,
        text: &LocatedText<'_>,
        value: &Value,
        list: &Head,
        item_kind: &str,
    ) -> Result<(), Fault> {
        for (index, item) in decode::yaml_items(value)?.iter().enumerate() {
            let (hash, body) = (hash_of(item), Body::Yaml(item.clone()));
            let head = item_head(&body, list, item_kind);
            let path = format!("items[{index}]");
            self.single(&Document { text, path, body }, &head, hash);
        }
        Ok(())
    }

    fn single(&mut self, document: &Document<'_>, head: &Head, hash: u64) {
        let kind = match kind_of(head) {
            Ok(kind) => kind,
            Err(fault) => return self.refuse(document, head, None, &[fault]),
        };
        if kind == Kind::Node && !head.metadata.name.is_empty() && head.metadata.name != self.node {
            return;
        }
        match decode::object(kind, &document.body) {
            Ok(object) => {
                let line = document.line_of("");
                self.add(Entry {
                    key: object.key(),
                    line,
                    hash,
                    object: Some(object),
                });
            }
            Err(faults) => self.refuse(document, head, Some(kind), &faults),
        }
    }

    fn add(&mut self, entry: Entry) {
        if let Some(first) = self.seen.get(&entry.key) {
            self.content.refusals.push(Refusal {
                file: Some(self.file.clone()),
                line: Some(entry.line),
                kind: Some(entry.key.kind),
                object: entry.key.display_name(),
                field: String::new(),
                reason: format!("it is in this file already, on line {first}, which counts: remove one of the two"),
            });
            return;
        }
        self.seen.insert(entry.key.clone(), entry.line);
        self.content.entries.push(entry);
    }

    fn refuse(
        &mut self,
        document: &Document<'_>,
        head: &Head,
        kind: Option<Kind>,
        faults: &[Fault],
    ) {
        let name = head.metadata.name.as_str();
        let namespace = if head.metadata.namespace.is_empty() {
            "default"
        } else {
            &head.metadata.namespace
        };
        let is_namespaced = kind.is_none_or(Kind::is_namespaced);
        if name.is_empty() {
            self.content.has_nameless = true;
        } else {
            self.content.refused_names.push(ObjectName::new(
                if is_namespaced { namespace } else { "" },
                name,
            ));
        }
        for fault in faults {
            self.content.refusals.push(Refusal {
                file: Some(self.file.clone()),
                line: Some(document.line_of(&fault.field)),
                kind,
                object: if is_namespaced && !name.is_empty() {
                    format!("{namespace}/{name}")
                } else {
                    name.to_owned()
                },
                field: fault.field.clone(),
                reason: fault.reason.clone(),
            });
        }
    }
}

/// What an item of a list says that it is, or what the list says of its items.
fn item_head(body: &Body<'_>, list: &Head, item_kind: &str) -> Head {
    let mut head = decode::head(body);
    if head.kind.is_empty() && !item_kind.is_empty() {
        item_kind.clone_into(&mut head.kind);
        head.api_version.clone_from(&list.api_version);
    }
    head
}

fn kind_of(head: &Head) -> Result<Kind, Fault> {
    let fault = |field: &str, reason: String| {
        Err(Fault {
            field: field.to_owned(),
            reason,
        })
    };
    if head.kind.is_empty() {
        return fault("kind", "it is missing: add it".to_owned());
    }
    let Some(kind) = Kind::OF_MANIFESTS
        .into_iter()
        .find(|kind| kind.as_str() == head.kind)
    else {
        let known = Kind::OF_MANIFESTS.map(Kind::as_str).join(", ");
        return fault(
            "kind",
            format!(
                "{:?} is not read by the agent, which reads {known} and lists of them: correct it, or move it elsewhere",
                head.kind
            ),
        );
    };
    if head.api_version != kind.api_version() {
        return fault(
            "apiVersion",
            format!(
                "{:?} is not the version that is read: write {}",
                head.api_version,
                kind.api_version()
            ),
        );
    }
    Ok(kind)
}

/// The hash by which texts are compared.
pub(super) fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
