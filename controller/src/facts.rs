//! What serving needs to know of the objects: pods, for certificates, and accounts of gateways.
//! Published whole by the index task before the resources of the same batch; read without locks.

use ambit_ca::pods::{PodDirectory, PodFact};
use ambit_crds::Object;
use ambit_index::Index;
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Facts of one batch.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) pods: Arc<PodDirectory>,
    /// `<namespace>/<name>`.
    pub(crate) gateway_accounts: BTreeSet<String>,
    /// Namespaces that are not being deleted.
    pub(crate) namespaces: BTreeSet<String>,
    /// Objects in use, for `/debug/configz`.
    pub(crate) objects: Vec<Arc<Object>>,
}

/// Where they are published.
pub(crate) type SharedFacts = Arc<ArcSwap<Facts>>;

impl Facts {
    /// Facts of the index as it is; `pods`: the directory of pods, where it is still true.
    pub(crate) fn of(index: &Index, pods: Option<Arc<PodDirectory>>) -> Self {
        Self {
            pods: pods.unwrap_or_else(|| directory(index)),
            namespaces: namespaces(index),
            gateway_accounts: index.gateway_accounts().into_iter().collect(),
            objects: index.objects().cloned().collect(),
        }
    }
}

fn directory(index: &Index) -> Arc<PodDirectory> {
    let pods = index.pods().map(|pod| PodFact {
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        service_account: pod.service_account,
        node: pod.node,
        terminated: pod.ended,
    });
    Arc::new(PodDirectory::new(pods.collect()))
}

fn namespaces(index: &Index) -> BTreeSet<String> {
    let living = |object: &Arc<Object>| match &**object {
        Object::Namespace(namespace) if namespace.metadata.deletion_timestamp.is_none() => {
            namespace.metadata.name.clone()
        }
        _ => None,
    };
    index.objects().filter_map(living).collect()
}
