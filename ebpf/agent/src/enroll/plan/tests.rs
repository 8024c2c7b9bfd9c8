use super::*;

const S1: SessionId = SessionId(1);
const S2: SessionId = SessionId(2);

fn desired(membership: Membership, proxy: Option<(SessionId, u32)>) -> Desired {
    Desired {
        membership,
        proxy: proxy.map(|(session, workers)| Proxy { session, workers }),
    }
}

fn enrolled() -> Actual {
    Actual {
        routed: true,
        listeners: Some(2),
        unheld: false,
        offer: Offer::Accepted(S1),
        slots: true,
        steered: true,
        enrolled: true,
        announced: Announced::Enabled,
        quiet: Quiet::Busy,
    }
}

/// What the steps do to the state, if all succeed. Waiting steps leave the state waiting.
fn apply(actual: &mut Actual, steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Route => actual.routed = true,
            Step::Ask(session) => actual.offer = Offer::Asked(session),
            Step::Listen { workers } => {
                if actual.listeners.is_none() {
                    actual.slots = false;
                }
                actual.listeners = Some(workers);
            }
            Step::Offer(session) => actual.offer = Offer::Sent(session),
            Step::FillSlots => actual.slots = true,
            Step::Steer => actual.steered = true,
            Step::Capture => (actual.enrolled, actual.quiet) = (true, Quiet::Busy),
            Step::Announce(what) => actual.announced = what,
            Step::Release => actual.enrolled = false,
            Step::Watch | Step::Forget => {}
            Step::Unsteer => actual.steered = false,
            Step::Retract => actual.offer = Offer::None,
            Step::ClearSlots => actual.slots = false,
            Step::CloseListeners => (actual.listeners, actual.unheld) = (None, false),
            Step::Unroute => actual.routed = false,
        }
    }
}

#[test]
fn a_new_pod_is_captured_only_after_the_proxy_accepted() {
    let mut actual = Actual::PLAIN;
    let wanted = desired(Membership::In, Some((S1, 2)));
    let first = plan(wanted, &actual);
    assert_eq!(
        first,
        [Step::Route, Step::Listen { workers: 2 }, Step::Offer(S1)]
    );
    apply(&mut actual, &first);
    assert_eq!(plan(wanted, &actual), []);
    actual.offer = Offer::Accepted(S1);
    let second = plan(wanted, &actual);
    assert_eq!(
        second,
        [
            Step::FillSlots,
            Step::Steer,
            Step::Capture,
            Step::Announce(Announced::Enabled)
        ]
    );
    apply(&mut actual, &second);
    assert_eq!(actual, enrolled());
    assert_eq!(plan(wanted, &actual), []);
}

#[test]
fn without_a_proxy_a_pod_is_pending_and_an_enrolled_one_stays() {
    let none = desired(Membership::In, None);
    assert_eq!(
        plan(none, &Actual::PLAIN),
        [Step::Route, Step::Announce(Announced::Pending)]
    );
    let orphaned = Actual {
        offer: Offer::None,
        ..enrolled()
    };
    assert_eq!(plan(none, &orphaned), []);
}

#[test]
fn a_new_proxy_gets_the_listeners_and_a_different_one_more_of_them() {
    assert_eq!(
        plan(desired(Membership::In, Some((S2, 2))), &enrolled()),
        [Step::Offer(S2)]
    );
    assert_eq!(
        plan(desired(Membership::In, Some((S2, 4))), &enrolled()),
        [Step::Listen { workers: 4 }, Step::Offer(S2)]
    );
}

#[test]
fn after_a_restart_the_proxy_is_asked_before_anything_is_made() {
    let adopted = Actual {
        listeners: None,
        unheld: true,
        offer: Offer::None,
        announced: Announced::Unknown,
        ..enrolled()
    };
    for membership in [Membership::In, Membership::Unknown] {
        let wanted = desired(membership, Some((S2, 2)));
        assert_eq!(plan(wanted, &adopted), [Step::Ask(S2)]);
        let asked = Actual {
            offer: Offer::Asked(S2),
            ..adopted
        };
        assert_eq!(plan(wanted, &asked), []);
        let held_none = Actual {
            unheld: false,
            offer: Offer::None,
            slots: false,
            ..adopted
        };
        assert_eq!(
            plan(wanted, &held_none),
            [Step::Listen { workers: 2 }, Step::Offer(S2)]
        );
    }
    assert_eq!(plan(desired(Membership::In, None), &adopted), []);
}

