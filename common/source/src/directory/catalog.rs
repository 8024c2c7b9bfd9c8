//! The catalogue: last good documents of every file and status writer, and what readers were told.
//! In: file contents and removals. Out: the next [`Batch`]. Pure; the only state of the source.
//! Rules: a bad document keeps its last good version; the first file name wins; a file that does
//! not parse removes nothing.

use super::document::{Content, Document, document_error, identify, parse_yaml, read};
use super::merge::merge;
use super::tree::StatusPath;
use crate::told::Told;
use crate::{Batch, Problem};
use ambit_crds::{Code, FieldError, Object, ObjectKey, ObjectRef, Severity};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Text of a file, or why it could not be read.
pub(super) type Text = Result<String, String>;

#[derive(Debug, Clone)]
struct Entry {
    document: usize,
    line: usize,
    value: Arc<Value>,
    object: Arc<Object>,
}

#[derive(Debug, Default)]
struct File {
    entries: BTreeMap<ObjectKey, Entry>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Status {
    /// Last good patch, or whole object when it names an apiVersion.
    value: Option<Arc<Value>>,
    problem: Option<Problem>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    files: BTreeMap<String, File>,
    /// By key, then by file name.
    owners: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// By key, then by writer.
    statuses: BTreeMap<ObjectKey, BTreeMap<String, Status>>,
    /// Problems that only show when base and patches are joined.
    merge_problems: BTreeMap<ObjectKey, Problem>,
    told: Told,
    told_problems: Vec<Problem>,
    dirty: BTreeSet<ObjectKey>,
    started: bool,
}

impl Catalog {
    /// A file of the user has new content.
    pub(super) fn set_file(&mut self, name: &str, text: Text) {
        let before = self.files.remove(name).unwrap_or_default();
        let after = match text {
            Ok(text) => next_version(name, &before, read(&text)),
            Err(reason) => File {
                entries: before.entries.clone(),
                problems: vec![whole_file(name, reason)],
            },
        };
        for key in before.entries.keys().chain(after.entries.keys()) {
            self.dirty.insert(key.clone());
        }
        for key in before
            .entries
            .keys()
            .filter(|k| !after.entries.contains_key(*k))
        {
            self.disown(key, name);
        }
        for key in after.entries.keys() {
            self.owners
                .entry(key.clone())
                .or_default()
                .insert(name.to_owned());
        }
        self.files.insert(name.to_owned(), after);
    }

    /// A file of the user is gone, and so are its objects.
    pub(super) fn remove_file(&mut self, name: &str) {
        if let Some(file) = self.files.remove(name) {
            for key in file.entries.into_keys() {
                self.disown(&key, name);
                self.dirty.insert(key);
            }
        }
    }

    /// Names of the files known.
    pub(super) fn file_names(&self) -> BTreeSet<String> {
        self.files.keys().cloned().collect()
    }

    /// A status document has new content.
    pub(super) fn set_status(&mut self, path: &StatusPath, text: Text) {
        let parsed = text.and_then(|text| parse_yaml(&text)).and_then(|value| {
            match (value.get("apiVersion").is_some(), identify(&value)) {
                (_, None) if !value.is_object() => Err("must be a map".to_owned()),
                (true, key) if key.as_ref() != Some(&path.key) => {
                    Err("does not hold the object its path names".to_owned())
                }
                _ => Ok(Arc::new(value)),
            }
        });
        let writers = self.statuses.entry(path.key.clone()).or_default();
        let last = writers.remove(&path.writer).and_then(|s| s.value);
        let status = match parsed {
            Ok(value) => Status {
                value: Some(value),
                problem: None,
            },
            Err(reason) => Status {
                value: last,
                problem: Some(at_start(
                    path.relative(),
                    FieldError {
                        object: ObjectRef::from(&path.key),
                        ..document_error(reason)
                    },
                )),
            },
        };
        writers.insert(path.writer.clone(), status);
        self.dirty.insert(path.key.clone());
    }

    /// A status document is gone.
    pub(super) fn remove_status(&mut self, path: &StatusPath) {
        if let Some(writers) = self.statuses.get_mut(&path.key)
            && writers.remove(&path.writer).is_some()
        {
            if writers.is_empty() {
                self.statuses.remove(&path.key);
            }
            self.dirty.insert(path.key.clone());
        }
    }

    /// Every status document known.
    pub(super) fn status_paths(&self) -> BTreeSet<StatusPath> {
        let of = |(key, writers): (&ObjectKey, &BTreeMap<String, Status>)| {
            let key = key.clone();
            let paths = writers.keys().map(move |writer| StatusPath {
                writer: writer.clone(),
                key: key.clone(),
            });
            paths.collect::<Vec<_>>()
        };
        self.statuses.iter().flat_map(of).collect()
    }

    /// What readers have to learn; `None` when nothing changed. The first call always answers.
    pub(super) fn settle(&mut self) -> Option<Batch> {
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            let now = self.effective(&key);
            changes.extend(self.told.change(key, now));
        }
        let problems = self.problems();
        if self.started && changes.is_empty() && problems == self.told_problems {
            return None;
        }
        self.started = true;
        self.told_problems.clone_from(&problems);
        Some(Batch { changes, problems })
    }

