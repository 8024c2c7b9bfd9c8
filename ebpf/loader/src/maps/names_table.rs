//! Nameservers.
//!
//! In: the nameservers the node's pods use. Out: entries of `NS_INDEX` and `NS_ADDRESS`. Which
//! index a nameserver gets is decided in [`crate::nameservers`].

use super::{Maps, failed, lock, removed};
use crate::error::{MapAccessError, NameserverError};
use crate::nameservers::Table;
use ambit_ebpf_common::names::map as name;
use aya::maps::{Array, HashMap, MapData, MapError};
use std::net::Ipv4Addr;

impl Maps {
    /// Makes exactly these nameservers captured.
    pub(crate) fn set_nameservers(&self, wanted: &[Ipv4Addr]) -> Result<(), NameserverError> {
        let mut index = lock(&self.ns_index);
        let mut address = lock(&self.ns_address);
        let changes = table(&index, &address)?
            .changes(wanted)
            .map_err(|address| NameserverError::Full { address })?;
        for server in changes.remove {
            removed(index.remove(&word(server))).map_err(failed(name::NS_INDEX, "delete from"))?;
        }
        for (server, number) in changes.add {
            // The way back first.
            address
                .set(number, word(server), 0)
                .map_err(failed(name::NS_ADDRESS, "write"))?;
            index
                .insert(word(server), number, 0)
                .map_err(failed(name::NS_INDEX, "write"))?;
        }
        Ok(())
    }

    /// The captured nameservers and their indices.
    pub(crate) fn nameservers(&self) -> Result<Vec<(Ipv4Addr, u32)>, MapAccessError> {
        let table = table(&lock(&self.ns_index), &lock(&self.ns_address))?;
        Ok(table.active.into_iter().collect())
    }
}

fn table(
    index: &HashMap<MapData, u32, u32>,
    address: &Array<MapData, u32>,
) -> Result<Table, MapAccessError> {
    let active = index
        .iter()
        .map(|entry| entry.map(|(word, index)| (ip(word), index)))
        .collect::<Result<_, MapError>>()
        .map_err(failed(name::NS_INDEX, "list"))?;
    let names = (0_u32..)
        .zip(address.iter())
        .filter_map(|(index, word)| match word {
            Ok(0) => None,
            Ok(word) => Some(Ok((index, ip(word)))),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, MapError>>()
        .map_err(failed(name::NS_ADDRESS, "read"))?;
    Ok(Table { active, names })
}

/// Network byte order, as the programs compare it.
fn word(ip: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(ip.octets())
}

fn ip(word: u32) -> Ipv4Addr {
    Ipv4Addr::from(word.to_ne_bytes())
}
