//! What plugin and agent say to each other.
//! HTTP/1.1 over a unix socket, one request per connection: `POST /cni/add`, `/cni/del` or `/cni/check`
//! with a [`Request`] as JSON. `200` means done; any other status carries a [`Refusal`].
//! Both sides refuse bodies above [`MAX_BODY`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Longest body in bytes.
pub const MAX_BODY: usize = 64 << 10;

/// Path of ADD.
pub const ADD: &str = "/cni/add";
/// Path of DEL.
pub const DEL: &str = "/cni/del";
/// Path of CHECK.
pub const CHECK: &str = "/cni/check";

/// The pod a command is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `CNI_CONTAINERID`: the sandbox.
    pub container_id: String,
    /// `CNI_NETNS`: path of the pod's network namespace; empty only for DEL.
    #[serde(default)]
    pub netns: String,
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`; some runtimes do not give it.
    #[serde(default)]
    pub uid: Option<String>,
    /// The pod's addresses, from `prevResult`.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
}

/// Why the agent did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// CNI error code, see [`crate::Code`].
    pub code: u32,
    /// Short description.
    pub msg: String,
    /// Facts.
    #[serde(default)]
    pub details: String,
}
