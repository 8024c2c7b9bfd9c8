//! The helloworld, httpbin and tcp-echo samples: what they are made of.
//! In: HTTP/1.1 and cleartext HTTP/2 requests, or lines. Out: answers of one function per sample.
//! Owns: the listeners and connections, ended by SIGTERM.
//! Never here: anything about the mesh; the samples must not know whether they are in one.
//! Spec: Istio's helloworld and tcp-echo samples; the public httpbin's paths and JSON.
#![forbid(unsafe_code)]

pub mod hello;
pub mod httpbin;
pub mod request;
pub mod server;
pub mod tcp_echo;
