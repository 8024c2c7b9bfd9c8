//! The chained CNI plugin, called as a container runtime calls it.
//! In: command, container, namespace, pod, previous result. Out: the plugin's result or its error.
//! Owns: one process per call, in the node's namespace and cgroup.
//! Spec: CNI 1.0.0, sections 2 to 5.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::launch::Place;
use crate::process::{SpawnError, Spawner, Spec};

/// How long the runtime waits for a plugin.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The plugin and its network configuration.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The plugin
    pub plugin: PathBuf,
    /// Network configuration without `prevResult`
    pub config: Value,
    /// Where it runs
    pub place: Place,
}

/// What a call is about.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// `CNI_CONTAINERID`
    pub container: String,
    /// `CNI_NETNS`
    pub netns: PathBuf,
    /// Namespace, name and uid of the pod
    pub pod: (String, String, String),
}

/// `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Join
    Add,
    /// Leave
    Del,
    /// Is all in place?
    Check,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
        }
    }
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum CniError {
    /// The plugin did not start.
    #[error("CNI plugin did not start")]
    Spawn(#[source] SpawnError),
    /// The plugin said so.
    #[error("CNI error {code}: {msg} {details}")]
    Plugin {
        /// Error code of the specification or the plugin's own; 11 is "try again later"
        code: u32,
        /// In short
        msg: String,
        /// In full
        details: String,
    },
    /// The plugin broke the protocol.
    #[error("CNI plugin broke the protocol: {0}")]
    Protocol(String),
    /// The plugin did not end.
    #[error("CNI plugin did not end within {TIMEOUT:?}")]
    Timeout,
}

#[derive(Deserialize)]
struct ErrorResult {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

impl Chain {
    /// Makes one call; `previous` is the result of the plugin before.
    ///
    /// # Errors
    /// [`CniError`].
    pub async fn call(
        &self,
        spawner: &Spawner,
        verb: Verb,
        at: &Attachment,
        previous: Option<&Value>,
    ) -> Result<Option<Value>, CniError> {
        let (namespace, name, uid) = &at.pod;
        let mut config = self.config.clone();
        if let (Some(previous), Some(config)) = (previous, config.as_object_mut()) {
            config.insert("prevResult".to_owned(), previous.clone());
        }
        let directory = self
            .plugin
            .parent()
            .unwrap_or(&self.plugin)
            .display()
            .to_string();
        let pod = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={uid}",
            at.container
        );
        let spec = Spec::new(&self.plugin, [""; 0])
            .at(self.place.clone())
            .env([
                ("CNI_COMMAND", verb.as_str().to_owned()),
                ("CNI_CONTAINERID", at.container.clone()),
                ("CNI_NETNS", at.netns.display().to_string()),
                ("CNI_IFNAME", "eth0".to_owned()),
                ("CNI_ARGS", pod),
                ("CNI_PATH", directory),
            ]);
        tokio::time::timeout(TIMEOUT, run(spawner, spec, config.to_string()))
            .await
            .map_err(|_| CniError::Timeout)?
    }
}

async fn run(spawner: &Spawner, spec: Spec, config: String) -> Result<Option<Value>, CniError> {
    let broken = |error: std::io::Error| CniError::Protocol(error.to_string());
    let mut process = spawner.spawn(spec).await.map_err(CniError::Spawn)?;
    let pipes = (
        process.child.stdin.take(),
        process.child.stdout.take(),
        process.child.stderr.take(),
    );
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = pipes else {
        return Err(CniError::Protocol("no pipes".to_owned()));
    };
    let (mut out, mut complaint) = (Vec::new(), String::new());
    let write = async move {
        // A plugin that fails early need not read its input.
        let _ = stdin.write_all(config.as_bytes()).await;
        drop(stdin);
    };
    let ((), read, complained) = tokio::join!(
        write,
        stdout.read_to_end(&mut out),
        stderr.read_to_string(&mut complaint)
    );
    read.map_err(broken)?;
    complained.map_err(broken)?;
    let status = process.wait().await.map_err(broken)?;
    if status.success() {
        if out.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        return serde_json::from_slice(&out)
            .map(Some)
            .map_err(|e| CniError::Protocol(e.to_string()));
    }
    match serde_json::from_slice::<ErrorResult>(&out) {
        Ok(error) => Err(CniError::Plugin {
            code: error.code,
            msg: error.msg,
            details: error.details,
        }),
        Err(_) => Err(CniError::Protocol(format!(
            "{status}, no error object; stdout {:?}, stderr {complaint:?}",
            String::from_utf8_lossy(&out)
        ))),
    }
}
