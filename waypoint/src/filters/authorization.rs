//! Who may do what: policies of this gateway and of the service addressed, on every request and on
//! every connection of bytes.
//! In: facts of the tunnel and the head as received; the identity is the one TLS proved, never a
//! header. Out: admission, or a refusal that names the policy and the rule.
//! Must not happen here: anything let through while the gateway's own policies are not known.

use crate::downstream::Downstream;
use crate::message::line::Line;
use crate::outcome::Failure;
use crate::record::Record;
use ambit_model::authorization::PolicyAction;
use ambit_model::route::{AccessPolicy, AccessTest, Gateway, Router, Wanted};
use ambit_policy::l4::{ConnectionFacts, DryRun};
use ambit_policy::l7::{self, Denial, Evaluation, RequestFacts, Spoken, Verdict};
use http::HeaderMap;
use std::rc::Rc;
use std::sync::Arc;

/// Admits a request. Without a router nothing serves it, and only the gateway's own policies speak.
///
/// # Errors
/// [`Failure::Denied`], the denial then being in the record; [`Failure::NotConfigured`].
pub(crate) async fn request(
    record: &Rc<Record>,
    router: Option<&Router>,
    (line, headers): (&Line, &HeaderMap),
) -> Result<(), Failure> {
    let downstream = &record.downstream;
    let gateway = gateway(downstream).await.ok_or(Failure::NotConfigured)?;
    let own = router.map_or(&[][..], |router| &router.policies);
    if gateway.policies.is_empty() && own.is_empty() {
        return Ok(());
    }
    let spoken = Spoken::Request(RequestFacts {
        method: line.method.as_str(),
        authority: &line.authority,
        path: line.target.path(),
        headers,
    });
    let evaluation = evaluate((&gateway, own), &facts(downstream), spoken);
    on_trial(downstream, &evaluation.dry_run);
    match evaluation.verdict {
        Verdict::Allowed { .. } => Ok(()),
        Verdict::Denied(denial) => {
            refused(downstream, &denial);
            record.denied(denial.details());
            Err(Failure::Denied)
        }
    }
}

/// A connection of bytes that was admitted, and by what.
pub(crate) struct Admitted {
    gateway: Arc<Gateway>,
    router: Arc<Router>,
    sni: Option<String>,
}

/// Admits a connection of bytes. `sni` is asked for the server name of the client's TLS where a policy
/// wants it: that costs waiting for the client's first bytes.
///
/// # Errors
/// What is said of it, and Envoy's details of a denial.
pub(crate) async fn connection(
    downstream: &Downstream,
    sni: impl AsyncFnOnce() -> Option<String>,
) -> Result<Admitted, (Failure, Option<String>)> {
    let missing = (Failure::NotConfigured, None);
    let gateway = gateway(downstream).await.ok_or(missing.clone())?;
    let (view, port) = (downstream.worker.state.load(), downstream.local.port());
    let router = downstream.addressed.router(&view, (port, ""));
    let router = router.ok_or(missing)?;
    drop(view);
    let sni = if policies(&gateway, &router.policies).any(asks_for_sni) {
        sni().await
    } else {
        None
    };
    let admitted = Admitted {
        gateway,
        router,
        sni,
    };
    let evaluation = admitted.evaluate(downstream);
    on_trial(downstream, &evaluation.dry_run);
    match evaluation.verdict {
        Verdict::Allowed { .. } => Ok(admitted),
        Verdict::Denied(denial) => {
            refused(downstream, &denial);
            Err((Failure::Denied, Some(denial.details())))
        }
    }
}

impl Admitted {
    /// Decides again if policies or routes have changed. `Some`: no longer admitted, in Envoy's words.
    /// Configuration that is gone cuts nothing: it says nothing against the connection.
    pub(crate) fn revoked(&mut self, downstream: &Downstream) -> Option<String> {
        let view = downstream.worker.state.load();
        let gateway = view.gateway()?;
        let router = downstream
            .addressed
            .router(&view, (downstream.local.port(), ""))?;
        if Arc::ptr_eq(gateway, &self.gateway) && Arc::ptr_eq(&router, &self.router) {
            return None;
        }
        (self.gateway, self.router) = (gateway.clone(), router);
        match self.evaluate(downstream).verdict {
            Verdict::Allowed { .. } => None,
            Verdict::Denied(denial) => {
                refused(downstream, &denial);
                Some(denial.details())
            }
        }
    }

    fn evaluate(&self, downstream: &Downstream) -> Evaluation {
        let sni = self.sni.as_deref();
        let spoken = Spoken::Bytes { sni };
        evaluate(
            (&self.gateway, &self.router.policies),
            &facts(downstream),
            spoken,
        )
    }
}

/// What the policies of a gateway and of what it serves say.
fn evaluate(
    (gateway, own): (&Gateway, &[AccessPolicy]),
    facts: &ConnectionFacts,
    spoken: Spoken<'_>,
) -> Evaluation {
    l7::evaluate(policies(gateway, own), facts, spoken)
}

fn facts(downstream: &Downstream) -> ConnectionFacts {
    ConnectionFacts {
        source_ip: downstream.client.ip(),
        source_identity: downstream.identity.clone(),
        destination_ip: downstream.local.ip(),
        destination_port: downstream.local.port(),
    }
}

fn policies<'p>(
    gateway: &'p Gateway,
    own: &'p [AccessPolicy],
) -> impl Iterator<Item = &'p AccessPolicy> {
    gateway.policies.iter().chain(own)
}

/// What this gateway demands; waits while configuration is still arriving.
async fn gateway(downstream: &Downstream) -> Option<Arc<Gateway>> {
    let state = &downstream.worker.state;
    if let Some(gateway) = state.load().gateway() {
        return Some(gateway.clone());
    }
    state.wait_for(|view| view.gateway().cloned()).await
}

fn asks_for_sni(policy: &AccessPolicy) -> bool {
    let mut clauses = policy.rules.iter().flat_map(|rule| &rule.clauses);
    let is_sni = |test: &AccessTest| matches!(test.wanted, Wanted::Sni(_));
    clauses.any(|clause| clause.matches.iter().any(|m| m.tests.iter().any(is_sni)))
}

fn refused(downstream: &Downstream, denial: &Denial) {
    tracing::info!(
        src.addr = %downstream.client,
        src.identity = downstream.identity_shown(),
        dst.service = %downstream.addressed,
        policy = denial.policy.as_ref().map(tracing::field::display),
        rule = denial.rule,
        error = %denial,
        "denied by policy"
    );
}

/// Policies on trial decide nothing: they are counted, and logged where they would have refused.
fn on_trial(downstream: &Downstream, said: &[DryRun]) {
    for trial in said {
        let action = if trial.deny {
            PolicyAction::Deny
        } else {
            PolicyAction::Allow
        };
        let matched = trial.matched.is_some();
        downstream
            .worker
            .series
            .on_trial(&trial.policy, action, matched);
        if matched == trial.deny {
            tracing::info!(
                src.addr = %downstream.client,
                src.identity = downstream.identity_shown(),
                dst.service = %downstream.addressed,
                policy = %trial.policy,
                rule = trial.matched,
                "a policy on trial would not have let this through"
            );
        }
    }
}
