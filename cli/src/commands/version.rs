//! `ambit version`: this command, the control plane and the data plane, when there is a mesh.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::output::{self, Format, Verdict};
use crate::target::Target;
use crate::versions::{OWN, Running, running};

/// Options of `ambit version`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ask the mesh, too
    #[arg(short = 'r', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL")]
    remote: bool,
}

/// What a group of processes is called, and its roles.
const GROUPS: [(&str, &[&str]); 3] = [
    ("control plane version", &["controller"]),
    ("data plane version", &["ztunnel", "waypoint"]),
    ("node agent version", &["agent"]),
];

/// Prints versions. Without a mesh only this command's. [`Verdict::Wrong`] when a process of the mesh does
/// not say its own.
pub(crate) async fn run(
    args: &Args,
    open: impl AsyncFnOnce() -> Result<Target>,
    format: Format,
) -> Result<Verdict> {
    let mut mesh = Vec::new();
    if args.remote {
        match open().await {
            Ok(target) => mesh = running(&target).await,
            Err(e) => output::note(format_args!("no mesh was asked: {e:#}")),
        }
    }
    if format == Format::Table {
        output::line(format_args!("client version: {OWN}"));
        for line in lines(&mesh) {
            output::line(line);
        }
    } else {
        output::value(&document(&mesh), format)?;
    }
    let silent = mesh.iter().any(|p| p.version.is_none());
    Ok(if silent {
        Verdict::Wrong
    } else {
        Verdict::Fine
    })
}

/// One line per group: versions with how many processes have them. Pure.
fn lines(mesh: &[Running]) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, roles) in GROUPS {
        let mut versions: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for process in mesh.iter().filter(|p| roles.contains(&p.role.as_str())) {
            let version = process.version.as_deref().unwrap_or("no answer");
            let counts = versions.entry(version).or_default();
            *counts.entry(&process.role).or_default() += 1;
        }
        if versions.is_empty() {
            continue;
        }
        let parts: Vec<String> = versions
            .iter()
            .map(|(version, counts)| {
                let counts: Vec<String> = counts
                    .iter()
                    .map(|(role, n)| format!("{n} {role}{}", if *n == 1 { "" } else { "s" }))
                    .collect();
                format!("{version} ({})", counts.join(", "))
            })
            .collect();
        lines.push(format!("{title}: {}", parts.join(", ")));
    }
    for process in mesh {
        if let Some(error) = &process.error {
            lines.push(format!("{} did not answer: {error}", process.name));
        }
    }
    lines
}

/// As programs read it.
fn document(mesh: &[Running]) -> Value {
    let of = |roles: &[&str]| -> Vec<&Running> {
        mesh.iter()
            .filter(|p| roles.contains(&p.role.as_str()))
            .collect()
    };
    json!({
        "clientVersion": {"version": OWN},
        "meshVersion": of(&["controller"]),
        "dataPlaneVersion": of(&["ztunnel", "waypoint"]),
        "agentVersion": of(&["agent"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(role: &str, name: &str, version: Option<&str>) -> Running {
        Running {
            role: role.into(),
            name: name.into(),
            node: None,
            version: version.map(str::to_owned),
            error: version.is_none().then(|| "refused".to_owned()),
        }
    }

    #[test]
    fn versions_are_counted_by_role() {
        let mesh = [
            process("controller", "c", Some("0.2.0")),
            process("ztunnel", "z1", Some("0.1.0")),
            process("ztunnel", "z2", Some("0.2.0")),
            process("waypoint", "w", Some("0.2.0")),
            process("agent", "a1", None),
        ];
        assert_eq!(
            lines(&mesh),
            [
                "control plane version: 0.2.0 (1 controller)",
                "data plane version: 0.1.0 (1 ztunnel), 0.2.0 (1 waypoint, 1 ztunnel)",
                "node agent version: no answer (1 agent)",
                "a1 did not answer: refused",
            ]
        );
        assert!(lines(&[]).is_empty());
        assert_eq!(document(&mesh)["dataPlaneVersion"][1]["name"], "z2");
    }
}
