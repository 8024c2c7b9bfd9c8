//! What this build is: version for logs, `/version`, and the `istio_build` metric.
//! Spec: `istio_build{component, tag} 1`, which dashboards use to list versions.

use ambit_api::metric_names;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    component: &'static str,
    tag: &'static str,
}

/// Registers `istio_build` for a component such as `ztunnel` or `pilot`.
pub fn register(registry: &mut Registry, component: &'static str) {
    let family = Family::<BuildLabels, Gauge>::default();
    family
        .get_or_create(&BuildLabels {
            component,
            tag: VERSION,
        })
        .set(1);
    registry.register(metric_names::BUILD, "Build of this component", family);
}
