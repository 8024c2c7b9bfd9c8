//! `istio.workload.GatewayAddress` and `NetworkAddress`.

use super::{ConvertError, ip, port};
use crate::address::{NetworkAddress, VirtualAddress};
use crate::ids::ServiceKey;
use crate::waypoint::{GatewayAddress, GatewayDestination, WeightedWaypoint};
use ambit_api::{ports, workload as pb};
use ipnet::IpNet;

/// A gateway; `Ok(None)` when the message is absent.
pub(crate) fn optional(
    field: &str,
    message: Option<pb::GatewayAddress>,
) -> Result<Option<GatewayAddress>, ConvertError> {
    message.map(|m| required(field, m)).transpose()
}

pub(crate) fn required(
    field: &str,
    message: pb::GatewayAddress,
) -> Result<GatewayAddress, ConvertError> {
    use pb::gateway_address::Destination;
    let destination = match message.destination {
        Some(Destination::Hostname(h)) => {
            GatewayDestination::Hostname(ServiceKey::new(&h.namespace, &h.hostname))
        }
        Some(Destination::Address(a)) => GatewayDestination::Address(NetworkAddress::new(
            a.network.into(),
            ip(&format!("{field}.address"), &a.address)?,
        )),
        None => return Err(ConvertError::new(field, "no destination is set")),
    };
    let hbone_port = match message.hbone_mtls_port {
        0 => ports::HBONE,
        given => port(&format!("{field}.hbone_mtls_port"), given)?,
    };
    Ok(GatewayAddress {
        destination,
        hbone_port,
    })
}

pub(crate) fn weighted(
    messages: Vec<pb::WeightedWaypoint>,
) -> Result<Vec<WeightedWaypoint>, ConvertError> {
    let one = |(i, m): (usize, pb::WeightedWaypoint)| {
        let field = format!("weighted_waypoints[{i}].destination");
        let address = m
            .destination
            .ok_or_else(|| ConvertError::new(field.as_str(), "no destination is set"))?;
        Ok(WeightedWaypoint {
            destination: required(&field, address)?,
            weight: m.weight,
        })
    };
    messages.into_iter().enumerate().map(one).collect()
}

/// A virtual address; host bits of a block are cleared.
pub(crate) fn virtual_address(
    field: &str,
    message: pb::NetworkAddress,
) -> Result<VirtualAddress, ConvertError> {
    let address = ip(&format!("{field}.address"), &message.address)?;
    let full = if address.is_ipv4() { 32 } else { 128 };
    let length = message.length.unwrap_or(full);
    let bad = || {
        ConvertError::new(
            format!("{field}.length"),
            format!("{length} is longer than {full}"),
        )
    };
    let length = u8::try_from(length).map_err(|_| bad())?;
    Ok(VirtualAddress {
        network: message.network.into(),
        block: IpNet::new(address, length).map_err(|_| bad())?.trunc(),
    })
}
