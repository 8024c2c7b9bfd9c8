//! Requests of the CNI plugin.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ambit_cni::Code;
use ambit_cni::wire::{Refusal, Request};
use ambit_net::Netns;
use tokio::time::Instant;

use super::Reconciler;
use crate::enroll::pod::{Pod, Waiting};
use crate::events::{CniCall, CniCommand};
use crate::intent::{Intent, PodFacts, virtual_interfaces};
use crate::journal::Entry;
use ambit_runtime::causes::causes;

impl Reconciler {
    pub(super) async fn cni(&mut self, call: CniCall) {
        match call.command {
            CniCommand::Add => self.add(call, Instant::now() + PATIENCE).await,
            CniCommand::Del => {
                self.del(&call.request).await;
                self.counters.cni("del", "done");
                let _ = call.reply.send(Ok(()));
            }
            CniCommand::Check => {
                let checked = self.check(&call.request);
                self.counters
                    .cni("check", if checked.is_ok() { "done" } else { "refused" });
                let _ = call.reply.send(checked);
            }
        }
    }

    /// Tries the ADDs again whose pods the source had not told of.
    pub(super) async fn retry_unborn(&mut self) {
        for (call, deadline) in std::mem::take(&mut self.unborn) {
            self.add(call, deadline).await;
        }
    }

    pub(super) fn refuse(&self, call: CniCall, refusal: Refusal) {
        tracing::warn!(
            workload = %format_args!("{}/{}", call.request.namespace, call.request.name),
            reason = %refusal.msg, details = %refusal.details, "cni add refused"
        );
        self.counters.cni("add", "refused");
        let _ = call.reply.send(Err(refusal));
    }

    async fn add(&mut self, call: CniCall, deadline: Instant) {
        let request = &call.request;
        let Some(facts) = self
            .seen
            .pod(&request.namespace, &request.name, request.uid.as_deref())
        else {
            if deadline <= Instant::now() {
                let details = format!("{}/{}", request.namespace, request.name);
                self.refuse(call, try_again("the pod is not known yet", &details));
            } else {
                self.unborn.push((call, deadline));
            }
            return;
        };
        let intent = self.seen.intent(&facts, &self.excluded);
        let admitted = match self.record(request, facts, intent).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(call, refusal),
        };
        let Some(slot) = admitted else {
            self.counters.cni("add", "done");
            let _ = call.reply.send(Ok(()));
            return;
        };
        if let Some(pod) = self.pods.get_mut(&slot) {
            pod.waiting = Some(Waiting {
                reply: call.reply,
                deadline,
            });
        }
        self.advance(slot).await;
    }

    /// Makes or finds the pod's record. `None`: there is nothing to enroll ever, it shares the node's network.
    async fn record(
        &mut self,
        request: &Request,
        facts: PodFacts,
        intent: Intent,
    ) -> Result<Option<u32>, Refusal> {
        let path = PathBuf::from(&request.netns);
        let broken = |error: &dyn std::error::Error| Refusal {
            code: Code::Io as u32,
            msg: "the pod's network namespace cannot be used".into(),
            details: causes(error),
        };
        let netns = Netns::open(&path).map_err(|error| broken(&error))?;
        let cookie = netns.cookie().map_err(|error| broken(&error))?;
        if cookie == self.node_cookie {
            return Ok(None);
        }
        let uid = uid_of(request, &facts);
        if let Some(slot) = self.same_sandbox(&uid, cookie).await {
            return Ok(Some(slot));
        }
        let slot = self
            .free_slot()
            .ok_or_else(|| try_again("no slot is free on this node", &uid))?;
        let inode = netns.inode();
        let virtual_interfaces = virtual_interfaces(&facts);
        let entry = Entry {
            uid,
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            service_account: facts.service_account,
            container_id: request.container_id.clone(),
            netns: path,
            inode: (inode.dev, inode.ino),
            cookie,
            slot: slot.number(),
            ips: if request.ips.is_empty() {
                facts.ips
            } else {
                request.ips.clone()
            },
        };
        self.journal
            .write(&entry)
            .map_err(|error| try_again("the agent cannot write its journal", &causes(&error)))?;
        let mut pod = Pod::new(entry, slot, Arc::new(netns));
        pod.intent = Some(intent);
        pod.virtual_interfaces = virtual_interfaces;
        self.pods.insert(slot.number(), pod);
        Ok(Some(slot.number()))
    }

    /// The record of this sandbox, if the runtime repeats itself. Other sandboxes of the pod are dropped.
    async fn same_sandbox(&mut self, uid: &str, cookie: u64) -> Option<u32> {
        let of_pod: Vec<(u32, bool)> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.entry.uid == uid || pod.entry.cookie == cookie)
            .map(|(slot, pod)| {
                (
                    *slot,
                    pod.entry.uid == uid && pod.entry.cookie == cookie && !pod.gone,
                )
            })
            .collect();
        let mut same = None;
        for (slot, is_same) in of_pod {
            if is_same {
                same = Some(slot);
            } else if let Some(pod) = self.pods.get_mut(&slot) {
                pod.gone = true;
                self.advance(slot).await;
            }
        }
        same
    }

    async fn del(&mut self, request: &Request) {
        let sandbox = self
            .pods
            .values_mut()
            .find(|pod| pod.entry.container_id == request.container_id);
        let Some(pod) = sandbox else { return };
        pod.gone = true;
        let slot = pod.entry.slot;
        self.advance(slot).await;
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let found = self
            .pods
            .values()
            .find(|pod| pod.entry.container_id == request.container_id);
        let wrong = |details: &str| Refusal {
            code: Code::NotAsAdded as u32,
            msg: "the pod is not as ADD left it".into(),
            details: details.into(),
        };
        match found {
            Some(pod) if matches!(pod.intent, Some(Intent::Enroll(_))) && !pod.actual.enrolled => {
                Err(wrong(pod.error.as_deref().unwrap_or("not enrolled yet")))
            }
            Some(pod) if pod.sandbox_is_gone() => Err(wrong("the network namespace is another")),
            Some(_) => Ok(()),
            None => Err(wrong("the agent does not know the sandbox")),
        }
    }
}

pub(super) fn try_again(msg: &str, details: &str) -> Refusal {
    Refusal {
        code: Code::TryAgain as u32,
        msg: msg.into(),
        details: details.into(),
    }
}

fn uid_of(request: &Request, facts: &PodFacts) -> String {
    match &request.uid {
        Some(uid) => uid.clone(),
        None if !facts.uid.is_empty() => facts.uid.clone(),
        None => format!("{}/{}", request.namespace, request.name),
    }
}

/// How long an ADD may wait for the source and a proxy; the plugin waits ten seconds.
const PATIENCE: Duration = Duration::from_secs(8);
