//! What serving needs to know of the objects: pods, for certificates, and accounts of gateways.
//! Published whole by the index task before the resources of the same batch; read without locks. What a batch
//! does not touch is shared with the facts before it.

use ambit_ca::pods::{PodDirectory, PodFact};
use ambit_crds::{Kind, Object, ObjectKey};
use ambit_index::{Change, Index};
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Facts of one batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) pods: Arc<PodDirectory>,
    /// `<namespace>/<name>`.
    pub(crate) gateway_accounts: Arc<BTreeSet<String>>,
    /// Namespaces that are not being deleted.
    pub(crate) namespaces: Arc<BTreeSet<String>>,
    /// Network of everything that does not say another.
    pub(crate) network: Arc<str>,
    /// Objects in use, for `/debug/configz`.
    pub(crate) objects: Arc<[ObjectKey]>,
}

/// Where they are published.
pub(crate) type SharedFacts = Arc<ArcSwap<Facts>>;

/// Which facts a batch touches.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Touched {
    pods: bool,
    namespaces: bool,
    objects: bool,
}

impl Touched {
    /// Looks at a batch before it is applied.
    pub(crate) fn by(changes: &[Change], index: &Index) -> Self {
        let mut touched = Self::default();
        for change in changes {
            let (key, stays) = match change {
                Change::Upsert(object) => (object.key(), true),
                Change::Delete(key) => (key.clone(), false),
            };
            touched.pods |= index.changes_identities(change);
            touched.namespaces |= key.kind == Kind::Namespace;
            touched.objects |= index.object(&key).is_some() != stays;
        }
        touched
    }
}

impl Facts {
    /// Facts of the index after a batch, which touched these of the facts before.
    pub(crate) fn of(index: &Index, before: &Self, touched: Touched) -> Self {
        let mut facts = before.clone();
        if touched.pods {
            facts.pods = directory(index);
        }
        // Their pods decide it, too.
        if *facts.gateway_accounts != *index.gateway_accounts() {
            facts.gateway_accounts = Arc::new(index.gateway_accounts().clone());
        }
        if touched.namespaces {
            facts.namespaces = Arc::new(namespaces(index));
        }
        if *facts.network != *index.network() {
            facts.network = index.network().into();
        }
        if touched.objects {
            facts.objects = index.objects().map(|object| object.key()).collect();
        }
        facts
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
