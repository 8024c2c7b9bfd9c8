//! The table of messages. `cli/MESSAGES.md` is this table for people.

use super::Level;

/// One kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) code: &'static str,
    /// Name of the message in istioctl; ours where it has none
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    /// What it says of this mesh
    pub(crate) about: &'static str,
}

macro_rules! messages {
    ($($id:ident = $code:literal, $name:literal, $level:ident, $about:literal;)*) => {
        $(pub(super) static $id: Message = Message {
            code: $code, name: $name, level: Level::$level, about: $about,
        };)*
        /// Every message of this module.
        pub(crate) static MESSAGES: &[&Message] = &[$(&$id),*];
    };
}

messages! {
    REFERENCE = "IST0101", "ReferencedResourceNotFound", Error,
        "a host, subset, gateway, waypoint, parent, backend or target that does not exist";
    NOT_IN_MESH = "IST0102", "NamespaceNotInjected", Info,
        "a namespace with pods that is not in the mesh; a warning where it asks for sidecars";
    NO_PROXY = "IST0103", "PodMissingProxy", Warning,
        "a running pod of the mesh whose connections are not captured";
    SCHEMA = "IST0106", "SchemaValidationError", Error,
        "a field of a wrong type, form or combination";
    MISPLACED = "IST0107", "MisplacedAnnotation", Warning,
        "a label of the mesh that was written as an annotation";
    SAME_HOST = "IST0109", "ConflictingMeshGatewayVirtualServiceHosts", Info,
        "several VirtualServices of a host; they are joined, the oldest first";
    PORT_NAME = "IST0118", "PortNameIsNotUnderNamingConvention", Info,
        "a port behind a waypoint that does not say what is spoken on it";
    TWO_MODES = "IST0123", "NamespaceMultipleInjectionLabels", Warning,
        "a namespace of the mesh that asks for sidecars, too";
    BAD_LABEL = "IST0125", "InvalidAnnotation", Warning,
        "a label of the mesh with a value that means nothing";
    NO_WORKLOADS = "IST0127", "NoMatchingWorkloadsFound", Warning,
        "a selector that takes no pod";
    UNREACHABLE = "IST0130", "VirtualServiceUnreachableRule", Warning,
        "a rule that an earlier one hides";
    INEFFECTIVE_MATCH = "IST0131", "VirtualServiceIneffectiveMatch", Warning,
        "a match that repeats an earlier one or cannot match";
    HOST_NOT_SERVED = "IST0132", "VirtualServiceHostNotFoundInGateway", Warning,
        "a host that none of the named gateways serves";
    ADDRESSES = "IST0134", "ServiceEntryAddressesRequired", Warning,
        "a ServiceEntry without an address to be captured by";
    SAME_SERVER = "IST0145", "ConflictingGateways", Error,
        "gateways with the same selector, port and host";
    PORT_NOT_EXPOSED = "IST0162", "GatewayPortNotDefinedOnService", Warning,
        "a port of a gateway that no Service of its pods has";
    SELECTOR_AT_GATEWAY = "IST0166", "IneffectiveSelector", Warning,
        "a policy whose selector takes pods of a waypoint or gateway; those look at targetRefs only";
    NO_IMPACT = "IST0167", "IneffectivePolicy", Warning,
        "a policy or route that nobody enforces: its service has no waypoint, or its target is none";
    CONDITION = "IST0171", "NegativeConditionStatus", Warning,
        "a status that says no";
    EMPTY_SUBSET = "IST0173", "DestinationRuleSubsetNotSelectPods", Error,
        "a subset whose labels no pod of the service has";
    UNKNOWN_HOST = "IST0174", "UnknownDestinationRuleHost", Warning,
        "a DestinationRule for a host that is no service";
    UNSUPPORTED = "AMB0001", "Unsupported", Error,
        "a field or kind that is not supported; of a kind a warning";
    DOCUMENT = "AMB0002", "Document", Error,
        "a file or document that cannot be read as objects";
    DUPLICATE = "AMB0003", "Duplicate", Error,
        "two documents that define one object";
}
