//! Somebody who means no good to a waypoint: each attack is refused by name and counted, while others'
//! requests go on without a loss and the memory it took comes back.

#[path = "hostile/attacker.rs"]
#[allow(dead_code, reason = "shared with attacks on the node proxy")]
mod attacker;
#[path = "hostile/certificates.rs"]
#[allow(dead_code, reason = "shared with attacks on the node proxy")]
mod certificates;
#[path = "hostile_waypoint/control.rs"]
mod control;
#[path = "hostile/frames.rs"]
#[allow(dead_code, reason = "shared with attacks on the node proxy")]
mod frames;
#[path = "hostile_waypoint/raider.rs"]
mod raider;
#[path = "hostile_waypoint/requests.rs"]
mod requests;
#[path = "hostile_waypoint/siege.rs"]
mod siege;
#[path = "routing/stage.rs"]
#[allow(dead_code, reason = "shared with other tests of waypoints")]
mod stage;
#[path = "hostile/stand_in.rs"]
#[allow(dead_code, reason = "shared with attacks on the node proxy")]
mod stand_in;
#[path = "hostile_waypoint/tunnels.rs"]
mod tunnels;
