//! Gateway API kinds: Gateway, HTTPRoute and ReferenceGrant (gateway.networking.k8s.io).

mod gateway_object;
mod http_route;
mod reference_grant;

pub(crate) use gateway_object::GATEWAY_UNSUPPORTED;
pub use gateway_object::{
    AllowedRoutes, FromNamespaces, GatewayAddress, GatewaySpec, GatewayStatus, Infrastructure,
    LabelSelector, Listener, ParametersRef, RouteGroupKind, RouteNamespaces, SelectorRequirement,
};
pub(crate) use http_route::HTTP_ROUTE_UNSUPPORTED;
pub use http_route::{
    BackendRef, Filter, FilterType, Fraction, HeaderFilter, HeaderMatchType, HttpHeader,
    HttpRouteSpec, NameMatch, ParentRef, PathMatch, PathMatchType, PathModifier, PathModifierType,
    RequestMirror, RequestRedirect, RouteMatch, RouteRule, Timeouts, UrlRewrite,
};
pub use reference_grant::{GrantFrom, GrantTo, ReferenceGrantSpec};
