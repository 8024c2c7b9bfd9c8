//! The demo's stage: the lab, the sample's files, the names in them.
//! In: a lab and where the samples are. Out: requests, held connections and conditions that steps share.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ambit_api::{labels, ports};
use anyhow::Context as _;
use nix::sys::signal::Signal;

use crate::Lab;
use crate::client::HttpSummary;
use crate::cluster::PodView;
use crate::lab::finish;
use crate::names::NodeNumber;
use crate::process::Process;
use crate::wait::{NotYet, until};

/// How long a step waits for the mesh to follow.
pub const SOON: Duration = Duration::from_secs(45);
/// The sample's namespace.
pub const BOOKINFO: &str = "bookinfo";
/// The line of the namespace file beside which the mesh's label goes.
const LABEL_AT: &str = "    app: bookinfo\n";
const LABEL: &str = "    istio.io/dataplane-mode: ambient\n";

/// Lab and samples.
pub struct Scene<'a> {
    /// The lab
    pub lab: &'a Lab,
    /// `deploy/samples/bookinfo`
    pub samples: PathBuf,
    /// Text that no program sends by itself
    pub marker: String,
}

impl<'a> Scene<'a> {
    /// The sample of this repository in `lab`.
    pub fn new(lab: &'a Lab) -> Self {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/samples/bookinfo");
        let marker = format!("plainly-readable-{}", std::process::id());
        Self {
            lab,
            samples: PathBuf::from(samples),
            marker,
        }
    }

    /// A file of the sample.
    pub fn sample(&self, file: &str) -> PathBuf {
        self.samples.join(file)
    }

    /// Applies files of the sample.
    ///
    /// # Errors
    /// Files that are not there.
    pub fn apply(&self, files: &[&str]) -> anyhow::Result<()> {
        for file in files {
            self.lab.apply_file(&self.sample(file))?;
        }
        Ok(())
    }

    /// Applies `file` in place of `name`, as a user who overwrites it.
    ///
    /// # Errors
    /// Files that are not there.
    pub fn apply_as(&self, name: &str, file: &str) -> anyhow::Result<()> {
        let path: &Path = &self.sample(file);
        let yaml = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(self.lab.apply(name, &yaml)?)
    }

    /// Puts the mesh's label on the namespace.
    ///
    /// # Errors
    /// If the namespace's file is not what it was.
    pub fn label(&self) -> anyhow::Result<()> {
        Ok(self
            .lab
            .edit("namespace", LABEL_AT, &format!("{LABEL_AT}{LABEL}"))?)
    }

    /// Takes it off again.
    ///
    /// # Errors
    /// If it is not there.
    pub fn unlabel(&self) -> anyhow::Result<()> {
        Ok(self.lab.edit("namespace", LABEL, "")?)
    }

    /// Waits until every pod of the namespace that can be captured is marked so and every node proxy knows
    /// it, or none is.
    ///
    /// # Errors
    /// The pods that are not as wanted.
    pub async fn captured(&self, wanted: bool) -> Result<usize, NotYet> {
        let what = if wanted {
            "all pods captured"
        } else {
            "no pod captured"
        };
        until(what, SOON, || async {
            let marked = self.marked(wanted)?;
            for node in self.lab.nodes() {
                let known = self
                    .known(node.number)
                    .await
                    .map_err(|e| vec![format!("{e:#}")])?;
                let other: Vec<String> = marked
                    .iter()
                    .filter(|name| known.contains(*name) != wanted)
                    .map(|name| format!("{name}: not so on {}", node.name))
                    .collect();
                if !other.is_empty() {
                    return Err(other);
                }
            }
            Ok(marked.len())
        })
        .await
    }

    /// The pods that carry the agent's mark, or do not, if all are alike; else the others.
    fn marked(&self, wanted: bool) -> Result<BTreeSet<String>, Vec<String>> {
        let cluster = self.lab.cluster();
        let (mut alike, mut other) = (BTreeSet::new(), Vec::new());
        for pod in cluster.pods.values().map(|pod| PodView(pod)) {
            if pod.namespace() != BOOKINFO || pod.label(labels::GATEWAY_NAME).is_some() {
                continue;
            }
            match pod.annotation(labels::REDIRECTION).map(String::as_str) {
                Some("enabled") if wanted => drop(alike.insert(pod.name().to_owned())),
                None if !wanted => drop(alike.insert(pod.name().to_owned())),
                state => other.push(format!("{}: {}", pod.name(), state.unwrap_or("absent"))),
            }
        }
        if other.is_empty() {
            Ok(alike)
        } else {
            Err(other)
        }
    }

    /// The pods of the namespace that a node's proxy would reach by HBONE.
    async fn known(&self, node: NodeNumber) -> anyhow::Result<BTreeSet<String>> {
        let page = self.lab.page(node, ports::ADMIN, "/config_dump").await?;
        let dump: serde_json::Value = serde_json::from_str(&page)?;
        let workloads = dump["workloads"].as_array().into_iter().flatten();
        Ok(workloads
            .filter(|w| w["namespace"] == BOOKINFO && w["protocol"] == "HBONE")
            .filter_map(|w| w["name"].as_str().map(str::to_owned))
            .collect())
    }

    /// `bookinfo client` in the sample's client pod.
    ///
    /// # Errors
    /// If it could not run; failed requests are in the summary.
    pub async fn client(&self, args: &[&str]) -> anyhow::Result<HttpSummary> {
        Ok(self.lab.http(BOOKINFO, "client", args).await?)
    }

    /// The product page with the marker in every hop.
    pub fn page_url(&self) -> String {
        format!("http://productpage:9080/productpage?marker={}", self.marker)
    }

    /// Connections kept open by the client pod, one request at a time on each, until [`Held::end`].
    ///
    /// # Errors
    /// If the client could not start.
    pub async fn hold(&self, urls: &[&str]) -> anyhow::Result<Held> {
        let mut clients = Vec::new();
        for url in urls {
            let command = [
                "bookinfo",
                "client",
                "-k",
                "--until-signal",
                "--interval-ms",
                "50",
                url,
            ];
            clients.push(self.lab.start_in(BOOKINFO, "client", command).await?);
        }
        Ok(Held { clients })
    }
}

/// Clients that hold connections.
pub struct Held {
    clients: Vec<Process>,
}

impl Held {
    /// Ends them and says how their connections fared.
    ///
    /// # Errors
    /// If a client gave no summary.
    pub async fn end(self) -> anyhow::Result<HttpSummary> {
        let mut sum = HttpSummary::default();
        for client in self.clients {
            client.signal(Signal::SIGTERM);
            let one: HttpSummary = finish(client).await?.summary()?;
            sum.requests += one.requests;
            sum.connections += one.connections;
            for (status, n) in one.statuses {
                *sum.statuses.entry(status).or_default() += n;
            }
            for (error, n) in one.errors {
                *sum.errors.entry(error).or_default() += n;
            }
        }
        Ok(sum)
    }
}
