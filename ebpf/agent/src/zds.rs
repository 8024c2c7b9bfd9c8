//! ZDS: the agent's side of the socket on which node proxies learn of pods.
//! In: proxies that connect, `Command`s of the reconcile task. Out: `Event`s about proxies and their answers.
//! Owns: the listening socket and one task per connection. One message in flight per connection.
//! Must not happen here: a descriptor sent twice in one message, a wait without deadline.
//! Spec: `istio.workload.zds` (common/api/proto/zds.proto), Ambit's extension in fields 100.

mod server;
mod session;
mod wire;

pub use server::{ServeError, Server};
