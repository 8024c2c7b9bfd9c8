//! What is the same for the whole mesh.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Name of the revision that objects without a name belong to.
pub const DEFAULT_REVISION: &str = "default";

/// Settings of the mesh that shape the output.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Id of the cluster, first part of every workload uid.
    pub cluster_id: String,
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// Domain of service hostnames.
    pub cluster_domain: String,
    /// Namespace whose policies apply to the whole mesh.
    pub root_namespace: String,
    /// Namespace of the control plane: its tags, and the label that names the network.
    pub system_namespace: String,
    /// Which control plane this is, of those that run beside one another.
    pub revision: String,
    /// Network of every address, unless the system namespace names one; empty for the only one.
    pub network: String,
    /// `COMPLIANCE_POLICY` of generated waypoint pods; empty: none.
    pub compliance_policy: &'static str,
    /// Image of generated waypoint pods; empty: none are generated.
    pub waypoint_image: String,
    /// What runs a waypoint.
    pub waypoints: WaypointForm,
    /// First address and prefix length of the block that generated Services get addresses from.
    pub service_block: (Ipv4Addr, u8),
    /// The same for IPv6, used where Nodes have IPv6 pod ranges.
    pub service_block_v6: (Ipv6Addr, u8),
}

/// What is generated for a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WaypointForm {
    /// A Pod on a node chosen here, and a Service with an address chosen here: nobody else schedules
    /// or assigns.
    #[default]
    Pods,
    /// A Deployment and a Service, which Kubernetes fills in. `control_plane` is where its pods find
    /// xDS and the CA, such as `https://istiod.istio-system.svc:15012`.
    Deployments {
        /// Address of the controller.
        control_plane: String,
    },
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            cluster_id: "Kubernetes".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            system_namespace: "istio-system".to_owned(),
            revision: DEFAULT_REVISION.to_owned(),
            network: String::new(),
            compliance_policy: "",
            waypoint_image: "ambit/waypoint".to_owned(),
            waypoints: WaypointForm::Pods,
            service_block: (Ipv4Addr::new(10, 96, 128, 0), 17),
            service_block_v6: (Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0x8000, 0), 112),
        }
    }
}

impl MeshConfig {
    /// `<name>.<namespace>.svc.<domain>`.
    pub(crate) fn hostname(&self, namespace: &str, name: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.cluster_domain)
    }

    /// `<namespace>/<hostname>`, the resource name of a Kubernetes Service.
    pub(crate) fn service_key(&self, namespace: &str, name: &str) -> String {
        format!("{namespace}/{}", self.hostname(namespace, name))
    }

    /// The trust domain as resources carry it: left out when it is the default.
    pub(crate) fn wire_trust_domain(&self) -> String {
        if self.trust_domain == ambit_model::ids::DEFAULT_TRUST_DOMAIN {
            String::new()
        } else {
            self.trust_domain.clone()
        }
    }
}
