//! Labels and annotations, as Istio names them.

/// Namespace or Pod: `ambient` joins the mesh, `none` stays out.
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
/// Pod annotation written by the agent: `enabled` or `pending`.
pub const REDIRECTION: &str = "ambient.istio.io/redirection";
/// Name of the Gateway that is the waypoint; `none` opts out.
pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Name of a second Gateway, which takes a part of a service's connections.
pub const USE_WAYPOINT_CANARY: &str = "istio.io/use-waypoint-canary";
/// Namespace of that second Gateway.
pub const USE_WAYPOINT_CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
/// Annotation: how many of a hundred connections it takes.
pub const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";
/// Namespace of that Gateway.
pub const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Gateway: `service`, `workload`, `all` or `none`.
pub const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
/// Generated pods: the Gateway they serve.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Generated pods: its class.
pub const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
/// Generated objects: who manages them.
pub const MANAGED: &str = "gateway.istio.io/managed";
/// Value of [`MANAGED`] on waypoints; Kiali looks for it.
pub const MANAGED_WAYPOINT: &str = "istio.io-mesh-controller";
/// Telemetry name of a workload.
pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
/// Telemetry version of a workload.
pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
/// Telemetry workload name.
pub const WORKLOAD_NAME: &str = "service.istio.io/workload-name";
/// Pod annotation: overrides DNS capture.
pub const DNS_CAPTURE: &str = "ambient.istio.io/dns-capture";
/// Pod annotation: interfaces, separated by commas, whose traffic counts as the pod's own.
pub const REROUTE_VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
/// Pod annotation: outbound capture only.
pub const BYPASS_INBOUND_CAPTURE: &str = "ambient.istio.io/bypass-inbound-capture";
/// Pod label: `http` means the pod terminates HBONE itself.
pub const TUNNEL: &str = "networking.istio.io/tunnel";
/// Service annotation: namespaces, separated by commas, from which routes may lead to it; `.` is its own.
pub const EXPORT_TO: &str = "networking.istio.io/exportTo";
/// Which control plane acts on an object, a Gateway or the Gateways of a namespace: a revision or a tag.
pub const REVISION: &str = "istio.io/rev";
/// Service of the system namespace: another name of the revision in its [`REVISION`].
pub const TAG: &str = "istio.io/tag";
/// Namespace of the control plane: network of the cluster.
pub const NETWORK: &str = "topology.istio.io/network";
/// Node label.
pub const REGION: &str = "topology.kubernetes.io/region";
/// Node label.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Node label.
pub const SUBZONE: &str = "topology.istio.io/subzone";
