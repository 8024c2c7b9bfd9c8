//! Why the host of a request leads nowhere, and what is said of it.
//! In: what stands against a name or its addresses. Out: flags, details, body; Envoy's for what Envoy knows.

const ADDRESS_REFUSED: &str = "waypoint: the name leads to an address that is not served";

/// Why the host of a request leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// It has no address, or nobody says.
    Unresolved,
    /// Too many names are in use.
    Overflow,
    /// It leads where nobody is taken.
    Barred(Barred),
}

/// What stands against an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// This machine, from inside.
    Loopback,
    /// Nobody's; systems take some of these for themselves.
    Unspecified,
    /// Neighbours of this machine, and metadata services of clouds.
    LinkLocal,
    /// Many at once.
    Multicast,
    /// This waypoint, from outside.
    Own,
    /// Something that the mesh protects.
    Mesh,
}

impl Barred {
    /// A word for metrics and logs.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Unspecified => "unspecified",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Own => "own",
            Self::Mesh => "mesh",
        }
    }

    /// Response code details.
    pub(crate) fn details(self) -> &'static str {
        match self {
            Self::Loopback => "upstream_address_refused{loopback}",
            Self::Unspecified => "upstream_address_refused{unspecified}",
            Self::LinkLocal => "upstream_address_refused{link-local}",
            Self::Multicast => "upstream_address_refused{multicast}",
            Self::Own => "upstream_address_refused{own}",
            Self::Mesh => "upstream_address_refused{mesh}",
        }
    }
}

impl Unnamed {
    /// Flags, details and body; Envoy's for what Envoy knows.
    pub(super) fn said(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Unresolved => ("DF", "dns_resolution_failure", "DNS resolution failure"),
            Self::Overflow => ("UO", "dns_cache_overflow", "DNS cache overflow"),
            Self::Barred(why) => ("UH", why.details(), ADDRESS_REFUSED),
        }
    }
}
