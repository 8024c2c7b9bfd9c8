//! Capture: which pods this proxy serves, and the sockets it serves them on.
//! In: ZDS messages of the agent with descriptors. Out: commands to the workers, one listener per role
//! and worker. An acknowledgement means: descriptors adopted, accept loops armed; it never waits for
//! the controller (the kubelet publishes a pod's address only after this).
//! Owns: the connection to the agent and the table of pods (control runtime).
//! Spec: `istio.workload.zds`, ARCHITECTURE.md "ZDS extension".

pub mod listeners;
pub mod message;
pub mod table;
pub mod zds;
