//! The public sample applications' manifests, unedited.
//! In: nothing. Out: the directory `samples` of Istio's repository at one commit, in Go's own cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::module::Module;

/// Istio as of 2026-08-27. Its releases are not published as modules, its commits are.
const ISTIO: Module = Module {
    path: "istio.io/istio",
    version: "v0.0.0-20260827124520-eed52ebb66ad",
    sum: "h1:ui9TJjRMAV/hb5ehQaZDq7IUGxuQP6dra9lapT/VjHI=",
};

/// Where `bookinfo/`, `curl/`, `httpbin/`, `helloworld/` are; fetched if they are not there.
///
/// # Errors
/// No Go, no network, or other content than expected.
pub fn samples() -> Result<PathBuf> {
    Ok(ISTIO.directory()?.join("samples"))
}
