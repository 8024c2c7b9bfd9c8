//! helm, asked.
//! In: a chart, values. Out: text as helm prints it, or objects.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::{helm, workspace};

/// A helm that can be run.
pub(super) struct Helm {
    program: PathBuf,
}

/// One rendering.
pub(super) struct Request<'a> {
    /// Directory below `deploy/charts`
    pub(super) chart: &'a str,
    /// `metadata.namespace` of what is rendered
    pub(super) namespace: &'a str,
    /// Over the chart's own
    pub(super) values: &'a Value,
    /// Whether the values must be what the schema says; marks are not
    pub(super) checked: bool,
}

/// The namespace of the mesh.
pub(super) const NAMESPACE: &str = "istio-system";

impl Helm {
    /// Builds helm if need be.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            program: helm::program()?,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(workspace::root().join("deploy/charts"));
        command
    }

    /// `helm lint --strict`.
    ///
    /// # Errors
    /// What helm finds wrong.
    pub(super) fn lint(&self, chart: &str) -> Result<()> {
        let output = self
            .command()
            .args(["lint", "--strict", chart])
            .output()
            .context("helm lint")?;
        ensure!(
            output.status.success(),
            "helm lint {chart}:\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(())
    }

    /// `helm template`.
    ///
    /// # Errors
    /// What helm says against it.
    pub(super) fn template(&self, request: &Request<'_>) -> Result<String> {
        let mut command = self.command();
        command
            .args([
                "template",
                "ambit",
                request.chart,
                "--namespace",
                request.namespace,
            ])
            .args([
                "--api-versions",
                "gateway.networking.k8s.io/v1",
                "--values",
                "-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !request.checked {
            command.arg("--skip-schema-validation");
        }
        let mut child = command.spawn().context("helm template")?;
        let mut stdin = child.stdin.take().context("helm reads its values")?;
        stdin
            .write_all(request.values.to_string().as_bytes())
            .context("values for helm")?;
        drop(stdin);
        let output = child.wait_with_output().context("helm template")?;
        ensure!(
            output.status.success(),
            "helm template {}: {}",
            request.chart,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).context("helm printed no text")
    }

    /// The objects of a component, as if no helm had made them; without CustomResourceDefinitions.
    ///
    /// # Errors
    /// As [`Helm::template`].
    pub(super) fn objects(&self, request: &Request<'_>) -> Result<Vec<Value>> {
        let mut values = request.values.clone();
        if request.chart == "base" {
            values["crds"] = false.into();
            values["gatewayClasses"] = "always".into();
        }
        let text = self.template(&Request {
            values: &values,
            ..*request
        })?;
        let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("what helm rendered of {}", request.chart))?;
        objects.retain(|object| !object.is_null());
        for object in &mut objects {
            disown(object);
        }
        if request.chart == "base" {
            objects.insert(0, namespace(request.namespace));
        }
        Ok(objects)
    }
}

/// Pods that need the capabilities of node programs are refused by stricter levels.
fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/part-of": "ambit",
                "pod-security.kubernetes.io/enforce": "privileged",
                "istio.io/dataplane-mode": "none",
            },
        },
    })
}

/// Takes away the label that says helm manages the object, wherever it is.
fn disown(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(labels) = map.get_mut("labels").and_then(Value::as_object_mut) {
                labels.shift_remove("app.kubernetes.io/managed-by");
            }
            map.values_mut().for_each(disown);
        }
        Value::Array(items) => items.iter_mut().for_each(disown),
        _ => {}
    }
}

/// Values without anything.
pub(super) fn nothing() -> Value {
    Value::Object(Map::new())
}

/// Objects as one YAML text.
///
/// # Errors
/// If one cannot be written.
pub(super) fn yaml(objects: &[Value]) -> Result<String> {
    let mut text = String::from(HEADER);
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(object)?);
    }
    Ok(text)
}

/// First line of generated files.
pub(super) const HEADER: &str = "# Generated by `cargo xtask charts`.\n";
