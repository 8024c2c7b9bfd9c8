//! Documents that are wrong: logged once each, and told to the index for their statuses.

use crate::metrics::Metrics;
use ambit_crds::{Code, Kind, ObjectKey};
use ambit_index::Refusal;
use ambit_source::Problem;
use std::collections::{BTreeMap, BTreeSet};

/// Problems that were logged.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    known: BTreeSet<String>,
}

impl Refusals {
    /// Logs what is new.
    pub(super) fn report(&mut self, problems: &[Problem], metrics: &Metrics) {
        let mut now = BTreeSet::new();
        let mut counted = BTreeSet::new();
        for problem in problems {
            let text = problem.to_string();
            if !self.known.contains(&text) && !now.contains(&text) {
                log(problem);
                let document = (&problem.file, problem.document);
                if problem.is_error() && counted.insert(document) {
                    metrics.validation_failed(&problem.error.object.kind);
                }
            }
            now.insert(text);
        }
        for text in self.known.difference(&now) {
            tracing::info!(problem = %text, "problem solved");
        }
        self.known = now;
    }
}

fn log(problem: &Problem) {
    let error = &problem.error;
    let (file, line) = (problem.file.display(), problem.line);
    let (object, field, code) = (&error.object, &error.path, error.code);
    let reason = &error.reason;
    if problem.is_error() {
        tracing::error!(%file, line, %object, %field, %code, %reason, "document refused");
    } else {
        tracing::warn!(%file, line, %object, %field, %code, %reason, "document has no full effect");
    }
}

/// What the statuses of objects say. Documents without a name have no status.
pub(super) fn by_object(problems: &[Problem]) -> BTreeMap<ObjectKey, Refusal> {
    let mut refused: BTreeMap<ObjectKey, Refusal> = BTreeMap::new();
    for problem in problems.iter().filter(|p| p.is_error()) {
        let error = &problem.error;
        let kind = Kind::KNOWN.iter().find(|k| k.as_str() == error.object.kind);
        let Some(kind) = kind.filter(|_| !error.object.name.is_empty()) else {
            continue;
        };
        let namespace = match error.object.namespace.as_str() {
            "" => "default",
            given => given,
        };
        let key = ObjectKey::new(kind.clone(), namespace, &error.object.name);
        let place = if error.path.is_empty() {
            problem.file.display().to_string()
        } else {
            error.path.clone()
        };
        let text = format!("{place}: {} [{}]", error.reason, error.code);
        let refusal = match error.code {
            Code::Duplicate => Refusal::Duplicate(text),
            _ => Refusal::Invalid(text),
        };
        match refused.get_mut(&key) {
            // A wrong document tells more than a second right one.
            Some(Refusal::Invalid(all)) => {
                if let Refusal::Invalid(text) = refusal {
                    all.push_str("; ");
                    all.push_str(&text);
                }
            }
            _ => drop(refused.insert(key, refusal)),
        }
    }
    refused
}
