//! Gateway API kinds: Gateway and HTTPRoute (gateway.networking.k8s.io/v1).

mod gateway_object;
mod http_route;

pub(crate) use gateway_object::GATEWAY_UNSUPPORTED;
pub use gateway_object::{
    AllowedRoutes, FromNamespaces, GatewayAddress, GatewaySpec, GatewayStatus, Infrastructure,
    LabelSelector, Listener, RouteGroupKind, RouteNamespaces, SelectorRequirement,
};
pub(crate) use http_route::HTTP_ROUTE_UNSUPPORTED;
pub use http_route::{
    BackendRef, Filter, FilterType, Fraction, HeaderFilter, HeaderMatchType, HttpHeader,
    HttpRouteSpec, NameMatch, ParentRef, PathMatch, PathMatchType, PathModifier, PathModifierType,
    RequestMirror, RequestRedirect, RouteMatch, RouteRule, Timeouts, UrlRewrite,
};
