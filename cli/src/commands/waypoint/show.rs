//! Waypoints as tables.

use ambit_api::labels;
use anyhow::{Result, bail};
use serde_json::Value;

use super::REVISION;
use crate::output::{self, Format, Verdict};

/// Whether it takes traffic, and what its status says.
pub(super) fn programmed(gateway: &Value) -> (bool, String) {
    let conditions = gateway
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Programmed");
    match found {
        None => (false, "no controller has looked at it".to_owned()),
        Some(c) => {
            let text = |key: &str| c[key].as_str().unwrap_or_default();
            (
                c["status"] == "True",
                format!("{}: {}", text("reason"), text("message")),
            )
        }
    }
}

/// Cells every table has: name, revision, traffic type, programmed.
fn row(gateway: &Value) -> [String; 4] {
    let label = |key: &str| gateway["metadata"]["labels"][key].as_str();
    [
        gateway["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        label(REVISION).unwrap_or("default").to_owned(),
        label(labels::WAYPOINT_FOR).unwrap_or("service").to_owned(),
        if programmed(gateway).0 {
            "True"
        } else {
            "False"
        }
        .to_owned(),
    ]
}

fn namespace_of(gateway: &Value) -> String {
    gateway["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Prints the list.
pub(super) fn list(found: &[Value], scope: Option<&str>, format: Format) -> Result<Verdict> {
    if format != Format::Table {
        output::value(&found, format)?;
        return Ok(Verdict::Fine);
    }
    if found.is_empty() {
        output::line("No waypoints found.");
        return Ok(Verdict::Fine);
    }
    if scope.is_some() {
        output::table(
            &["NAME", "REVISION", "TRAFFIC TYPE", "PROGRAMMED"],
            found.iter().map(|g| row(g).to_vec()),
        );
    } else {
        output::table(
            &[
                "NAMESPACE",
                "NAME",
                "REVISION",
                "TRAFFIC TYPE",
                "PROGRAMMED",
            ],
            found
                .iter()
                .map(|g| [vec![namespace_of(g)], row(g).to_vec()].concat()),
        );
    }
    Ok(Verdict::Fine)
}

/// Prints whether they take traffic.
pub(super) fn status(found: &[Value], name: Option<&str>, format: Format) -> Result<Verdict> {
    if let Some(name) = name.filter(|_| found.is_empty()) {
        bail!("there is no waypoint {name}");
    }
    if format == Format::Table {
        output::table(
            &["NAMESPACE", "NAME", "PROGRAMMED", "STATUS"],
            found.iter().map(|g| {
                let [name, _, _, state] = row(g);
                vec![namespace_of(g), name, state, programmed(g).1]
            }),
        );
    } else {
        output::value(&found, format)?;
    }
    let all = found.iter().all(|g| programmed(g).0);
    Ok(if all { Verdict::Fine } else { Verdict::Wrong })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_says_why_it_is_not_ready() {
        assert_eq!(
            programmed(&json!({})),
            (false, "no controller has looked at it".to_owned())
        );
        let pending = json!({"status": {"conditions": [
            {"type": "Programmed", "status": "False", "reason": "Pending", "message": "no pod is ready"},
        ]}});
        assert_eq!(
            programmed(&pending),
            (false, "Pending: no pod is ready".to_owned())
        );
    }
}
