//! A gateway as somebody outside the cluster uses it: by a forwarded port.
//! In: a Service. Out: answers. Owns the `kubectl port-forward`: it ends with the value.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::command::output;
use crate::site::Site;

/// Where it is reached, beside `kubectl`.
const HERE: &str = "http://127.0.0.1:8080";

/// A forwarded port.
pub(crate) struct Door<'a> {
    site: &'a Site,
    child: Child,
}

impl<'a> Door<'a> {
    /// To port 80 of a Service; it may take a moment.
    pub(crate) fn open(site: &'a Site, namespace: &str, service: &str) -> Result<Self> {
        let service = format!("service/{service}");
        let child = site
            .kubectl_command(&[
                "port-forward",
                "--namespace",
                namespace,
                &service,
                "8080:80",
            ])?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("kubectl port-forward")?;
        Ok(Self { site, child })
    }

    /// Body and status.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        self.curl(&["-w", "\n%{http_code}"], path)
    }

    /// What curl prints, with further arguments.
    pub(crate) fn curl(&self, more: &[&str], path: &str) -> Result<String> {
        let mut command: Command = self.site.beside_kubectl("curl");
        let url = format!("{HERE}{path}");
        output(
            command
                .args(["-sS", "--max-time", "10"])
                .args(more)
                .arg(&url),
        )
    }

    /// What a shell script prints in which `$door` is the address.
    pub(crate) fn script(&self, script: &str) -> Result<String> {
        let mut command: Command = self.site.beside_kubectl("sh");
        output(command.args(["-ec", script]).env("door", HERE))
    }
}

impl Drop for Door<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
