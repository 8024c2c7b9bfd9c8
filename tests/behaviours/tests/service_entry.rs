//! Services that Kubernetes does not know: names, addresses, endpoints, waypoints.

#[path = "service_entry/endpoints.rs"]
mod endpoints;
#[path = "service_entry/grants.rs"]
mod grants;
#[path = "service_entry/place.rs"]
mod place;
#[path = "service_entry/race.rs"]
mod race;
#[path = "service_entry/waypoint.rs"]
mod waypoint;
#[path = "service_entry/wildcard.rs"]
mod wildcard;