#[test]
fn an_unknown_pod_that_is_plain_stays_plain() {
    assert_eq!(
        plan(desired(Membership::Unknown, Some((S1, 2))), &Actual::PLAIN),
        []
    );
}

#[test]
fn leaving_waits_for_streams_then_for_connections() {
    let wanted = desired(Membership::Out, Some((S1, 2)));
    let mut actual = enrolled();
    let first = plan(wanted, &actual);
    assert_eq!(
        first,
        [
            Step::Announce(Announced::Nothing),
            Step::Release,
            Step::Watch
        ]
    );
    apply(&mut actual, &first);
    assert_eq!(plan(wanted, &actual), [Step::Watch]);

    actual.quiet = Quiet::NoNewStreams;
    let second = plan(wanted, &actual);
    assert_eq!(second, [Step::Unsteer, Step::Watch]);
    apply(&mut actual, &second);

    actual.quiet = Quiet::Idle;
    let third = plan(wanted, &actual);
    assert_eq!(
        third,
        [
            Step::Retract,
            Step::ClearSlots,
            Step::CloseListeners,
            Step::Unroute
        ]
    );
    apply(&mut actual, &third);
    assert!(actual.is_plain());
    assert_eq!(plan(wanted, &actual), []);
}

#[test]
fn a_change_of_mind_while_leaving_only_redoes_what_was_undone() {
    let mut actual = enrolled();
    let leaving = plan(desired(Membership::Out, Some((S1, 2))), &actual);
    apply(&mut actual, &leaving);
    assert_eq!(
        plan(desired(Membership::In, Some((S1, 2))), &actual),
        [Step::Capture, Step::Announce(Announced::Enabled)]
    );
}

#[test]
fn a_pod_that_is_gone_is_cleaned_at_once_from_any_state() {
    let mut states = vec![Actual::PLAIN, enrolled()];
    let mut actual = Actual::PLAIN;
    for step in plan(desired(Membership::In, Some((S1, 2))), &Actual::PLAIN) {
        apply(&mut actual, &[step]);
        states.push(actual);
    }
    for mut state in states {
        let steps = plan(desired(Membership::Gone, Some((S1, 2))), &state);
        assert_eq!(steps.last(), Some(&Step::Forget));
        assert!(!steps.contains(&Step::Watch));
        apply(&mut state, &steps);
        assert!(state.is_plain(), "{state:?}");
    }
}

#[test]
fn a_failed_enrolment_leaves_plain_networking() {
    for announced in [Announced::Unknown, Announced::Nothing, Announced::Pending] {
        let mut failed = Actual {
            enrolled: false,
            announced,
            ..enrolled()
        };
        let steps = roll_back(&failed);
        apply(&mut failed, &steps);
        assert!(failed.is_plain());
        assert_eq!(failed.announced, Announced::Pending);
        assert!(roll_back(&failed).is_empty());
    }
}

/// Whatever happens in whatever order: never ENROLLED without steer, slots, listeners and routes.
#[test]
fn no_order_of_events_captures_a_pod_halfway() {
    let memberships = [Membership::In, Membership::Out, Membership::Unknown];
    let proxies = [None, Some((S1, 2)), Some((S2, 3))];
    let mut seed = 1u32;
    let mut next = |bound: usize| {
        // A small generator keeps the walk the same every time.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % bound
    };
    let mut actual = Actual::PLAIN;
    for _ in 0..20_000 {
        match next(4) {
            0 => {
                if let Offer::Sent(session) = actual.offer {
                    actual.offer = Offer::Accepted(session);
                }
            }
            1 => actual.offer = Offer::None,
            2 => actual.quiet = [Quiet::Busy, Quiet::NoNewStreams, Quiet::Idle][next(3)],
            _ => {}
        }
        let wanted = desired(memberships[next(3)], proxies[next(3)]);
        for step in plan(wanted, &actual) {
            apply(&mut actual, &[step]);
            if actual.enrolled {
                assert!(
                    actual.routed && actual.listeners.is_some() && actual.slots && actual.steered
                );
            }
        }
    }
}
