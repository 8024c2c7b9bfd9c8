//! Objects of kinds that Ambit defines and does not act on.
//! In: which there are. Out: a status that says so: nobody may believe in a rule that is not enforced.

use crate::out::Out;
use crate::statuses::Condition;
use crate::world::World;
use ambit_crds::no_effect;

/// Says it of each.
pub(crate) fn report(world: &World<'_>, out: &mut Out) {
    for (key, kind) in &world.unserved {
        let condition = Condition::rejected("Unsupported", no_effect(kind));
        out.statuses.condition((*key).clone(), condition);
    }
}
