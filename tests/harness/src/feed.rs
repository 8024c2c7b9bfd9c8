//! From the directory to the [`Cluster`].
//! In: batches of `ambit_source`. Out: a new `Cluster` per batch, on a watch channel.
//! Owns: the watch on the directory. Bad documents are the controller's to report; they are only logged.

use std::path::Path;
use std::sync::Arc;

use ambit_crds::{Kind, Object, ObjectKey};
use ambit_source::{Batch, Change, WatchError};
use tokio::sync::watch;
use tracing::warn;

use crate::cluster::{Cluster, Key};

/// Follows `directory`. The channel has the whole content from the first change on; the returned future
/// does the following and ends when nobody listens.
///
/// # Errors
/// [`WatchError`].
pub fn follow(
    directory: &Path,
) -> Result<
    (
        watch::Receiver<Arc<Cluster>>,
        impl Future<Output = ()> + use<>,
    ),
    WatchError,
> {
    let mut source = ambit_source::watch(directory)?;
    let (publish, cluster) = watch::channel(Arc::default());
    let follow = async move {
        let mut now = Cluster::default();
        while let Ok(batch) = source.next().await {
            apply(&mut now, batch);
            if publish.send(Arc::new(now.clone())).is_err() {
                return;
            }
        }
    };
    Ok((cluster, follow))
}

/// The directory as it is now.
///
/// # Errors
/// [`WatchError`].
pub async fn read(directory: &Path) -> Result<Cluster, WatchError> {
    let mut cluster = Cluster::default();
    let batch = ambit_source::watch(directory)?.next().await?;
    apply(&mut cluster, batch);
    Ok(cluster)
}

fn apply(cluster: &mut Cluster, batch: Batch) {
    for problem in &batch.problems {
        warn!(file = %problem.file.display(), error = %problem.error, "document refused");
    }
    for change in batch.changes {
        match change {
            Change::Upsert(object) => match &*object {
                Object::Pod(pod) => {
                    cluster
                        .pods
                        .insert(key(&object.key()), Arc::new((**pod).clone()));
                }
                Object::Service(service) => {
                    cluster
                        .services
                        .insert(key(&object.key()), Arc::new((**service).clone()));
                }
                _ => {}
            },
            Change::Delete(gone) => match gone.kind {
                Kind::Pod => drop(cluster.pods.remove(&key(&gone))),
                Kind::Service => drop(cluster.services.remove(&key(&gone))),
                _ => {}
            },
        }
    }
}

fn key(object: &ObjectKey) -> Key {
    (object.namespace.to_string(), object.name.to_string())
}
