//! Rules, routes, links and addresses of a namespace.
//! In: a namespace and typed requests. Out: the kernel's tables changed or listed; address events.
//! Owns: one netlink socket made inside the namespace and the task that reads it, ended with the handle.
//! Must not happen here: a decision which rules a pod needs.
//! Spec: rtnetlink(7); linux/fib_rules.h, linux/rtnetlink.h.

mod addresses;
mod changes;
mod routes;

pub use addresses::LinkAddress;
pub use changes::{Change, Changes};
pub use routes::{Family, LocalRoute, Packets, Rule, Target};

use std::io;

use futures::StreamExt;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};
use tokio::task::JoinSet;

use crate::netns::Netns;

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be made inside the namespace.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel said no.
    #[error("netlink: {what}")]
    Refused {
        /// The request.
        what: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The answer was not understood or the socket broke.
    #[error("netlink: {what}: {problem}")]
    Protocol {
        /// The request.
        what: String,
        /// What went wrong.
        problem: String,
    },
    /// There is no such device.
    #[error("no network device {name}")]
    NoDevice {
        /// Its name.
        name: String,
    },
}

impl NetlinkError {
    /// The kernel's errno, if it gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    fn from_rtnetlink(what: impl Into<String>, error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::Refused {
                what: what.into(),
                source: message.to_io(),
            },
            other => Self::Protocol {
                what: what.into(),
                problem: other.to_string(),
            },
        }
    }
}

/// A netlink socket inside one namespace. Dropping it ends its task.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    _reader: JoinSet<()>,
}

impl Netlink {
    /// Opens the socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn open(netns: &Netns) -> Result<Self, NetlinkError> {
        let (connection, handle, _) = netns
            .enter(rtnetlink::new_connection)
            .flatten()
            .map_err(NetlinkError::Open)?;
        let mut reader = JoinSet::new();
        reader.spawn(connection);
        Ok(Self {
            handle,
            _reader: reader,
        })
    }

    /// The index of the device `name`.
    ///
    /// # Errors
    /// [`NetlinkError::NoDevice`] and others.
    pub async fn link_index(&self, name: &str) -> Result<u32, NetlinkError> {
        let what = format!("get link {name}");
        let mut found = std::pin::pin!(self.handle.link().get().match_name(name).execute());
        match found.next().await {
            Some(Ok(link)) => Ok(link.header.index),
            Some(Err(rtnetlink::Error::NetlinkError(message)))
                if message.raw_code() == -libc::ENODEV =>
            {
                Err(NetlinkError::NoDevice { name: name.into() })
            }
            Some(Err(error)) => Err(NetlinkError::from_rtnetlink(what, error)),
            None => Err(NetlinkError::NoDevice { name: name.into() }),
        }
    }

    /// Sets the device up.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn link_up(&self, name: &str) -> Result<(), NetlinkError> {
        let index = self.link_index(name).await?;
        let message = LinkMessageBuilder::<LinkUnspec>::new()
            .index(index)
            .up()
            .build();
        self.handle
            .link()
            .set(message)
            .execute()
            .await
            .map_err(|error| NetlinkError::from_rtnetlink(format!("set {name} up"), error))
    }

    /// Whether the device is up.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn is_up(&self, name: &str) -> Result<bool, NetlinkError> {
        let what = "list links";
        let mut links = std::pin::pin!(self.handle.link().get().execute());
        while let Some(link) = links.next().await {
            let link = link.map_err(|error| NetlinkError::from_rtnetlink(what, error))?;
            let same = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::IfName(found) if found == name);
            if link.attributes.iter().any(same) {
                return Ok(link.header.flags.contains(LinkFlags::Up));
            }
        }
        Err(NetlinkError::NoDevice { name: name.into() })
    }
}

#[cfg(test)]
mod tests;
