//! What we tell the other side about a pod, for its metric labels.

use ambit_hbone::wire::Baggage;
use ambit_model::workload::Workload;

/// `baggage` of a workload.
pub fn of(workload: &Workload) -> Baggage {
    let name = &workload.workload_name;
    Baggage {
        cluster: (&*workload.cluster_id).into(),
        namespace: (&*workload.namespace).into(),
        workload: (!name.is_empty()).then(|| (workload.workload_type, (&**name).into())),
        service: (&*workload.canonical.name).into(),
        version: (&*workload.canonical.revision).into(),
        region: (&*workload.locality.region).into(),
        zone: (&*workload.locality.zone).into(),
    }
}
