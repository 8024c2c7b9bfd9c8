//! The pods of the mesh as far as authorization needs them.
//! Built anew from the index after every batch; read without locks through an `Arc`.

use crate::caller::ServiceAccount;
use std::collections::HashMap;

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFact {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`; empty when the source gives none.
    pub uid: String,
    /// `spec.serviceAccountName`, `default` when unset.
    pub service_account: String,
    /// `spec.nodeName`; empty while unscheduled.
    pub node: String,
    /// `status.phase` is Succeeded or Failed.
    pub terminated: bool,
}

/// Pods by name and by service account.
#[derive(Debug, Default)]
pub struct PodDirectory {
    pods: Vec<PodFact>,
    by_name: HashMap<(String, String), usize>,
    by_account: HashMap<ServiceAccount, Vec<usize>>,
}

impl PodDirectory {
    /// Indexes the pods given.
    pub fn new(pods: Vec<PodFact>) -> Self {
        let mut by_name = HashMap::with_capacity(pods.len());
        let mut by_account: HashMap<ServiceAccount, Vec<usize>> = HashMap::new();
        for (i, pod) in pods.iter().enumerate() {
            by_name.insert((pod.namespace.clone(), pod.name.clone()), i);
            by_account
                .entry(ServiceAccount::new(&pod.namespace, &pod.service_account))
                .or_default()
                .push(i);
        }
        Self {
            pods,
            by_name,
            by_account,
        }
    }

    /// The pod of that name.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<&PodFact> {
        self.by_name
            .get(&(namespace.to_owned(), name.to_owned()))
            .map(|i| &self.pods[*i])
    }

    /// Every pod that runs with the account.
    pub fn by_account(&self, account: &ServiceAccount) -> impl Iterator<Item = &PodFact> {
        self.by_account
            .get(account)
            .into_iter()
            .flatten()
            .map(|i| &self.pods[*i])
    }
}
