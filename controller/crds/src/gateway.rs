//! Gateway API kinds: Gateway, GatewayClass, HTTPRoute, GRPCRoute and ReferenceGrant (gateway.networking.k8s.io).

mod gateway_class;
mod gateway_object;
mod grpc_route;
mod http_route;
mod reference_grant;

pub use gateway_class::GatewayClass;
pub(crate) use gateway_object::GATEWAY_UNSUPPORTED;
pub use gateway_object::{
    AllowedRoutes, FromNamespaces, GatewayAddress, GatewaySpec, GatewayStatus, Infrastructure,
    LabelSelector, Listener, ParametersRef, RouteGroupKind, RouteNamespaces, SelectorRequirement,
};
pub(crate) use grpc_route::GRPC_ROUTE_UNSUPPORTED;
pub use grpc_route::{GrpcMatch, GrpcRouteSpec, GrpcRule, MethodMatch, MethodMatchType};
pub(crate) use http_route::HTTP_ROUTE_UNSUPPORTED;
pub use http_route::{
    BackendRef, Filter, FilterType, Fraction, HeaderFilter, HeaderMatchType, HttpHeader,
    HttpRouteSpec, NameMatch, ParentRef, PathMatch, PathMatchType, PathModifier, PathModifierType,
    RequestMirror, RequestRedirect, RouteKind, RouteMatch, RouteRule, Timeouts, UrlRewrite,
};
pub use reference_grant::{GrantFrom, GrantTo, ReferenceGrantSpec};
