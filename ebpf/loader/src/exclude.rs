//! Destinations a pod reaches without capture.
//!
//! In: networks with ports. Out: keys and values of `EXCLUDED`. Pure; [`crate::maps`] writes them.

use crate::error::MapAccessError;
use ambit_ebpf_common::{EXCLUDED_PORTS, ExcludedKey, ExcludedPorts, Slot};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// A network that is not captured, whole or on some ports. Where networks overlap the most
/// specific one counts alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// The destinations.
    pub network: IpNet,
    /// Ports in host order, at most eight; none means every port.
    pub ports: Vec<u16>,
}

/// [`crate::Capture::set_excluded`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExclusionError {
    /// More ports than one network can name.
    #[error("{network} excludes {given} ports, at most {EXCLUDED_PORTS} are possible")]
    TooManyPorts {
        /// The network.
        network: IpNet,
        /// How many ports it has.
        given: usize,
    },
    /// Zero is no port.
    #[error("{network} excludes port 0")]
    PortZero {
        /// The network.
        network: IpNet,
    },
    /// The map could not be written.
    #[error(transparent)]
    Map(#[from] MapAccessError),
}

/// Prefix length and key of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// Bits that count, the slot's included.
    pub(crate) length: u32,
    /// The data.
    pub(crate) key: ExcludedKey,
}

/// The entries for a pod; the same network twice counts as one with both sets of ports.
pub(crate) fn entries(
    slot: Slot,
    exclusions: &[Exclusion],
) -> Result<Vec<(Prefix, ExcludedPorts)>, ExclusionError> {
    let mut networks: BTreeMap<IpNet, Option<Vec<u16>>> = BTreeMap::new();
    for exclusion in exclusions {
        let ports = networks
            .entry(exclusion.network.trunc())
            .or_insert_with(|| Some(Vec::new()));
        match ports {
            Some(ports) if !exclusion.ports.is_empty() => ports.extend(&exclusion.ports),
            _ => *ports = None,
        }
    }
    networks
        .into_iter()
        .map(|(network, ports)| Ok((prefix(slot, network), value(network, ports)?)))
        .collect()
}

fn prefix(slot: Slot, network: IpNet) -> Prefix {
    Prefix {
        length: ExcludedKey::prefix_length(
            u32::from(network.prefix_len()),
            u32::from(network.max_prefix_len()),
        ),
        key: ExcludedKey {
            slot: slot.number(),
            address: network.network().into(),
        },
    }
}

fn value(network: IpNet, ports: Option<Vec<u16>>) -> Result<ExcludedPorts, ExclusionError> {
    let mut value = ExcludedPorts {
        ports: [0; EXCLUDED_PORTS],
    };
    let Some(mut ports) = ports else {
        return Ok(value);
    };
    ports.sort_unstable();
    ports.dedup();
    if ports.first() == Some(&0) {
        return Err(ExclusionError::PortZero { network });
    }
    if ports.len() > EXCLUDED_PORTS {
        return Err(ExclusionError::TooManyPorts {
            network,
            given: ports.len(),
        });
    }
    value.ports[..ports.len()].copy_from_slice(&ports);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusion(network: &str, ports: &[u16]) -> Exclusion {
        Exclusion {
            network: network.parse().unwrap(),
            ports: ports.to_vec(),
        }
    }

    #[test]
    fn the_same_network_twice_is_one_entry() {
        let slot = Slot::new(7).unwrap();
        let both = [
            exclusion("10.1.2.3/8", &[443]),
            exclusion("10.0.0.0/8", &[80, 443]),
        ];
        let entries = entries(slot, &both).unwrap();
        assert_eq!(entries.len(), 1);
        let (prefix, ports) = entries[0];
        assert_eq!((prefix.length, prefix.key.slot), (32 + 96 + 8, 7));
        assert_eq!(ports.ports, [80, 443, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn every_port_wins_over_some() {
        let slot = Slot::new(0).unwrap();
        for both in [
            [exclusion("fd00::/64", &[]), exclusion("fd00::/64", &[1])],
            [exclusion("fd00::/64", &[1]), exclusion("fd00::/64", &[])],
        ] {
            let entries = entries(slot, &both).unwrap();
            assert_eq!(entries[0].1.ports, [0; EXCLUDED_PORTS]);
        }
    }

    #[test]
    fn impossible_ports_are_refused() {
        let slot = Slot::new(0).unwrap();
        let nine: Vec<u16> = (1..=9).collect();
        assert!(matches!(
            entries(slot, &[exclusion("10.0.0.0/8", &nine)]),
            Err(ExclusionError::TooManyPorts { given: 9, .. })
        ));
        assert!(matches!(
            entries(slot, &[exclusion("10.0.0.0/8", &[0])]),
            Err(ExclusionError::PortZero { .. })
        ));
    }
}
