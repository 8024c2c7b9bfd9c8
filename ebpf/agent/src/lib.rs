//! Node agent: pods in and out of the mesh.
//! In: pods and namespaces of the source, the CNI plugin's requests, node proxies on ZDS.
//! Out: pods captured by eBPF with listeners that a proxy serves; the redirection annotation; metrics.
//! Owns: the journal, the agent's copies of listeners. The kernel owns programs, maps and links.
//! Must not happen here: a pod of the mesh that starts un-captured; a running pod cut by joining or leaving.
#![forbid(unsafe_code)]

pub mod app;
pub mod cni_server;
pub mod config;
pub mod counters;
pub mod departure;
pub mod enroll;
pub mod events;
pub mod exempt;
pub mod facts;
pub mod install;
pub mod intent;
pub mod journal;
pub mod leave;
pub mod listeners;
pub mod proxy;
pub mod reconcile;
pub mod roster;
pub mod sandbox;
pub mod selftest;
pub mod source;
pub mod status;
pub mod view;
pub mod zds;
