//! What comes with an API server: who leads, who signs, what is written, the webhook.
//! In: settings, a drain. Out: [`Opened`]; tasks in the group given.

use super::{Around, Opened, rules, settings};
use crate::authority::{Anchors, Keeper, Ledger, Origin};
use crate::cluster;
use crate::cluster::classes::Classes;
use crate::cluster::leader::Candidate;
use crate::cluster::registration::Registration;
use crate::cluster::roots::{REVOKED, ROOTS, Roots};
use crate::cluster::trust_bundle::TrustBundle;
use crate::config::{ClusterConfig, ExternalConfig};
use crate::external::{External, Requests};
use crate::serve::Authority;
use crate::serve::tls::{self, TlsPort};
use crate::serve::tokens::{Reviews, Tokens};
use crate::serve::webhook::Webhook;
use crate::signing::Signer;
use crate::write::{ClusterWrites, Executor};
use ambit_runtime::tasks::TaskGroup;
use ambit_source::kubernetes::{self, Client, Kinds};
use anyhow::Context;
use std::sync::Arc;
use tokio::sync::watch;

/// Opens it, and starts what keeps its objects.
pub(super) async fn open(
    around: &Around<'_>,
    cluster: &ClusterConfig,
    tasks: &mut TaskGroup,
) -> anyhow::Result<Opened> {
    let config = around.config;
    let client = kubernetes::connect(cluster.kubeconfig.as_deref()).await?;
    let (candidate, leads) = Candidate::new(
        client.clone(),
        (&config.namespace, &config.mesh.revision),
        &cluster.pod_name,
        around.metrics.cluster.clone(),
    );
    let signer = match &cluster.external {
        Some(external) => outside(around, external, &client, tasks)?,
        None => own(around, cluster, (&client, leads.clone()), tasks).await?,
    };
    let (writes, writing) =
        ClusterWrites::new(client.clone(), leads.clone(), around.metrics.clone());
    tasks.spawn("leader", candidate.run(around.drain.clone()));
    tasks.spawn("writes", writing.run(around.drain.clone()));
    keep(around, cluster, (&client, &signer, leads), tasks);
    let authority = Arc::new(Authority {
        signer,
        tokens: Tokens::Reviews(Box::new(Reviews::new(
            client.clone(),
            around.metrics.cluster.clone(),
        ))),
        rules: rules(config),
    });
    let names = tls::names(&config.namespace, &config.mesh);
    let webhook = TlsPort::bind(cluster.webhook_addr, authority.clone(), names).await?;
    let webhook_addr = Some(webhook.local_addr());
    tasks.spawn("webhook", webhook.serve_http(Webhook, around.drain.clone()));
    Ok(Opened {
        authority,
        source: kubernetes::watch(
            client,
            Kinds::MeshAndOverlays(config.mesh.root_namespace.clone()),
        ),
        executor: Executor::Cluster(writes),
        webhook_addr,
    })
}

/// Starts what keeps objects of the cluster as they should be.
fn keep(
    around: &Around<'_>,
    cluster: &ClusterConfig,
    (client, signer, leads): (&Client, &Signer, watch::Receiver<bool>),
    tasks: &mut TaskGroup,
) {
    let config = around.config;
    let carrying = |carried| Roots {
        carried,
        client: client.clone(),
        signer: signer.clone(),
        namespaces: around.namespaces.clone(),
        leads: leads.clone(),
    };
    let (roots, revoked) = (carrying(ROOTS), carrying(REVOKED));
    let bundle = cluster.trust_bundle.then(|| TrustBundle {
        client: client.clone(),
        signer: signer.clone(),
        leads: leads.clone(),
    });
    let registration = Registration {
        client: client.clone(),
        namespace: config.namespace.clone(),
        revision: config.mesh.revision.clone(),
        signer: signer.clone(),
        leads: leads.clone(),
    };
    let classes = Classes {
        client: client.clone(),
        leads,
        holds_default: around.holds_default.clone(),
    };
    tasks.spawn("roots", roots.run(around.drain.clone()));
    tasks.spawn("revoked", revoked.run(around.drain.clone()));
    if let Some(bundle) = bundle {
        tasks.spawn("trust bundle", bundle.run(around.drain.clone()));
    }
    tasks.spawn("registration", registration.run(around.drain.clone()));
    tasks.spawn("classes", classes.run(around.drain.clone()));
}

/// An authority of our own: plugged in, or self-signed.
async fn own(
    around: &Around<'_>,
    cluster: &ClusterConfig,
    (client, leads): (&Client, watch::Receiver<bool>),
    tasks: &mut TaskGroup,
) -> anyhow::Result<Signer> {
    let config = around.config;
    let (mount, check) = (&cluster.cacerts_dir, config.authority.root_check);
    let store = cluster::authority::Store::new(client.clone(), mount, &config.namespace, check);
    let ledger = Ledger::Cluster {
        client: client.clone(),
        namespace: config.namespace.clone(),
    };
    let (keeper, signer) = Keeper::open(
        Origin::Cluster(store),
        ledger,
        settings(config),
        leads,
        around.metrics.authority.clone(),
    )
    .await?;
    tasks.spawn("authority", keeper.run(around.drain.clone()));
    Ok(signer)
}

/// One that others have.
fn outside(
    around: &Around<'_>,
    external: &ExternalConfig,
    client: &Client,
    tasks: &mut TaskGroup,
) -> anyhow::Result<Signer> {
    let authority = &around.config.authority;
    let metrics = around.metrics.external.clone();
    let (requests, queue) = Requests::new(client.clone(), external.approve, metrics);
    let signers = external.signers.clone();
    let ask = |roots: &_| External::new(queue, signers, authority.lifetimes, roots);
    let look = (authority.look, around.metrics.authority.clone());
    let (anchors, signer) = Anchors::open(&external.roots_dir, ask, look)
        .context("cannot use the authority outside")?;
    tasks.spawn("certificate requests", requests.run(around.drain.clone()));
    tasks.spawn("authority", anchors.run(around.drain.clone()));
    Ok(signer)
}