    /// The object in force: the user's first file, else a writer's whole object, with all patches.
    fn effective(&mut self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.merge_problems.remove(key);
        let mine = self.owners.get(key).and_then(|files| {
            let file = files.first()?;
            self.files.get(file)?.entries.get(key)
        });
        let writers = self.statuses.get(key);
        let generated = || {
            let whole = |(writer, s): (&String, &Status)| {
                let value = s.value.clone()?;
                value.get("apiVersion")?;
                Some((writer.clone(), value))
            };
            writers?.iter().find_map(whole)
        };
        let (base, plain, from) = match mine {
            Some(entry) => (entry.value.clone(), Some(entry.object.clone()), None),
            None => {
                let (writer, value) = generated()?;
                (value, None, Some(writer))
            }
        };
        let mut merged: Option<Value> = None;
        for (writer, status) in writers.into_iter().flatten() {
            if let Some(patch) = &status.value
                && from.as_ref() != Some(writer)
            {
                merge(merged.get_or_insert_with(|| (*base).clone()), patch);
            }
        }
        match (merged, plain) {
            (None, Some(plain)) => Some(plain),
            (merged, plain) => {
                let value = merged.unwrap_or_else(|| (*base).clone());
                match Object::parse(value) {
                    Ok(object) => Some(Arc::new(object)),
                    Err(errors) => {
                        self.note_merge_problem(key, from, errors);
                        plain
                    }
                }
            }
        }
    }

    fn note_merge_problem(
        &mut self,
        key: &ObjectKey,
        from: Option<String>,
        errors: Vec<FieldError>,
    ) {
        let writer = from.or_else(|| {
            let writers = self.statuses.get(key)?;
            writers.keys().next().cloned()
        });
        let (Some(writer), Some(error)) = (writer, errors.into_iter().next()) else {
            return;
        };
        let path = StatusPath {
            writer,
            key: key.clone(),
        };
        self.merge_problems
            .insert(key.clone(), at_start(path.relative(), error));
    }

    fn problems(&self) -> Vec<Problem> {
        let mut out: Vec<Problem> = Vec::new();
        for (name, file) in &self.files {
            out.extend(file.problems.iter().cloned());
            for (key, entry) in &file.entries {
                let winner = self.owners.get(key).and_then(BTreeSet::first);
                if let Some(winner) = winner.filter(|winner| *winner != name) {
                    out.push(duplicate(name, entry.document, entry.line, (key, winner)));
                }
            }
        }
        let statuses = self.statuses.values().flat_map(BTreeMap::values);
        out.extend(statuses.filter_map(|s| s.problem.clone()));
        out.extend(self.merge_problems.values().cloned());
        out.sort_by(|a, b| {
            (&a.file, a.document, &a.error.path).cmp(&(&b.file, b.document, &b.error.path))
        });
        out
    }

    fn disown(&mut self, key: &ObjectKey, file: &str) {
        if let Some(files) = self.owners.get_mut(key) {
            files.remove(file);
            if files.is_empty() {
                self.owners.remove(key);
            }
        }
    }
}

/// The file after a read: good documents, plus what a bad one must not take away.
fn next_version(name: &str, before: &File, documents: Vec<Document>) -> File {
    let mut after = File::default();
    let mut kept: BTreeSet<ObjectKey> = BTreeSet::new();
    let mut keep_all = false;
    let empty = documents.is_empty();
    for document in documents {
        let problem = |error| Problem {
            file: PathBuf::from(name),
            document: document.index,
            line: document.line,
            error,
        };
        match document.content {
            Content::Good {
                key,
                value,
                object,
                warnings,
            } => {
                if after.entries.contains_key(&key) {
                    after.problems.push(duplicate(
                        name,
                        document.index,
                        document.line,
                        (&key, name),
                    ));
                    continue;
                }
                after.problems.extend(warnings.into_iter().map(problem));
                let (document, line) = (document.index, document.line);
                let entry = Entry {
                    document,
                    line,
                    value,
                    object,
                };
                after.entries.insert(key, entry);
            }
            Content::Ignored(warning) => after.problems.extend(warning.map(problem)),
            Content::Bad { key, errors } => {
                after.problems.extend(errors.into_iter().map(problem));
                match key {
                    Some(key) => {
                        kept.insert(key);
                    }
                    None => keep_all = true,
                }
            }
        }
    }
    if empty && !before.entries.is_empty() {
        keep_all = true;
        let reason =
            "no documents; the last good version stays until the file is deleted or filled";
        after.problems.push(whole_file(name, reason.to_owned()));
    }
    for (key, entry) in &before.entries {
        if (keep_all || kept.contains(key)) && !after.entries.contains_key(key) {
            after.entries.insert(key.clone(), entry.clone());
        }
    }
    after
}

fn whole_file(name: &str, reason: String) -> Problem {
    at_start(PathBuf::from(name), document_error(reason))
}

fn at_start(file: PathBuf, error: FieldError) -> Problem {
    Problem {
        file,
        document: 0,
        line: 1,
        error,
    }
}

fn duplicate(file: &str, document: usize, line: usize, of: (&ObjectKey, &str)) -> Problem {
    let (key, winner) = of;
    Problem {
        file: PathBuf::from(file),
        document,
        line,
        error: FieldError {
            object: ObjectRef::from(key),
            path: String::new(),
            reason: format!("already defined in {winner}, which is used"),
            code: Code::Duplicate,
            severity: Severity::Error,
        },
    }
}

#[cfg(test)]
mod tests;
