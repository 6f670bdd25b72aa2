//! The documents of a file.

use serde_json::Value;
use serde_json::value::RawValue;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

use super::locate::LocatedText;

/// One document, or one item of a list.
#[derive(Debug)]
pub(super) struct Document<'a> {
    /// The text that it stands in.
    pub(super) text: &'a LocatedText<'a>,
    /// Where in the text it stands: empty, or `items[3]`.
    pub(super) path: String,
    /// The document.
    pub(super) body: Body<'a>,
}

impl Document<'_> {
    /// The line of one of its fields in the file; of the document itself for the empty path.
    pub(super) fn line_of(&self, field: &str) -> usize {
        let parts = [self.path.as_str(), field];
        let path: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        self.text.line_of(&path.join("."))
    }
}

/// A document, parsed as far as needed to know that it can be.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// JSON text.
    Json(&'a str),
    /// What YAML text says.
    Yaml(Value),
}

/// A text that is neither YAML nor JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Line in the file, from 1.
    pub(super) line: usize,
    /// What the parser says.
    pub(super) message: String,
}

/// Part of a file between two document marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// Its first line in the file, from 1.
    pub(super) line: usize,
    /// Its text.
    pub(super) text: &'a str,
}

/// Splits YAML at `---` lines (these cannot be part of a scalar: YAML 1.2.2, 9.1.2), without parts that hold comments only.
pub(super) fn yaml_chunks(text: &str) -> Vec<Chunk<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut chunks = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_mark(line) {
            push_chunk(&mut chunks, first_line, &text[start..offset]);
            (start, first_line) = (offset, index + 1);
        }
        offset += line.len();
    }
    push_chunk(&mut chunks, first_line, &text[start..]);
    chunks
}

/// Keeps a part without the lines around it that say nothing.
fn push_chunk<'a>(chunks: &mut Vec<Chunk<'a>>, mut line: usize, mut text: &'a str) {
    let says_nothing = |line: &str| {
        let line = line.trim();
        line.is_empty() || line == "---" || line.starts_with(['#', '%'])
    };
    while let Some(first) = text
        .split_inclusive('\n')
        .next()
        .filter(|first| says_nothing(first))
    {
        text = &text[first.len()..];
        line += 1;
    }
    while let Some(last) = text
        .split_inclusive('\n')
        .next_back()
        .filter(|last| is_outer_comment(last))
    {
        text = &text[..text.len() - last.len()];
    }
    if !text.is_empty() {
        chunks.push(Chunk {
            line,
            text: text.trim_end(),
        });
    }
}

/// An indented one may be text of a block scalar.
fn is_outer_comment(line: &str) -> bool {
    line.starts_with('#') || line.trim().is_empty()
}

fn is_mark(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Splits a text of JSON values that follow each other.
pub(super) fn json_chunks(text: &str) -> Result<Vec<Chunk<'_>>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = LineCounter::new(text);
    let mut chunks = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| SyntaxError {
            line: error.line(),
            message: json_message(&error),
        })?;
        chunks.push(Chunk {
            line: lines.line_of(value.get()),
            text: value.get(),
        });
    }
    Ok(chunks)
}

/// Parses a part of a YAML file. JSON is YAML too, and parsed much faster as such.
pub(super) fn parse_yaml(chunk: Chunk<'_>) -> Result<Body<'_>, SyntaxError> {
    let json = chunk
        .text
        .strip_prefix("---")
        .unwrap_or(chunk.text)
        .trim_start();
    if json.starts_with('{')
        && let Ok(raw) = serde_json::from_str::<&RawValue>(json)
    {
        return Ok(Body::Json(raw.get()));
    }
    let value = serde_saphyr::from_str_with_options(chunk.text, yaml_options());
    value.map(Body::Yaml).map_err(|error| SyntaxError {
        line: chunk.line
            + error.location().map_or(0, |at| {
                usize::try_from(at.line()).unwrap_or(1).saturating_sub(1)
            }),
        message: yaml_message(&error),
    })
}

/// A list of all services of a large cluster is one document: only depth and aliases stay limited.
pub(super) fn yaml_options() -> serde_saphyr::Options {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_events = usize::MAX;
    budget.max_nodes = usize::MAX;
    budget.max_total_scalar_bytes = usize::MAX;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    // `y` and `on` are words, as in YAML 1.2.
    options.strict_booleans = true;
    options
}

/// The message without the place, which the refusal tells in its own way.
fn yaml_message(error: &serde_saphyr::Error) -> String {
    UserMessageFormatter
        .format_message(error.without_snippet())
        .into_owned()
}

/// The message without the place.
pub(super) fn json_message(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message
        .strip_suffix(&place)
        .map(str::to_owned)
        .unwrap_or(message)
}

/// Finds the lines of parts of a text that are asked for in their order.
pub(super) struct LineCounter<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl<'a> LineCounter<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            line: 1,
        }
    }

    /// The line on which `part`, a part of the text, starts.
    pub(super) fn line_of(&mut self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        if let Some(between) = self.text.get(self.offset..offset) {
            self.line += between.matches('\n').count();
            self.offset = offset;
        }
        self.line
    }
}
