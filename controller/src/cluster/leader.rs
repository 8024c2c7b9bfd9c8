//! One replica at a time writes: it holds a Lease and renews it. xDS and certificates are everyone's.
//! In: the Lease. Out: whether we lead. A leader that cannot renew stops to be one before any other
//! replica may take over; one that drains lets go at once.
//! Spec: coordination.k8s.io/v1 Lease, as client-go's leader election uses it.

use super::MANAGER;
use crate::config::of_revision;
use crate::metrics::cluster::ClusterMetrics;
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use ambit_source::kubernetes::Client;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::PostParams;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Name of the Lease; each revision has its own.
const NAME: &str = "ambit-controller-leader";
/// A Lease that nobody renewed for this long may be taken.
const LEASE: Duration = Duration::from_secs(15);
/// A leader that could not renew for this long is none. A round later it is still no 15 s.
const RENEW_DEADLINE: Duration = Duration::from_secs(8);
const RETRY: Duration = Duration::from_secs(2);
/// A request that takes longer is given up, so that the deadlines above are kept.
const REQUEST: Duration = Duration::from_secs(4);

/// Stands for election.
pub(crate) struct Candidate {
    api: Api<Lease>,
    namespace: String,
    /// Name of the Lease.
    name: String,
    /// Name of this replica.
    me: String,
    leads: watch::Sender<bool>,
    /// The Lease as it was seen last, and since when it looks like that.
    seen: Option<(Seen, Instant)>,
    /// When our last renewal was asked for.
    renewed: Option<Instant>,
    metrics: ClusterMetrics,
}

/// What tells one renewal from the next.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    holder: Option<String>,
    renewed: Option<Timestamp>,
    version: Option<String>,
}

/// What to do about the Lease as it is.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// Nobody holds it, or its holder is gone, or it is ours.
    Take,
    /// Somebody else leads.
    Wait,
}

impl Candidate {
    /// A candidate, and whether it leads.
    pub(crate) fn new(
        client: Client,
        (namespace, revision): (&str, &str),
        me: &str,
        metrics: ClusterMetrics,
    ) -> (Self, watch::Receiver<bool>) {
        let (leads, receiver) = watch::channel(false);
        let candidate = Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: of_revision(NAME, revision),
            me: me.to_owned(),
            leads,
            seen: None,
            renewed: None,
            metrics,
        };
        (candidate, receiver)
    }

    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        loop {
            let now = Instant::now();
            match timeout(REQUEST, self.round()).await {
                Ok(Ok(true)) => {
                    self.renewed = Some(now);
                    self.set(true);
                }
                Ok(Ok(false)) => {
                    self.renewed = None;
                    self.set(false);
                }
                Ok(Err(error)) => {
                    self.metrics.lease_errors.inc();
                    let error = causes(&error);
                    tracing::warn!(%error, "the Lease cannot be read or renewed");
                }
                Err(_) => {
                    self.metrics.lease_errors.inc();
                    tracing::warn!("no answer about the Lease");
                }
            }
            // Looked at once a round: the next look still is before the Lease runs out.
            if self.renewed.is_none_or(|at| at.elapsed() > RENEW_DEADLINE) {
                self.set(false);
            }
            tokio::select! {
                _ = drain.signalled() => break,
                () = sleep(RETRY) => {}
            }
        }
        let led = *self.leads.borrow();
        self.set(false);
        if led && timeout(REQUEST, self.release()).await.is_err() {
            tracing::debug!("the Lease runs out by itself");
        }
    }

    fn set(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|now| {
            let changed = *now != leads;
            *now = leads;
            changed
        });
        if changed {
            self.metrics.leads(leads);
            let replica = &self.me;
            tracing::info!(leads, replica, "leadership changed");
        }
    }

    /// Whether we hold the Lease now.
    async fn round(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease = self.lease(None, Timestamp::now());
            let made = self.api.create(&PostParams::default(), &lease).await;
            return held(made);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let seen = Seen {
            holder: spec.holder_identity.clone(),
            renewed: spec.renew_time.as_ref().map(|t| t.0),
            version: lease.metadata.resource_version.clone(),
        };
        // Clocks of replicas differ: age is how long we have seen no renewal ourselves.
        let since = match &self.seen {
            Some((same, since)) if *same == seen => *since,
            _ => Instant::now(),
        };
        self.seen = Some((seen, since));
        if verdict(&spec, &self.me, since.elapsed()) == Move::Wait {
            return Ok(false);
        }
        let wanted = self.lease(Some(&lease), Timestamp::now());
        let done = self
            .api
            .replace(&self.name, &PostParams::default(), &wanted)
            .await;
        held(done)
    }

    /// The Lease as ours.
    fn lease(&self, before: Option<&Lease>, now: Timestamp) -> Lease {
        let mut lease = before.cloned().unwrap_or_default();
        lease.metadata.managed_fields = None;
        lease.metadata.name = Some(self.name.clone());
        lease.metadata.namespace = Some(self.namespace.clone());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_ref() != Some(&self.me) {
            spec.holder_identity = Some(self.me.clone());
            spec.acquire_time = Some(MicroTime(now));
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count + 1));
        }
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        spec.renew_time = Some(MicroTime(now));
        lease
    }

    async fn release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else {
            return;
        };
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_ref() != Some(&self.me) {
            return;
        }
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        lease.metadata.managed_fields = None;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        if let Err(error) = self.api.replace(&self.name, &params, &lease).await {
            tracing::debug!(error = %causes(&error), "the Lease was not released");
        }
    }
}

/// Whether a write of the Lease made it ours: a conflict means somebody else was first.
fn held(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// What to do about a Lease that has looked like this for `unchanged`.
fn verdict(spec: &LeaseSpec, me: &str, unchanged: Duration) -> Move {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() || holder == me {
        return Move::Take;
    }
    let lasts = spec
        .lease_duration_seconds
        .and_then(|s| u64::try_from(s).ok());
    match unchanged > lasts.map_or(LEASE, Duration::from_secs) {
        true => Move::Take,
        false => Move::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_only_when_its_holder_let_it_run_out() {
        let spec = |holder: &str, seconds| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        };
        let after = Duration::from_secs;
        assert_eq!(verdict(&LeaseSpec::default(), "me", after(0)), Move::Take);
        assert_eq!(verdict(&spec("", 15), "me", after(0)), Move::Take);
        assert_eq!(verdict(&spec("me", 15), "me", after(0)), Move::Take);
        assert_eq!(verdict(&spec("you", 15), "me", after(15)), Move::Wait);
        assert_eq!(verdict(&spec("you", 15), "me", after(16)), Move::Take);
        assert_eq!(verdict(&spec("you", -1), "me", after(15)), Move::Wait);
    }
}
