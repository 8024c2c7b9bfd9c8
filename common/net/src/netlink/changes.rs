//! Changes of the addresses and interfaces of a namespace.

use std::io;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::SocketAddr as NetlinkAddr;
use tokio::task::JoinSet;

use super::addresses::{LinkAddress, link_address};
use crate::netns::Netns;

/// An address or an interface came, changed or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An address was added or changed.
    AddressAdded(LinkAddress),
    /// An address was removed.
    AddressRemoved(LinkAddress),
    /// The interface with this index was added or changed.
    Link(u32),
}

/// Changes of one namespace. Changes the kernel could not queue end the stream: list again and open
/// a new one.
#[derive(Debug)]
pub struct Changes {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, NetlinkAddr)>,
    _reader: JoinSet<()>,
}

impl Changes {
    /// Subscribes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be made inside the namespace.
    pub fn open(netns: &Netns) -> io::Result<Self> {
        let groups = [
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Link,
        ];
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
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let (message, _) = self.messages.next().await?;
            let change = match message.payload {
                NetlinkPayload::InnerMessage(message) => change(&message),
                NetlinkPayload::Overrun(_) => return None,
                _ => None,
            };
            if change.is_some() {
                return change;
            }
        }
    }
}

fn change(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewAddress(address) => link_address(address).map(Change::AddressAdded),
        RouteNetlinkMessage::DelAddress(address) => {
            link_address(address).map(Change::AddressRemoved)
        }
        RouteNetlinkMessage::NewLink(link) => Some(Change::Link(link.header.index)),
        _ => None,
    }
}
