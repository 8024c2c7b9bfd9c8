//! Policy rules by mark and interface, and the default routes of their tables.

use std::net::IpAddr;

use futures::StreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::IpProtocol;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::IpVersion;

use super::{Netlink, NetlinkError};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn raw(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }
}

/// `ip rule add fwmark MARK/MASK pref PRIORITY lookup TABLE`, or one that drops.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Which family's rules.
    pub family: Family,
    /// Lower is earlier.
    pub priority: u32,
    /// Value of the mark.
    pub mark: u32,
    /// Bits of the mark that count.
    pub mask: u32,
    /// What else counts.
    pub packets: Packets,
    /// What happens then.
    pub to: Target,
}

/// Which packets a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Packets {
    /// All.
    #[default]
    All,
    /// Those that are sent from here (`iif lo`).
    Sent,
    /// TCP that comes in by the interface of this name, whenever there is one (`iif NAME ipproto tcp`).
    Tcp(String),
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// `lookup TABLE`; 254 is the main table.
    Table(u32),
    /// `blackhole`.
    Blackhole,
}

/// The default route of a table used for looping traffic through `lo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalRoute {
    /// `local default dev lo [src SOURCE]`.
    Loop {
        /// Which family.
        family: Family,
        /// In which table.
        table: u32,
        /// Source of connections without one; without it such a connect fails where `lo` has no usable address.
        source: Option<IpAddr>,
    },
    /// `unreachable default`: for a family the pod has no address of, so that nothing falls through.
    Unreachable {
        /// Which family.
        family: Family,
        /// In which table.
        table: u32,
    },
}

impl LocalRoute {
    /// Which family's table.
    pub fn family(&self) -> Family {
        match self {
            Self::Loop { family, .. } | Self::Unreachable { family, .. } => *family,
        }
    }

    /// The table.
    pub fn table(&self) -> u32 {
        match self {
            Self::Loop { table, .. } | Self::Unreachable { table, .. } => *table,
        }
    }
}

