//! Metric names users' dashboards know. Counters are named without `_total`, which the encoder adds.

/// TCP connections opened (counter).
pub const TCP_OPENED: &str = "istio_tcp_connections_opened";
/// TCP connections closed (counter).
pub const TCP_CLOSED: &str = "istio_tcp_connections_closed";
/// Bytes from server to client (counter).
pub const TCP_SENT: &str = "istio_tcp_sent_bytes";
/// Bytes from client to server (counter).
pub const TCP_RECEIVED: &str = "istio_tcp_received_bytes";
/// Connections that failed (counter).
pub const TCP_FAILED: &str = "istio_tcp_connections_failed";
/// Open sockets (gauge).
pub const TCP_SOCKETS: &str = "istio_tcp_sockets_open";
/// Requests (counter).
pub const REQUESTS: &str = "istio_requests";
/// Request duration in milliseconds (histogram).
pub const REQUEST_DURATION: &str = "istio_request_duration_milliseconds";
/// Request size in bytes (histogram).
pub const REQUEST_BYTES: &str = "istio_request_bytes";
/// Response size in bytes (histogram).
pub const RESPONSE_BYTES: &str = "istio_response_bytes";
/// Build facts (gauge, always 1).
pub const BUILD: &str = "istio_build";
/// DNS requests (counter).
pub const DNS_REQUESTS: &str = "istio_dns_requests";
/// DNS requests sent upstream (counter).
pub const DNS_UPSTREAM_REQUESTS: &str = "istio_dns_upstream_requests";
/// DNS requests that failed upstream (counter).
pub const DNS_UPSTREAM_FAILURES: &str = "istio_dns_upstream_failures";
/// xDS messages by type URL (counter).
pub const XDS_MESSAGES: &str = "istio_xds_message";
/// xDS message bytes by type URL (counter).
pub const XDS_MESSAGE_BYTES: &str = "istio_xds_message_bytes";
/// xDS stream ends by reason (counter).
pub const XDS_TERMINATIONS: &str = "istio_xds_connection_terminations";
/// Peers refused because a certificate of theirs is revoked (counter).
pub const PEERS_REVOKED: &str = "ambit_peers_revoked";
/// Pods the node proxy serves (gauge).
pub const ACTIVE_PROXIES: &str = "workload_manager_active_proxy_count";
/// Pods waiting to be served (gauge).
pub const PENDING_PROXIES: &str = "workload_manager_pending_proxy_count";
/// Pods started since start (counter).
pub const PROXIES_STARTED: &str = "workload_manager_proxies_started";
/// Pods stopped since start (counter).
pub const PROXIES_STOPPED: &str = "workload_manager_proxies_stopped";
