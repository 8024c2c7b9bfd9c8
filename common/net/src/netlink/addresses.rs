//! Addresses of a namespace.

use std::net::IpAddr;

use futures::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};

use super::{Netlink, NetlinkError};

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

pub(super) fn link_address(message: &AddressMessage) -> Option<LinkAddress> {
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
