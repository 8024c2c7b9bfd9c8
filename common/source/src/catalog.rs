//! All files' documents → objects, as batches of changes. Pure: file contents are handed in.
//! A document that stops being good keeps its last good version and leaves a problem. A file that
//! is empty or cut off removes nothing until it parses. Of two documents of one object the first
//! file by name wins.

use crate::document::{self, Document};
use crate::merge::merge;
use ambit_crds::{Code, FieldError, Kind, Object, ObjectKey, ObjectRef, Severity, validate};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Annotation of an object that a writer generated, with the writer's name as its value.
pub const GENERATED_BY: &str = "ambit.io/generated-by";

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// New or different.
    Upsert(Arc<Object>),
    /// Gone.
    Delete(ObjectKey),
}

/// Something wrong with a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Which file.
    pub file: PathBuf,
    /// Place in the file, from 1.
    pub document: usize,
    /// What is wrong with which field of which object.
    pub error: FieldError,
}

/// What changed, and all that is wrong now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Changes since the batch before; the first batch holds everything.
    pub changes: Vec<Change>,
    /// All problems there are, old and new.
    pub problems: Vec<Problem>,
}

#[derive(Debug, Default)]
struct File {
    documents: Vec<Document>,
    /// Objects that an earlier content of this file defined and the present one may only seem to lack.
    kept: BTreeMap<ObjectKey, Value>,
}

/// Everything known of a directory.
#[derive(Debug, Default)]
pub struct Catalog {
    files: BTreeMap<PathBuf, File>,
    /// Object → writer → patch or generated object.
    statuses: BTreeMap<ObjectKey, BTreeMap<String, Value>>,
    /// Last user value of each object that was good.
    good: BTreeMap<ObjectKey, Value>,
    published: BTreeMap<ObjectKey, Arc<Object>>,
    reported: Vec<Problem>,
}

impl Catalog {
    /// Forgets all files and statuses, to read them again, but not what was published: the next
    /// batch is the difference.
    pub fn forget_files(&mut self) {
        self.files.clear();
        self.statuses.clear();
    }

    /// Forgets a directory of statuses that is gone, with all below it.
    pub fn remove_writer(&mut self, writer: &str, keep: impl Fn(&ObjectKey) -> bool) {
        for (key, patches) in &mut self.statuses {
            if !keep(key) {
                patches.remove(writer);
            }
        }
        self.statuses.retain(|_, patches| !patches.is_empty());
    }

    /// Takes the content of a user's file; `None` when it is gone.
    pub fn set_file(&mut self, path: &Path, content: Option<&[u8]>) {
        let Some(bytes) = content else {
            self.files.remove(path);
            return;
        };
        let documents = document::parse(bytes);
        let file = self.files.entry(path.to_owned()).or_default();
        // A document cut off in its middle may still be YAML, but names no object.
        let whole = |d: &Document| d.content.as_ref().is_ok_and(|v| key_of(v).is_some());
        let torn = documents.is_empty() || !documents.iter().all(whole);
        let mut kept = std::mem::take(&mut file.kept);
        if torn {
            for value in file.documents.iter().filter_map(|d| d.content.as_ref().ok()) {
                if let Some(key) = key_of(value) {
                    kept.insert(key, value.clone());
                }
            }
            for value in documents.iter().filter_map(|d| d.content.as_ref().ok()) {
                if let Some(key) = key_of(value) {
                    kept.remove(&key);
                }
            }
        } else {
            kept.clear();
        }
        *file = File { documents, kept };
    }

    /// Takes a file below `.status/<writer>/`; `None` when it is gone. A file that does not parse
    /// changes nothing: writers rename, so it is not ours.
    pub fn set_status(&mut self, writer: &str, key: &ObjectKey, content: Option<&[u8]>) {
        let value = match content {
            None => None,
            Some(bytes) => match document::parse(bytes).into_iter().next() {
                Some(Document { content: Ok(value), .. }) => Some(value),
                _ => return,
            },
        };
        let patches = self.statuses.entry(key.clone()).or_default();
        match value {
            Some(value) => patches.insert(writer.to_owned(), value),
            None => patches.remove(writer),
        };
        if patches.is_empty() {
            self.statuses.remove(key);
        }
    }

    /// What changed since the last call; `None` when nothing did.
    pub fn changed(&mut self) -> Option<Batch> {
        let before = std::mem::take(&mut self.reported);
        let batch = self.batch();
        (!batch.changes.is_empty() || batch.problems != before).then_some(batch)
    }

