//! A node that the proxy leaves while the agent stays: its DaemonSet exists and wants no pod here any more.
//! In: the pods of the node, and only while none of them is a proxy the API server's word. Out: the word that
//! pods stay outside, and its end as soon as a proxy's pod is back. An upgrade is none of it: then the DaemonSet
//! wants a pod here.
//! Owns that word. Must not happen here: pods let out because nobody answers.

use std::time::Duration;

use ambit_source::kubernetes::Client;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::events::Event;
use crate::leave::place::{Place, ask};
use crate::roster::Roster;

/// What the task works with.
pub struct Departure {
    /// To the API server.
    pub client: Client,
    /// Pods of this node.
    pub roster: Roster,
    /// To the reconcile task.
    pub events: mpsc::Sender<Event>,
    /// Namespace and name of the proxy's.
    pub daemon_set: (String, String),
    /// This node.
    pub node: String,
}

impl Departure {
    /// Runs until the reconcile task is gone.
    pub async fn run(self) {
        let (namespace, name) = (self.daemon_set.0.as_str(), self.daemon_set.1.as_str());
        let mut outside = false;
        let mut ask_at = Instant::now();
        loop {
            let proxies = self.roster.has_proxies(namespace);
            let told = match proxies {
                Some(true) if outside => {
                    tracing::info!("a proxy is back: pods join the mesh again");
                    self.tell(false).await
                }
                Some(false) if !outside && ask_at <= Instant::now() => {
                    ask_at = Instant::now() + AGAIN;
                    match ask(&self.client, (namespace, name), &self.node).await {
                        Place::Unwanted => {
                            tracing::warn!(
                                "no proxy is wanted on this node: its pods leave the mesh"
                            );
                            self.tell(true).await
                        }
                        Place::Wanted | Place::Gone | Place::Unknown(_) => Ok(outside),
                    }
                }
                _ => Ok(outside),
            };
            match told {
                Ok(now) => outside = now,
                Err(_) => return,
            }
            sleep(LOOK).await;
        }
    }

    async fn tell(&self, outside: bool) -> Result<bool, mpsc::error::SendError<Event>> {
        self.roster.set_outside(outside);
        self.events.send(Event::Outside(outside)).await?;
        Ok(outside)
    }
}

/// A look at what is known costs nothing.
const LOOK: Duration = Duration::from_secs(1);
/// A question does.
const AGAIN: Duration = Duration::from_secs(15);
