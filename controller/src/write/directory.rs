//! Writes into a directory: small files by rename, off the async threads. What fails is tried again
//! with the next batch.

use super::{key, status_of};
use crate::metrics::Metrics;
use crate::times;
use ambit_crds::ObjectKey;
use ambit_index::{Index, Plan, Write};
use ambit_runtime::causes::causes;
use ambit_runtime::tasks::{self, End};
use ambit_source::{WriteError, Writer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes of one directory.
#[derive(Debug)]
pub(crate) struct DirectoryWrites {
    writer: Arc<Writer>,
    /// Statuses as written, with their times.
    written: BTreeMap<ObjectKey, Value>,
    /// Writes that failed.
    pending: BTreeMap<ObjectKey, Write>,
    started: bool,
}

impl DirectoryWrites {
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            writer: Arc::new(writer),
            written: BTreeMap::new(),
            pending: BTreeMap::new(),
            started: false,
        }
    }

    /// Executes a plan and what is left of former ones.
    pub(super) async fn execute(&mut self, plan: Plan, index: &Index, metrics: &Metrics) {
        for write in plan.writes {
            self.pending.insert(key(&write).clone(), write);
        }
        if !self.started {
            self.started = true;
            self.withdraw_leftovers(&plan.untouched);
        }
        if self.pending.is_empty() {
            return;
        }
        let statuses = seeds(&self.pending, &self.written, index);
        let now = times::now();
        let work: Vec<(Write, Option<Value>)> = std::mem::take(&mut self.pending)
            .into_values()
            .map(|write| {
                let status = match &write {
                    Write::Status { key, status } => {
                        Some(times::stamped(status, statuses.get(key), &now))
                    }
                    Write::Object { .. } | Write::Remove { .. } => None,
                };
                (write, status)
            })
            .collect();
        let writer = self.writer.clone();
        let done = tasks::spawn_blocking("statuses", move || {
            let results = work.into_iter().map(|(write, status)| {
                let result = perform(&writer, &write, status.as_ref());
                (write, status, result)
            });
            results.collect::<Vec<_>>()
        });
        let End::Returned(results) = done.await else {
            return;
        };
        for (write, status, result) in results {
            let key = key(&write).clone();
            match (result, status) {
                (Ok(()), Some(status)) => drop(self.written.insert(key, status)),
                (Ok(()), None) => drop(self.written.remove(&key)),
                (Err(error), _) => {
                    metrics.write_errors.inc();
                    tracing::error!(object = %key, error = %causes(&error), "status not written");
                    self.pending.insert(key, write);
                }
            }
        }
    }

    /// Documents of a former run that nothing asks for any more.
    fn withdraw_leftovers(&mut self, untouched: &[ObjectKey]) {
        match self.writer.list() {
            Ok(keys) => {
                for key in keys.into_iter().filter(|key| !untouched.contains(key)) {
                    let remove = Write::Remove { key: key.clone() };
                    self.pending.entry(key).or_insert(remove);
                }
            }
            Err(error) => {
                tracing::warn!(error = %causes(&error), "statuses of a former run not listed");
            }
        }
    }
}

fn perform(writer: &Writer, write: &Write, status: Option<&Value>) -> Result<(), WriteError> {
    match write {
        Write::Status { key, .. } => writer.patch(key, &json!({ "status": status })).map(drop),
        Write::Object { value, .. } => writer.apply_object(value).map(drop),
        Write::Remove { key } => writer.remove(key).map(drop),
    }
}

/// Statuses as they were last: of this run, else as the objects carry them.
fn seeds(
    pending: &BTreeMap<ObjectKey, Write>,
    written: &BTreeMap<ObjectKey, Value>,
    index: &Index,
) -> BTreeMap<ObjectKey, Value> {
    let known = |key: &ObjectKey| {
        let status = written.get(key).cloned();
        status.or_else(|| status_of(index.object(key)?))
    };
    pending
        .keys()
        .filter_map(|key| Some((key.clone(), known(key)?)))
        .collect()
}