impl Netlink {
    /// Adds the rule; one that is there already stays.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn add_rule(&self, rule: &Rule) -> Result<(), NetlinkError> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule_message(rule);
        match request.execute().await {
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(()),
            other => {
                other.map_err(|error| NetlinkError::from_rtnetlink(format!("add {rule:?}"), error))
            }
        }
    }

    /// Deletes the rule; one that is not there is no error.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn delete_rule(&self, rule: &Rule) -> Result<(), NetlinkError> {
        match self.handle.rule().del(rule_message(rule)).execute().await {
            Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
            other => other
                .map_err(|error| NetlinkError::from_rtnetlink(format!("delete {rule:?}"), error)),
        }
    }

    /// Lists the rules that select by mark.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn rules(&self, family: Family) -> Result<Vec<Rule>, NetlinkError> {
        let version = match family {
            Family::V4 => IpVersion::V4,
            Family::V6 => IpVersion::V6,
        };
        let mut found = Vec::new();
        let mut rules = std::pin::pin!(self.handle.rule().get(version).execute());
        while let Some(rule) = rules.next().await {
            let message =
                rule.map_err(|error| NetlinkError::from_rtnetlink("list rules", error))?;
            found.extend(rule_of(family, &message));
        }
        Ok(found)
    }

    /// Puts the route in place of any other default route of its table and family.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn set_default_route(&self, route: &LocalRoute) -> Result<(), NetlinkError> {
        // IPv6 keeps a local and an unreachable default side by side: replace alone is not enough.
        for old in self.default_routes(route.family(), route.table()).await? {
            if !same_route(&old, route) {
                self.delete_message(old).await?;
            }
        }
        let message = self.route_message(route).await?;
        let request = self.handle.route().add(message).replace();
        request
            .execute()
            .await
            .map_err(|error| NetlinkError::from_rtnetlink(format!("add {route:?}"), error))
    }

    /// Removes all default routes of the table; none there is no error.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn clear_default_routes(
        &self,
        family: Family,
        table: u32,
    ) -> Result<(), NetlinkError> {
        for old in self.default_routes(family, table).await? {
            self.delete_message(old).await?;
        }
        Ok(())
    }

    /// How many default routes the table has.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub async fn count_default_routes(
        &self,
        family: Family,
        table: u32,
    ) -> Result<usize, NetlinkError> {
        Ok(self.default_routes(family, table).await?.len())
    }

    async fn default_routes(
        &self,
        family: Family,
        table: u32,
    ) -> Result<Vec<RouteMessage>, NetlinkError> {
        let mut query = RouteMessage::default();
        query.header.address_family = family.raw();
        let mut found = Vec::new();
        let mut routes = std::pin::pin!(self.handle.route().get(query).execute());
        while let Some(route) = routes.next().await {
            let route =
                route.map_err(|error| NetlinkError::from_rtnetlink("list routes", error))?;
            if table_of(&route) == table && route.header.destination_prefix_length == 0 {
                found.push(route);
            }
        }
        Ok(found)
    }

    async fn delete_message(&self, message: RouteMessage) -> Result<(), NetlinkError> {
        match self.handle.route().del(message).execute().await {
            Err(error) if matches!(errno(&error), Some(libc::ESRCH | libc::ENOENT)) => Ok(()),
            other => other.map_err(|error| NetlinkError::from_rtnetlink("delete route", error)),
        }
    }

    async fn route_message(&self, route: &LocalRoute) -> Result<RouteMessage, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = route.family().raw();
        message.header.protocol = RouteProtocol::Static;
        set_table(&mut message, route.table());
        match route {
            LocalRoute::Loop { source, .. } => {
                message.header.kind = RouteType::Local;
                message.header.scope = RouteScope::Host;
                let lo = self.link_index("lo").await?;
                message.attributes.push(RouteAttribute::Oif(lo));
                if let Some(source) = source {
                    message
                        .attributes
                        .push(RouteAttribute::PrefSource(route_address(*source)));
                }
            }
            LocalRoute::Unreachable { .. } => {
                message.header.kind = RouteType::Unreachable;
                message.header.scope = RouteScope::Universe;
            }
        }
        Ok(message)
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = rule.family.raw();
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::FwMark(rule.mark),
        RuleAttribute::FwMask(rule.mask),
    ];
    match rule.to {
        Target::Table(table) => {
            message.header.action = RuleAction::ToTable;
            if let Ok(short) = u8::try_from(table) {
                message.header.table = short;
            }
            message.attributes.push(RuleAttribute::Table(table));
        }
        Target::Blackhole => message.header.action = RuleAction::Blackhole,
    }
    match &rule.packets {
        Packets::All => {}
        Packets::Sent => message
            .attributes
            .push(RuleAttribute::Iifname(LOOPBACK.into())),
        Packets::Tcp(interface) => message.attributes.extend([
            RuleAttribute::Iifname(interface.clone()),
            RuleAttribute::IpProtocol(IpProtocol::Tcp),
        ]),
    }
    message
}

fn rule_of(family: Family, message: &RuleMessage) -> Option<Rule> {
    let mut table = u32::from(message.header.table);
    let (mut priority, mut mark, mut mask, mut packets) = (0, None, u32::MAX, Packets::All);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(value) => priority = *value,
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => {
                mask = *value;
                // The kernel does not say a mark of zero.
                mark = mark.or(Some(0));
            }
            RuleAttribute::Table(value) => table = *value,
            RuleAttribute::Iifname(name) if name == LOOPBACK => packets = Packets::Sent,
            RuleAttribute::Iifname(name) => packets = Packets::Tcp(name.clone()),
            _ => {}
        }
    }
    let to = match message.header.action {
        RuleAction::ToTable => Target::Table(table),
        RuleAction::Blackhole => Target::Blackhole,
        _ => return None,
    };
    Some(Rule {
        family,
        priority,
        mark: mark?,
        mask,
        packets,
        to,
    })
}

const LOOPBACK: &str = "lo";

fn set_table(message: &mut RouteMessage, table: u32) {
    match u8::try_from(table) {
        Ok(short) => message.header.table = short,
        Err(_) => message.header.table = RouteHeader::RT_TABLE_UNSPEC,
    }
    message.attributes.push(RouteAttribute::Table(table));
}

fn table_of(message: &RouteMessage) -> u32 {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .unwrap_or_else(|| u32::from(message.header.table))
}

fn same_route(message: &RouteMessage, route: &LocalRoute) -> bool {
    let found_source = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
            _ => None,
        });
    match route {
        LocalRoute::Loop { source, .. } => {
            message.header.kind == RouteType::Local && found_source == *source
        }
        LocalRoute::Unreachable { .. } => message.header.kind == RouteType::Unreachable,
    }
}

fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

/// The positive errno of a kernel refusal.
fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}
