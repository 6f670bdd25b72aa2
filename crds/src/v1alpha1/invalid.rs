//! What is wrong with a value of the right type.

use std::fmt;

/// One thing to change in a policy before it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field, such as `spec.endpointWeights[1].weight`.
    pub field: String,
    /// What is wrong with it and what to change.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Collects what is wrong while it walks down the fields.
pub(super) struct Checker {
    path: String,
    found: Vec<Invalid>,
}

impl Checker {
    pub(super) fn new(root: &str) -> Self {
        Self {
            path: root.to_owned(),
            found: Vec::new(),
        }
    }

    /// Runs `check` with the path extended by `.name`.
    pub(super) fn field(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        self.step(&format!(".{name}"), check);
    }

    /// Runs `check` for each item, with the path extended by `.name[index]`.
    pub(super) fn items<T>(
        &mut self,
        name: &str,
        items: &[T],
        mut check: impl FnMut(&mut Self, &T),
    ) {
        for (index, item) in items.iter().enumerate() {
            self.step(&format!(".{name}[{index}]"), |c| check(c, item));
        }
    }

    /// Notes that the field at hand is wrong.
    pub(super) fn wrong(&mut self, message: impl Into<String>) {
        self.found.push(Invalid {
            field: self.path.clone(),
            message: message.into(),
        });
    }

    /// Notes that the field at hand is wrong unless `value` is inside `range`.
    pub(super) fn within(&mut self, value: u32, range: std::ops::RangeInclusive<u32>) {
        if !range.contains(&value) {
            self.wrong(format!(
                "{value} is not between {} and {}",
                range.start(),
                range.end()
            ));
        }
    }

    /// Notes each item that stands in the list a second time.
    pub(super) fn no_duplicates<T: PartialEq + fmt::Display>(&mut self, name: &str, items: &[T]) {
        let mut index = 0;
        self.items(name, items, |c, item| {
            if items[..index].contains(item) {
                c.wrong(format!("{item} is in the list already: remove one"));
            }
            index += 1;
        });
    }

    /// Notes each row whose name another row before it has.
    pub(super) fn unique_names<T>(&mut self, list: &str, rows: &[T], name: impl Fn(&T) -> &str) {
        let mut index = 0;
        self.items(list, rows, |c, row| {
            if rows[..index]
                .iter()
                .any(|earlier| name(earlier) == name(row))
            {
                c.field("name", |c| {
                    c.wrong(format!("{} is in the list already: remove one", name(row)));
                });
            }
            index += 1;
        });
    }

    /// Of a list in which the first match counts: notes the first row that matches everything, unless it is the last one.
    pub(super) fn catch_all_last<T>(
        &mut self,
        name: &str,
        rows: &[T],
        matches_all: impl Fn(&T) -> bool,
        message: &str,
    ) {
        match rows.iter().position(matches_all) {
            Some(all) if all + 1 < rows.len() => {
                self.step(&format!(".{name}[{all}]"), |c| c.wrong(message));
            }
            _ => {}
        }
    }

    pub(super) fn into_found(self) -> Vec<Invalid> {
        self.found
    }

    fn step(&mut self, part: &str, check: impl FnOnce(&mut Self)) {
        let len = self.path.len();
        self.path.push_str(part);
        check(self);
        self.path.truncate(len);
    }
}
