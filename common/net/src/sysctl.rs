//! Network sysctls of a namespace.
//! In: a namespace and typed settings. Out: files under `<proc>/sys/net` written.
//! Owns nothing. Must not happen here: a write that reaches another namespace than the one given.
//! Spec: Documentation/networking/ip-sysctl.rst. `/proc/sys/net` shows the namespace of the thread that
//! opens it, so the write runs on a thread that has entered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::netns::Netns;

/// The settings capture needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sysctl {
    /// Accepted sockets inherit the mark of the SYN (`net.ipv4.tcp_fwmark_accept`, both families).
    TcpFwmarkAccept,
    /// Kernel replies such as RST carry the mark of the packet they answer (`net.ipv4.fwmark_reflect`).
    FwmarkReflect4,
    /// The same for IPv6 (`net.ipv6.fwmark_reflect`).
    FwmarkReflect6,
    /// Connections queued at a closing listener move to its group (`net.ipv4.tcp_migrate_req`).
    TcpMigrateReq,
}

impl Sysctl {
    /// Path below `/proc/sys`.
    pub fn path(self) -> &'static str {
        match self {
            Self::TcpFwmarkAccept => "net/ipv4/tcp_fwmark_accept",
            Self::FwmarkReflect4 => "net/ipv4/fwmark_reflect",
            Self::FwmarkReflect6 => "net/ipv6/fwmark_reflect",
            Self::TcpMigrateReq => "net/ipv4/tcp_migrate_req",
        }
    }
}

/// A sysctl could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("sysctl {name} of a network namespace")]
pub struct SysctlError {
    /// Path below `/proc/sys`.
    pub name: &'static str,
    /// Why not; `NotFound` if the kernel does not have it.
    #[source]
    pub source: io::Error,
}

/// Where to reach a writable `/proc/sys`.
#[derive(Debug, Clone)]
pub struct SysctlRoot(PathBuf);

impl SysctlRoot {
    /// `proc` is a mounted procfs: `/proc`, or `/proc/1/root/proc` in a container whose own is read-only.
    pub fn new(proc: &Path) -> Self {
        Self(proc.join("sys"))
    }

    /// Writes `value` into the namespace's setting.
    ///
    /// # Errors
    /// [`SysctlError`], also when the namespace cannot be entered.
    pub fn write(&self, netns: &Netns, sysctl: Sysctl, value: u32) -> Result<(), SysctlError> {
        let path = self.0.join(sysctl.path());
        netns
            .enter(|| fs::write(&path, value.to_string()))
            .flatten()
            .map_err(|source| SysctlError {
                name: sysctl.path(),
                source,
            })
    }

    /// Reads the namespace's setting.
    ///
    /// # Errors
    /// [`SysctlError`]; `InvalidData` if it is not a number.
    pub fn read(&self, netns: &Netns, sysctl: Sysctl) -> Result<u32, SysctlError> {
        let path = self.0.join(sysctl.path());
        netns
            .enter(|| fs::read_to_string(&path))
            .flatten()
            .and_then(|text| {
                text.trim()
                    .parse()
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
            })
            .map_err(|source| SysctlError {
                name: sysctl.path(),
                source,
            })
    }
}

impl Default for SysctlRoot {
    fn default() -> Self {
        Self::new(Path::new("/proc"))
    }
}
