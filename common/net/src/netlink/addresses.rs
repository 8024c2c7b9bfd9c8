//! Addresses of a namespace: listing and changes.

use std::io;
use std::net::IpAddr;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::SocketAddr as NetlinkAddr;
use tokio::task::JoinSet;

use super::{Netlink, NetlinkError};
use crate::netns::Netns;

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkAddress {
    /// Index of the device.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
    /// Valid everywhere, as opposed to link-local and host scope.
    pub global: bool,
}

/// An address came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChange {
    /// It was added or changed.
    Added(LinkAddress),
    /// It was removed.
    Removed(LinkAddress),
}

impl AddressChange {
    /// The address that came or went.
    pub fn address(&self) -> LinkAddress {
        match self {
            Self::Added(address) | Self::Removed(address) => *address,
        }
    }
}

/// Changes of the addresses of one namespace. Changes the kernel could not queue end the stream:
/// list again and open a new one.
#[derive(Debug)]
pub struct AddressEvents {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, NetlinkAddr)>,
    _reader: JoinSet<()>,
}

impl AddressEvents {
    /// Subscribes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be made inside the namespace.
    pub fn open(netns: &Netns) -> io::Result<Self> {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _, messages) = netns
            .enter(|| rtnetlink::new_multicast_connection(&groups))
            .flatten()?;
        let mut reader = JoinSet::new();
        reader.spawn(connection);
        Ok(Self {
            messages,
            _reader: reader,
        })
    }

    /// The next change; `None` when the socket broke or lost messages.
    pub async fn next(&mut self) -> Option<AddressChange> {
        loop {
            let (message, _) = self.messages.next().await?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                    if let Some(address) = link_address(&address) {
                        return Some(AddressChange::Added(address));
                    }
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => {
                    if let Some(address) = link_address(&address) {
                        return Some(AddressChange::Removed(address));
                    }
                }
                NetlinkPayload::Overrun(_) => return None,
                _ => {}
            }
        }
    }
}

impl Netlink {
    /// All addresses of all devices.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn addresses(&self) -> Result<Vec<LinkAddress>, NetlinkError> {
        let mut found = Vec::new();
        let mut addresses = std::pin::pin!(self.handle.address().get().execute());
        while let Some(address) = addresses.next().await {
            let address =
                address.map_err(|error| NetlinkError::from_rtnetlink("list addresses", error))?;
            found.extend(link_address(&address));
        }
        Ok(found)
    }
}

fn link_address(message: &AddressMessage) -> Option<LinkAddress> {
    // On point-to-point links `Address` is the peer and `Local` is ours; elsewhere they are equal.
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
    let any = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
    Some(LinkAddress {
        link: message.header.index,
        ip: local.or(any)?,
        prefix_len: message.header.prefix_len,
        global: message.header.scope == AddressScope::Universe,
    })
}
