//! A load that does not wait: 100 requests per second from each node, whatever becomes of them.
//! In: a cluster. Out: for each stream of requests what ended after a moment: answers, failures by kind, the
//! slowest. A stream is a container of the Deployment `load`; its log has a line for each second.
//! Owns: nothing; the namespace `load` goes with the cluster.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::site::Site;
use crate::wait::until;

/// Namespace of everything here.
pub(crate) const NAMESPACE: &str = "--namespace=load";
/// What requests and answers carry.
pub(crate) const MARKER: &str = "nobody-reads-this-on-the-wire";
/// Servers on both nodes.
pub(crate) const SERVERS: &str = include_str!("manifests/load-servers.yaml");
/// The Services `direct` and `routed`.
pub(crate) const SERVICES: &str = include_str!("manifests/load-services.yaml");
/// The waypoint of `routed`.
pub(crate) const WAYPOINT: &str = include_str!("manifests/load-waypoint.yaml");
/// Clients on both nodes.
pub(crate) const CLIENTS: &str = include_str!("manifests/load-clients.yaml");
/// An ingress gateway, and clients on both nodes that are not in the mesh.
pub(crate) const EDGE: &str = include_str!("manifests/load-edge.yaml");

/// Requests of one stream in a second.
const RATE: u64 = 25;

/// A stream of requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream {
    /// Where its client runs
    pub(crate) node: String,
    /// By whom it is served, and whether connections are kept: `direct-kept`, `routed-fresh`, `entered-kept` …
    pub(crate) name: String,
    pod: String,
}

impl Stream {
    /// Whether its connections are its own from end to end of the mesh, and kept.
    pub(crate) fn holds(&self) -> bool {
        self.name.ends_with("-kept") && !self.name.starts_with("entered-")
    }

    /// Whether it goes through the waypoint.
    pub(crate) fn is_routed(&self) -> bool {
        self.name.starts_with("routed-")
    }
}

/// What ended on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Requests that fell due
    pub(crate) due: u64,
    /// Answers with 200
    pub(crate) answered: u64,
    /// Everything else, by kind
    pub(crate) failures: BTreeMap<String, u64>,
    /// Milliseconds from the mark to the end of the second of the first failure
    pub(crate) first_failure: Option<u64>,
    /// Slowest answer in milliseconds
    pub(crate) slowest: u64,
    /// Seconds
    lines: u64,
}

/// Milliseconds since 1970.
pub(crate) fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}

/// Every stream of the clients that run.
pub(crate) fn streams(site: &Site) -> Result<Vec<Stream>> {
    let list = site.get(&[NAMESPACE, "pods", "--selector=app in (load, outside)"])?;
    let pods = list["items"].as_array().context("a list of pods")?;
    let mut streams = Vec::new();
    for pod in pods {
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
        let restarts = pod["status"]["containerStatuses"].as_array();
        let restarts = restarts.is_some_and(|all| all.iter().any(|one| one["restartCount"] != 0));
        ensure!(!restarts, "a client ended: {}", pod["status"]);
        let containers = pod["spec"]["containers"].as_array();
        for container in containers.context("containers")? {
            streams.push(Stream {
                node: text(&pod["spec"]["nodeName"])?,
                name: text(&container["name"])?,
                pod: text(&pod["metadata"]["name"])?,
            });
        }
    }
    streams.sort();
    Ok(streams)
}

/// What ended after `mark`, up to a moment after this was called.
pub(crate) fn since(site: &Site, mark: u64) -> Result<Vec<(Stream, Ended)>> {
    collect(site, (mark, u64::MAX))
}

/// What ended after `mark` and before `end`.
pub(crate) fn between(site: &Site, mark: u64, end: u64) -> Result<Vec<(Stream, Ended)>> {
    collect(site, (mark, end))
}

fn collect(site: &Site, span: (u64, u64)) -> Result<Vec<(Stream, Ended)>> {
    let until_then = now()?;
    let mut all = Vec::new();
    for stream in streams(site)? {
        let ended = until("the load's lines", || {
            let log = site.kubectl(&[NAMESPACE, "logs", &stream.pod, "-c", &stream.name])?;
            read(&log, span, until_then)
        })?;
        // It keeps its rate, or there is nothing to be told from it.
        ensure!(
            ended.due + RATE * 2 >= RATE * ended.lines.saturating_sub(1),
            "{stream:?} fell behind: {ended:?}"
        );
        all.push((stream, ended));
    }
    Ok(all)
}

/// Adds up lines that ended between the two; fails unless a line began after `last`.
fn read(log: &str, (mark, end): (u64, u64), last: u64) -> Result<Ended> {
    let mut sum = Ended::default();
    let mut latest = 0;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let at = line["at"].as_u64().context("a time")?;
        latest = at;
        if at > mark && at < end {
            sum.add(&line, at - mark)?;
        }
    }
    ensure!(
        latest > last + 1000,
        "the last line is of {latest}, not yet after {last}"
    );
    Ok(sum)
}

impl Ended {
    fn add(&mut self, line: &Value, after: u64) -> Result<()> {
        let number = |value: &Value| value.as_u64().context("a number");
        self.lines += 1;
        self.due += number(&line["due"])?;
        self.slowest = self.slowest.max(number(&line["slowest_ms"])?);
        for (status, count) in line["statuses"].as_object().context("statuses")? {
            match status.as_str() {
                "200" => self.answered += number(count)?,
                other => self.failed(&format!("status {other}"), number(count)?, after),
            }
        }
        for (reason, count) in line["errors"].as_object().context("errors")? {
            self.failed(reason, number(count)?, after);
        }
        Ok(())
    }

    fn failed(&mut self, kind: &str, count: u64, after: u64) {
        *self.failures.entry(kind.to_owned()).or_default() += count;
        self.first_failure.get_or_insert(after);
    }
}

/// Waits until every stream has a whole second of answers and nothing else.
pub(crate) fn flows(site: &Site) -> Result<()> {
    until("answers on every stream", || {
        let mark = now()?;
        for (stream, ended) in since(site, mark)? {
            ensure!(
                ended.failures.is_empty() && ended.answered > 0,
                "{stream:?}: {ended:?}"
            );
        }
        Ok(())
    })
}

/// All answers and the slowest, in words.
pub(crate) fn summary(all: &[(Stream, Ended)]) -> String {
    let answered: u64 = all.iter().map(|(_, ended)| ended.answered).sum();
    let slowest = all.iter().map(|(_, ended)| ended.slowest).max();
    format!(
        "{answered} answers, the slowest after {} ms",
        slowest.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::read;

    fn line(at: u64, statuses: &str, errors: &str) -> String {
        format!(
            r#"{{"at":{at},"due":25,"statuses":{statuses},"errors":{errors},"connections":0,"moved":0,"slowest_ms":7}}"#
        )
    }

    #[test]
    fn what_ended_after_the_mark_is_added_up() {
        let log = [
            line(1_000, r#"{"503":9}"#, "{}"),
            line(2_000, r#"{"200":24,"503":1}"#, "{}"),
            line(3_000, r#"{"200":23}"#, r#"{"timeout":2}"#),
        ]
        .join("\n");
        let ended = read(&log, (1_500, 9_000), 1_900).unwrap();
        assert_eq!((ended.due, ended.answered, ended.slowest), (50, 47, 7));
        assert_eq!(ended.first_failure, Some(500));
        assert_eq!(ended.failures["status 503"], 1);
        assert_eq!(ended.failures["timeout"], 2);
        assert!(
            read(&log, (1_500, 9_000), 2_000).is_err(),
            "not a second later yet"
        );
    }
}
