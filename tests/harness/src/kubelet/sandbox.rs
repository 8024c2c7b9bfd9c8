//! A pod's sandbox: namespace, cgroup, resolver file, the CNI chain run over it.
//! In: a pod and its node. Out: a [`Sandbox`], or why there is none; everything half-made is removed.
//! Owns: what it made, until [`Sandbox::remove`].

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::PoisonError;

use serde_json::Value;
use thiserror::Error;
use tracing::warn;

use crate::cgroup::{self, CgroupError};
use crate::cluster::PodView;
use crate::dns::zone::resolv_conf;
use crate::families::Families;
use crate::launch::Place;
use crate::names::NetnsName;
use crate::network::NetworkError;
use crate::network::pod::{self, PodLink};

use super::cni::{Attachment, CniError, Verb};
use super::node::Node;

/// Why there is no sandbox.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// No address left.
    #[error("no free pod address on {0}")]
    Addresses(String),
    /// Namespace or link.
    #[error("network of the pod")]
    Network(#[source] NetworkError),
    /// cgroup.
    #[error("cgroup of the pod")]
    Cgroup(#[source] CgroupError),
    /// Resolver file.
    #[error("resolver file {path}")]
    Resolver {
        /// The file
        path: PathBuf,
        /// Why
        #[source]
        source: std::io::Error,
    },
    /// The chain refused.
    #[error("network plugin")]
    Cni(#[source] CniError),
}

/// A pod's place to run.
pub struct Sandbox {
    /// Where its processes go
    pub place: Place,
    /// Its addresses, the primary one first
    pub addresses: Vec<IpAddr>,
    link: Option<PodLink>,
    attachment: Attachment,
    result: Option<Value>,
}

impl Sandbox {
    /// Makes the sandbox; attempt number `attempt` gets a namespace of its own.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn create(node: &Node, pod: PodView<'_>, attempt: u32) -> Result<Self, SandboxError> {
        let uid = pod.uid();
        let resolver = node.dir.join(format!("{uid}.resolv.conf"));
        std::fs::write(
            &resolver,
            resolv_conf(pod.namespace(), node.families.nameserver()),
        )
        .map_err(|source| SandboxError::Resolver {
            path: resolver.clone(),
            source,
        })?;
        let cgroup = node.kubepods().join(&uid);
        cgroup::create(&cgroup).map_err(SandboxError::Cgroup)?;
        let mut sandbox = Self {
            place: Place {
                netns: None,
                cgroup: Some(cgroup),
                resolv: Some(resolver),
                parent: None,
            },
            addresses: node.families.node(node.number),
            link: None,
            attachment: Attachment {
                container: format!("{}-{attempt}", uid.replace('-', "")),
                netns: node.netns.path(),
                pod: (
                    pod.namespace().to_owned(),
                    pod.name().to_owned(),
                    uid.clone(),
                ),
            },
            result: None,
        };
        let joined = if pod.host_network() {
            sandbox.place.netns = Some(node.netns.path());
            Ok(())
        } else {
            sandbox
                .join(node, (&uid, pod.families(node.families)), attempt)
                .await
        };
        match joined {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                sandbox.remove(node).await;
                Err(error)
            }
        }
    }

    async fn join(
        &mut self,
        node: &Node,
        (uid, families): (&str, Families),
        attempt: u32,
    ) -> Result<(), SandboxError> {
        let taken = node
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let host = taken.ok_or_else(|| SandboxError::Addresses(node.name.clone()))?;
        let short: String = uid
            .chars()
            .filter(char::is_ascii_hexdigit)
            .take(9)
            .collect();
        let link = PodLink {
            node: node.number,
            node_netns: node.netns.clone(),
            pod_netns: node
                .lab
                .netns(&format!("{}-{short}-{attempt}", node.number.short())),
            host_interface: format!("v{short}{}", attempt % 1000),
            host,
            families,
            of_node: node.families,
        };
        self.addresses = link.addresses();
        self.place.netns = Some(link.pod_netns.path());
        self.attachment.netns = link.pod_netns.path();
        self.link = Some(link.clone());
        let made = blocking(move || {
            pod::create(&link)?;
            pod::result(&link)
        });
        let result = made.await.map_err(SandboxError::Network)?;
        self.result = Some(result.clone());
        if let Some(chain) = &node.chain {
            let answer = chain
                .call(&node.spawner, Verb::Add, &self.attachment, Some(&result))
                .await;
            self.result = Some(answer.map_err(SandboxError::Cni)?.unwrap_or(result));
        }
        Ok(())
    }

    /// Asks the chain whether all is in place.
    ///
    /// # Errors
    /// The plugin's answer.
    pub async fn check(&self, node: &Node) -> Result<(), CniError> {
        match &node.chain {
            Some(chain) if self.link.is_some() => chain
                .call(
                    &node.spawner,
                    Verb::Check,
                    &self.attachment,
                    self.result.as_ref(),
                )
                .await
                .map(drop),
            _ => Ok(()),
        }
    }

    /// Leaves the network and removes everything; failures are logged, the rest is still removed.
    pub async fn remove(&mut self, node: &Node) {
        if let Some(link) = self.link.take() {
            if let Some(chain) = &node.chain {
                let left = chain
                    .call(
                        &node.spawner,
                        Verb::Del,
                        &self.attachment,
                        self.result.as_ref(),
                    )
                    .await;
                if let Err(error) = left {
                    warn!(error = &error as &dyn std::error::Error, "CNI DEL failed");
                }
            }
            let host = link.host;
            if let Err(error) = blocking(move || pod::remove(&link)).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "pod network not removed"
                );
            }
            node.addresses
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .give_back(host);
        }
        if let Some(cgroup) = self.place.cgroup.take() {
            let removed = tokio::task::spawn_blocking(move || cgroup::remove(&cgroup)).await;
            if let Ok(Err(error)) = removed {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "pod cgroup not removed"
                );
            }
        }
        if let Some(resolver) = self.place.resolv.take() {
            let _ = std::fs::remove_file(resolver);
        }
    }

    /// The pod's namespace, if it has one of its own.
    pub fn netns(&self) -> Option<&NetnsName> {
        self.link.as_ref().map(|link| &link.pod_netns)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let lost = || {
        NetworkError::Enter(crate::netns::EnterError::Thread {
            path: "pod".to_owned(),
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| lost())?
}
