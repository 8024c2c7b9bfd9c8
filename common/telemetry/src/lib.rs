//! Metrics, access log and logging set-up with the names, labels and line formats users of Istio
//! (Prometheus, Grafana, Kiali) already have.
//! In: facts of connections and requests. Out: registered collectors and log lines.
//! Owns: label sets, series, the writer thread of the log. Never blocks a data-plane worker: a full
//! queue drops a line and counts it.
//! Spec: Istio standard metrics; ztunnel access log; OpenMetrics text format.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod labels;
pub mod logging;
pub mod process;
pub mod requests;
pub mod series;
pub mod sink;
pub mod traffic;