    /// All changes since the last call, perhaps none, and all problems.
    pub fn batch(&mut self) -> Batch {
        let mut problems = Vec::new();
        let values = self.user_values(&mut problems);
        self.good.retain(|key, _| values.contains_key(key));
        let mut now: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
        for (key, (value, file, document)) in values {
            match check(&value) {
                Ok(warnings) => {
                    problems.extend(warnings.into_iter().map(|e| problem(&file, document, e)));
                    self.good.insert(key.clone(), value);
                }
                Err(errors) => {
                    problems.extend(errors.into_iter().map(|e| problem(&file, document, e)));
                }
            }
            if let Some(object) = self.good.get(&key).and_then(|v| self.merged(&key, v)) {
                now.insert(key, object);
            }
        }
        for (key, patches) in &self.statuses {
            let generated = patches.values().find(|v| is_generated(v));
            if let Some(value) = generated
                && !now.contains_key(key)
                && let Some(object) = self.merged(key, value)
            {
                now.insert(key.clone(), object);
            }
        }
        let changes = self.publish(now);
        self.reported.clone_from(&problems);
        Batch { changes, problems }
    }

    /// Winning value of each object the user defines, with its place.
    fn user_values(
        &self,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<ObjectKey, (Value, PathBuf, usize)> {
        let mut values: BTreeMap<ObjectKey, (Value, PathBuf, usize)> = BTreeMap::new();
        for (path, file) in &self.files {
            for d in &file.documents {
                let value = match &d.content {
                    Ok(value) => value,
                    Err(reason) => {
                        problems.push(problem(path, d.index, unreadable(reason)));
                        continue;
                    }
                };
                let Some(key) = key_of(value) else {
                    let errors = check(value).err().unwrap_or_default();
                    problems.extend(errors.into_iter().map(|e| problem(path, d.index, e)));
                    continue;
                };
                if let Some((_, first, _)) = values.get(&key) {
                    problems.push(problem(path, d.index, duplicate(&key, first)));
                    continue;
                }
                values.insert(key, (value.clone(), path.clone(), d.index));
            }
            for (key, value) in &file.kept {
                let place = || (value.clone(), path.clone(), 1);
                values.entry(key.clone()).or_insert_with(place);
            }
        }
        values
    }

    fn merged(&self, key: &ObjectKey, value: &Value) -> Option<Arc<Object>> {
        let patches = self.statuses.get(key).into_iter().flat_map(BTreeMap::values);
        let merged = merge(value, patches);
        // A patch of another version may not fit; the object itself does.
        let object = Object::parse(merged).or_else(|_| Object::parse(value.clone()));
        object.ok().map(Arc::new)
    }

    fn publish(&mut self, now: BTreeMap<ObjectKey, Arc<Object>>) -> Vec<Change> {
        let gone: BTreeSet<_> = self.published.keys().filter(|k| !now.contains_key(k)).collect();
        let mut changes: Vec<_> = gone.into_iter().cloned().map(Change::Delete).collect();
        for (key, object) in &now {
            if self.published.get(key).is_none_or(|old| old != object) {
                changes.push(Change::Upsert(object.clone()));
            }
        }
        self.published = now;
        changes
    }
}

/// Identity a document claims, however wrong the rest is.
fn key_of(value: &Value) -> Option<ObjectKey> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let (group, _) = text("/apiVersion")?.split_once('/').unwrap_or_default();
    let kind = Kind::of(group, text("/kind")?);
    let name = text("/metadata/name").filter(|n| !n.is_empty())?;
    Some(ObjectKey::new(
        kind,
        text("/metadata/namespace").unwrap_or("default"),
        name,
    ))
}

fn is_generated(value: &Value) -> bool {
    let annotations = value.pointer("/metadata/annotations");
    annotations.is_some_and(|a| a.get(GENERATED_BY).is_some())
}

/// Warnings of a good document, or the errors of a bad one.
fn check(value: &Value) -> Result<Vec<FieldError>, Vec<FieldError>> {
    let object = Object::parse(value.clone())?;
    let found = validate(&object);
    if found.iter().any(|e| e.severity == Severity::Error) {
        return Err(found);
    }
    Ok(found)
}

fn problem(file: &Path, document: usize, error: FieldError) -> Problem {
    Problem {
        file: file.to_owned(),
        document,
        error,
    }
}

fn unreadable(reason: &str) -> FieldError {
    FieldError {
        object: ObjectRef::default(),
        path: String::new(),
        reason: reason.to_owned(),
        code: Code::Document,
        severity: Severity::Error,
    }
}

fn duplicate(key: &ObjectKey, first: &Path) -> FieldError {
    FieldError {
        object: key.into(),
        path: String::new(),
        reason: format!("already defined in {}, which wins", first.display()),
        code: Code::Duplicate,
        severity: Severity::Error,
    }
}

#[cfg(test)]
mod tests;
