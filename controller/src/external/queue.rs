//! Requests on their way: so many at once, so many that wait, and an owner who takes away what they leave.
//! In: what is asked. Out: what a signer wrote. Owns: the tasks of all requests; a caller that goes away does not
//! end them before their objects are deleted.

use super::request::Request;
use super::{ExternalError, ExternalMetrics};
use ambit_runtime::drain;
use ambit_runtime::tasks::TaskGroup;
use ambit_source::kubernetes::Client;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests at the same time.
const AT_ONCE: usize = 32;
/// Requests that wait for their turn.
const WAITING: usize = 256;

/// What a certificate is for, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usages {
    /// Of a workload.
    BothRoles,
    /// Of a port.
    Server,
}

impl Usages {
    /// As Istio's controller writes them.
    pub(super) fn names(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::BothRoles => &[
                "digital signature",
                "key encipherment",
                "server auth",
                "client auth",
            ],
            Self::Server => &["digital signature", "key encipherment", "server auth"],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The request, PEM.
    pub(super) csr: String,
    /// `signerName`.
    pub(super) signer: String,
    pub(super) usages: Usages,
    pub(super) lifetime: Duration,
    /// For whom, for people who read the object.
    pub(super) whose: String,
}

/// One that waits for its turn.
struct Job {
    ask: Ask,
    answer: oneshot::Sender<Result<Vec<u8>, ExternalError>>,
}

/// Where requests are put. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Job>,
    pub(super) metrics: ExternalMetrics,
}

impl Queue {
    /// Waits for what the signer says.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Vec<u8>, ExternalError> {
        let (answer, answered) = oneshot::channel();
        if let Err(full) = self.jobs.try_send(Job { ask, answer }) {
            let error = match full {
                mpsc::error::TrySendError::Full(_) => ExternalError::Busy { waiting: WAITING },
                mpsc::error::TrySendError::Closed(_) => ExternalError::Going,
            };
            self.metrics.refused(error.reason());
            return Err(error);
        }
        answered.await.unwrap_or(Err(ExternalError::Going))
    }
}

/// Carries requests out.
pub(crate) struct Requests {
    client: Client,
    /// Whether we approve them.
    approve: bool,
    jobs: mpsc::Receiver<Job>,
    metrics: ExternalMetrics,
    running: TaskGroup,
}

impl Requests {
    /// Both sides.
    pub(crate) fn new(client: Client, approve: bool, metrics: ExternalMetrics) -> (Self, Queue) {
        let (sender, jobs) = mpsc::channel(WAITING);
        let queue = Queue {
            jobs: sender,
            metrics: metrics.clone(),
        };
        let requests = Self {
            client,
            approve,
            jobs,
            metrics,
            running: TaskGroup::new("certificate requests"),
        };
        (requests, queue)
    }

    /// Runs until the drain begins and every request has its end.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        loop {
            tokio::select! {
                _ = drain.signalled() => break,
                _ = self.running.next(), if !self.running.is_empty() => {}
                job = self.jobs.recv(), if self.running.len() < AT_ONCE => match job {
                    Some(job) => self.start(job),
                    None => break,
                },
            }
        }
        self.jobs.close();
        while self.running.next().await.is_some() {}
    }

    fn start(&mut self, job: Job) {
        let Job { ask, mut answer } = job;
        if answer.is_closed() {
            self.metrics.refused("gone");
            return;
        }
        let request = Request {
            client: self.client.clone(),
            approve: self.approve,
            ask,
        };
        let metrics = self.metrics.clone();
        self.running.spawn("certificate request", async move {
            let begun = metrics.begun();
            let done = request.run(answer.closed()).await;
            begun.ended(done.as_ref().err().map(ExternalError::reason));
            // Who asked may be gone: then the object is, too.
            let _ = answer.send(done);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn ask() -> Ask {
        Ask {
            csr: String::new(),
            signer: "a.example/b".to_owned(),
            usages: Usages::Server,
            lifetime: Duration::ZERO,
            whose: String::new(),
        }
    }

    #[tokio::test]
    async fn more_than_can_wait_are_turned_away_and_nobody_waits_for_what_has_ended() {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(nowhere).unwrap();
        let (requests, queue) = Requests::new(client, true, ExternalMetrics::default());
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(queue.ask(ask()))).collect();
        for waits in &mut waiting {
            assert!(waits.now_or_never().is_none());
        }
        let refused = queue.ask(ask()).await;
        assert!(matches!(
            refused,
            Err(ExternalError::Busy { waiting: WAITING })
        ));
        drop(requests);
        for waits in waiting {
            assert!(matches!(waits.await, Err(ExternalError::Going)));
        }
        assert!(matches!(queue.ask(ask()).await, Err(ExternalError::Going)));
    }
}
