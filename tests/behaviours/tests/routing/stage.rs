//! Bookinfo in the mesh with a waypoint in front of reviews, and the questions tests ask of it.
//! In: nothing but root. Out: a lab in that state; statuses, access lines, metrics, counts of what
//! services received.
//! Labs share the machine: one at a time.

use ambit_behaviours::{can_run, joined};
use ambit_harness::client::HttpSummary;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::demo::{Scene, waypoint};
use ambit_harness::kubelet::status::PodEntry;
use ambit_harness::prometheus::Scrape;
use ambit_harness::{Lab, until};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// How long the mesh may take to follow a change.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// The Service behind the waypoint.
pub(crate) const REVIEWS: &str = "http://reviews:9080";
/// Header that names the version that answered.
pub(crate) const VERSION: &str = "x-bookinfo-version";
/// Name of the file with the VirtualService.
const RULES: &str = "virtual-service-reviews";

static TURN: Mutex<()> = Mutex::const_new(());

/// The lab.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// Bookinfo in the mesh, without a waypoint; `None` where labs cannot be made.
    pub(crate) async fn without_waypoint(area: &str) -> Result<Option<Self>> {
        if !can_run() {
            return Ok(None);
        }
        let turn = TURN.lock().await;
        let lab = joined(area).await?;
        Ok(Some(Self { lab, _turn: turn }))
    }

    /// The same with a ready waypoint for reviews and the subsets v1 to v3 of reviews.
    pub(crate) async fn up(area: &str) -> Result<Option<Self>> {
        let Some(stage) = Self::without_waypoint(area).await? else {
            return Ok(None);
        };
        let scene = Scene::new(&stage.lab);
        waypoint::up(&scene).await?;
        scene.apply(&["networking/destination-rule-reviews.yaml"])?;
        Ok(Some(stage))
    }

    /// `bookinfo client` in the client pod.
    pub(crate) async fn client(&self, args: &[&str]) -> Result<HttpSummary> {
        Ok(self.lab.http(BOOKINFO, "client", args).await?)
    }

    /// Applies a VirtualService for reviews with these `http` entries, after one that answers
    /// `/case/<name>` itself, and waits until that one is in force.
    pub(crate) async fn rules(&self, name: &str, http: &str) -> Result<()> {
        self.lab.apply(RULES, &virtual_service(name, http))?;
        self.in_force(name).await
    }

    /// Waits until the waypoint runs the rules called `name`.
    pub(crate) async fn in_force(&self, name: &str) -> Result<()> {
        let url = format!("{REVIEWS}/case/{name}");
        until(&format!("rules {name} in force"), SOON, || async {
            match self.client(&[&url]).await {
                Ok(answer) if answer.body.as_deref() == Some(name) => Ok(()),
                other => Err(format!(
                    "{other:?}; {:?}",
                    self.conditions("VirtualService", "reviews")
                )),
            }
        })
        .await?;
        Ok(())
    }

    /// Applies a whole document in place of the VirtualService.
    pub(crate) fn rules_document(&self, yaml: &str) -> Result<()> {
        Ok(self.lab.apply(RULES, yaml)?)
    }

    /// Takes the VirtualService away.
    #[allow(dead_code, reason = "not every test file does")]
    pub(crate) fn no_rules(&self) -> Result<()> {
        Ok(self.lab.remove(RULES)?)
    }

    /// What the controller's status file of an object of the sample's namespace says. `kind` carries its
    /// group where another kind has the plural, too: `Gateway.networking.istio.io`.
    pub(crate) fn conditions(&self, kind: &str, name: &str) -> String {
        let (kind, group) = kind.split_at(kind.find('.').unwrap_or(kind.len()));
        let folder = format!("{}s{group}", kind.to_lowercase());
        let status = self.lab.directory().join(".status/controller").join(folder);
        let path = status.join(BOOKINFO).join(format!("{name}.yaml"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Waits until that status has all of `words`.
    pub(crate) async fn status_has(&self, kind: &str, name: &str, words: &[&str]) -> Result<()> {
        until(&format!("status of {kind} {name}"), SOON, || async {
            let text = self.conditions(kind, name);
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let missing: Vec<_> = words.iter().filter(|w| !flat.contains(**w)).collect();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(format!("no {missing:?} in {text}"))
            }
        })
        .await?;
        Ok(())
    }

    /// The waypoint's pod as the lab runs it.
    pub(crate) fn waypoint(&self) -> Result<(String, PodEntry)> {
        let pods = self.lab.pods();
        let found = pods.into_iter().find(|((namespace, name), _)| {
            namespace == BOOKINFO && name.starts_with("reviews-waypoint")
        });
        let ((_, name), entry) = found.context("no waypoint pod")?;
        Ok((name, entry))
    }

    /// How many requests `version` of reviews has counted under `key`, asked at its own address: past
    /// the waypoint.
    pub(crate) async fn counted(&self, version: &str, key: &str) -> Result<u64> {
        let pod = format!("reviews-{version}");
        let ip = self.lab.pod_address(BOOKINFO, &pod).context("no address")?;
        let url = format!("http://{ip}:9080/counted?count={key}");
        let answer = self.client(&[&url]).await?;
        let body = answer.body.context("no body")?;
        let body: serde_json::Value = serde_json::from_str(&body)?;
        body["count"].as_u64().context("no count")
    }

    /// The waypoint's metrics.
    #[allow(dead_code, reason = "not every test file reads them")]
    pub(crate) async fn metrics(&self) -> Result<Scrape> {
        let (_, pod) = self.waypoint()?;
        Ok(Scrape::parse(
            &self.lab.pod_page(&pod, 15020, "/metrics").await?,
        ))
    }

    /// Waits for `n` access lines of requests with the id `id`: what follows the request line in each.
    #[allow(dead_code, reason = "not every test file reads them")]
    pub(crate) async fn access_lines(&self, id: &str, n: usize) -> Result<Vec<AccessLine>> {
        let paths = self.logs()?;
        let quoted = format!("\"{id}\"");
        let lines = until("access lines", SOON, || async {
            let mut lines = Vec::new();
            for path in &paths {
                let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
                let found = text.lines().filter(|line| line.contains(&quoted));
                lines.extend(found.filter_map(AccessLine::parse));
            }
            if lines.len() == n {
                Ok(lines)
            } else {
                Err(format!("{} lines: {lines:?}", lines.len()))
            }
        });
        Ok(lines.await?)
    }

    /// Waits for a line of the waypoint's log with all of `words`.
    #[allow(dead_code, reason = "not every test file reads it")]
    pub(crate) async fn log_line(&self, words: &[&str]) -> Result<String> {
        let paths = self.logs()?;
        let line = until("a line of the waypoint's log", SOON, || async {
            let mut last = Vec::new();
            for path in &paths {
                let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
                let mut lines = text.lines();
                if let Some(line) = lines.find(|l| words.iter().all(|w| l.contains(w))) {
                    return Ok(line.to_owned());
                }
                let others = text.lines().filter(|line| !line.contains(" 200 - "));
                last.extend(others.map(str::to_owned));
            }
            let last = last.split_off(last.len().saturating_sub(5));
            Err(format!("none has {words:?}; last ones: {last:#?}"))
        });
        Ok(line.await?)
    }

    /// Log files of the waypoint.
    #[allow(dead_code, reason = "not every test file reads them")]
    pub(crate) fn logs(&self) -> Result<Vec<PathBuf>> {
        let (name, pod) = self.waypoint()?;
        let node = self.lab.nodes().iter().find(|node| node.name == pod.node);
        let logs = &node.context("the waypoint's node")?.logs;
        let prefix = format!("{BOOKINFO}_{name}_");
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(logs)? {
            let path = entry?.path();
            let file = path
                .file_name()
                .and_then(|f| f.to_str())
                .unwrap_or_default();
            if file.starts_with(&prefix) {
                paths.push(path);
            }
        }
        ensure!(!paths.is_empty(), "no log of {name} in {}", logs.display());
        Ok(paths)
    }
}

/// The facts of one access line in Istio's default format.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "printed where a test fails")]
pub(crate) struct AccessLine {
    pub(crate) code: u16,
    pub(crate) flags: String,
    pub(crate) details: String,
    pub(crate) duration_ms: u64,
}

impl AccessLine {
    fn parse(line: &str) -> Option<Self> {
        // [time] "request" code flags details - "-" received sent duration ...
        let (_, rest) = line.split_once("] \"")?;
        let (_, rest) = rest.split_once("\" ")?;
        let words: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            code: words.first()?.parse().ok()?,
            flags: (*words.get(1)?).to_owned(),
            details: (*words.get(2)?).to_owned(),
            duration_ms: words.get(7)?.parse().ok()?,
        })
    }
}

/// A VirtualService for reviews.
pub(crate) fn virtual_service(name: &str, http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: reviews, namespace: bookinfo}}\nspec:\n  hosts: [reviews]\n  http:\n    \
         - match: [{{uri: {{exact: /case/{name}}}}}]\n      \
         directResponse: {{status: 200, body: {{string: {name}}}}}\n{http}"
    )
}

/// An `http` entry that sends everything to a subset of reviews.
pub(crate) fn all_to(version: &str) -> String {
    format!("    - route: [{{destination: {{host: reviews, subset: {version}}}}}]\n")
}
