//! An ingress gateway: HTTP from outside the mesh to services in it.

#[allow(dead_code, reason = "the routing tests use the rest")]
#[path = "routing/stage.rs"]
mod stage;

#[path = "ingress/classic.rs"]
mod classic;
#[path = "ingress/door.rs"]
mod door;
#[path = "ingress/grpc.rs"]
mod grpc;
#[path = "ingress/mesh.rs"]
mod mesh;
#[path = "ingress/routes.rs"]
mod routes;
#[path = "ingress/sample.rs"]
mod sample;
