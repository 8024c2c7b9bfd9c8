//! Versions of a running mesh, and which may run beside which.
//! In: processes and their `istio_build` metric. Out: one version per process; pure rules on skew.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::target::Target;

/// Version of this command and of the manifests it carries.
pub(crate) const OWN: &str = env!("CARGO_PKG_VERSION");
/// Roles of a mesh, control plane first.
pub(crate) const ROLES: [&str; 4] = ["controller", "ztunnel", "agent", "waypoint"];

/// One process.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Running {
    /// `controller`, `ztunnel`, `agent`, `waypoint`
    pub(crate) role: String,
    /// Name of the process
    pub(crate) name: String,
    /// Node it runs on
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// What it says; `None` if it did not answer
    pub(crate) version: Option<String>,
    /// Why it did not
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Asks every process.
pub(crate) async fn running(target: &Target) -> Vec<Running> {
    let mut found = Vec::new();
    for role in ROLES {
        let asked = target.processes(role).map(async |process| {
            let answer = process.metrics().await;
            let (version, error) = match answer {
                Ok(text) => (Some(build_tag(&text).unwrap_or("unknown").to_owned()), None),
                Err(e) => (None, Some(format!("{e:#}"))),
            };
            Running {
                role: role.to_owned(),
                name: process.name.clone(),
                node: process.node.clone(),
                version,
                error,
            }
        });
        found.extend(futures::future::join_all(asked).await);
    }
    found
}

/// The `tag` label of `istio_build`.
fn build_tag(metrics: &str) -> Option<&str> {
    let line = metrics.lines().find(|l| l.starts_with("istio_build{"))?;
    let (_, rest) = line.split_once("tag=\"")?;
    rest.split('"').next()
}

/// `major.minor.patch`; what follows a dash or plus does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim_start_matches('v');
        let text = text.split(['-', '+']).next().unwrap_or(text);
        let mut parts = text.split('.').map(str::parse::<u64>);
        let mut part = || parts.next().and_then(Result::ok).ok_or(());
        Ok(Self {
            major: part()?,
            minor: part()?,
            patch: part()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What speaks against a control plane of version `next` among these processes. Pure.
/// The data plane may be as new as the control plane and one minor version older; the control plane
/// moves by one minor version at a time and never back.
pub(crate) fn skew(next: &str, running: &[Running]) -> Vec<String> {
    let Ok(next) = next.parse::<Version>() else {
        return vec![format!("`{next}` is no version")];
    };
    let mut found = Vec::new();
    for process in running {
        let Some(text) = &process.version else {
            let why = process.error.as_deref().unwrap_or_default();
            found.push(format!("{} does not say its version: {why}", process.name));
            continue;
        };
        let Ok(version) = text.parse::<Version>() else {
            found.push(format!(
                "{} has version `{text}`, which is none",
                process.name
            ));
            continue;
        };
        let named = format!("{} has version {version}", process.name);
        if version > next && process.role == "controller" {
            found.push(format!(
                "{named}, newer than {next}: a mesh is not upgraded backwards"
            ));
        } else if version > next {
            found.push(format!(
                "{named}, newer than a control plane of {next} may serve"
            ));
        } else if version.major != next.major || next.minor - version.minor > 1 {
            found.push(format!(
                "{named}, more than one minor version behind {next}"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(role: &str, version: &str) -> Running {
        Running {
            role: role.into(),
            name: format!("{role}-1"),
            node: None,
            version: Some(version.into()),
            error: None,
        }
    }

    #[test]
    fn the_tag_is_read_from_the_build_metric() {
        let text = "# TYPE istio_build gauge\nistio_build{component=\"ztunnel\",tag=\"0.1.0\"} 1\n";
        assert_eq!(build_tag(text), Some("0.1.0"));
        assert_eq!(build_tag("istio_build 1"), None);
    }

    #[test]
    fn one_minor_version_of_skew_is_allowed() {
        let bad = |next: &str, role: &str, version: &str| {
            skew(next, &[process(role, version)]).into_iter().next()
        };
        assert_eq!(bad("1.3.0", "ztunnel", "1.3.0"), None);
        assert_eq!(bad("1.3.0", "ztunnel", "1.2.9"), None);
        assert_eq!(bad("1.3.1", "controller", "1.3.0"), None);
        assert_eq!(
            bad("1.3.0", "ztunnel", "1.1.0").unwrap(),
            "ztunnel-1 has version 1.1.0, more than one minor version behind 1.3.0"
        );
        assert_eq!(
            bad("1.3.0", "waypoint", "1.4.0").unwrap(),
            "waypoint-1 has version 1.4.0, newer than a control plane of 1.3.0 may serve"
        );
        assert_eq!(
            bad("1.3.0", "controller", "1.3.1").unwrap(),
            "controller-1 has version 1.3.1, newer than 1.3.0: a mesh is not upgraded backwards"
        );
        assert!(bad("2.0.0", "ztunnel", "1.9.0").is_some());
        assert!(bad("1.3.0", "ztunnel", "unknown").is_some());
        assert!(bad("1.3.0", "ztunnel", "v1.3.0-rc.1+x").is_none());
    }

    #[test]
    fn a_process_that_does_not_answer_is_named() {
        let mut silent = process("agent", "");
        silent.version = None;
        silent.error = Some("refused".into());
        assert_eq!(
            skew("1.0.0", &[silent]),
            ["agent-1 does not say its version: refused"]
        );
    }
}
