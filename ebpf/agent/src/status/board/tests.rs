use super::*;

fn pod(name: &str, uid: &str, annotation: Option<&str>) -> ((String, String), Option<PodFacts>) {
    let mut facts = PodFacts {
        namespace: "shop".into(),
        name: name.into(),
        uid: uid.into(),
        ..PodFacts::default()
    };
    if let Some(value) = annotation {
        let key = labels::REDIRECTION.to_owned();
        facts.annotations.insert(key, value.into());
    }
    (("shop".into(), name.into()), Some(facts))
}

fn told(pods: Vec<((String, String), Option<PodFacts>)>) -> Facts {
    Facts {
        pods,
        ..Facts::default()
    }
}

fn due(board: &Board, now: Instant) -> Vec<(String, Option<&'static str>)> {
    let patches = board.due(now).into_iter();
    patches.map(|patch| (patch.uid, patch.value)).collect()
}

fn enabled(uid: &str) -> Vec<(String, Option<&'static str>)> {
    vec![(uid.to_owned(), Some("enabled"))]
}

#[test]
fn a_word_waits_for_its_pod_is_written_once_and_said_again_when_it_is_lost() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.say("u1", Announced::Enabled);
    assert!(due(&board, now).is_empty());
    board.observe(&told(vec![pod("web", "u1", None)]));
    assert_eq!(due(&board, now), enabled("u1"));
    let patch = board.due(now).remove(0);
    board.tried(&patch, Outcome::Written, now);
    assert!(due(&board, now).is_empty() && board.is_settled());
    board.observe(&told(vec![pod("web", "u1", Some("enabled"))]));
    assert!(due(&board, now).is_empty());
    // Somebody removes or changes it.
    for lost in [None, Some("pending"), Some("junk")] {
        board.observe(&told(vec![pod("web", "u1", lost)]));
        assert_eq!(due(&board, now), enabled("u1"));
    }
}

#[test]
fn a_pod_that_takes_the_name_of_another_gets_no_word_of_it() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.say("u1", Announced::Enabled);
    board.observe(&told(vec![pod("web-0", "u1", None)]));
    let patch = board.due(now).remove(0);
    board.observe(&told(vec![pod("web-0", "u2", None)]));
    assert!(due(&board, now).is_empty());
    // The answer to the older pod's patch changes nothing about the newer one.
    board.tried(&patch, Outcome::PodGone, now);
    board.say("u2", Announced::Pending);
    assert_eq!(due(&board, now), [("u2".to_owned(), Some("pending"))]);
    board.say("u1", Announced::Nothing);
    assert_eq!(due(&board, now), [("u2".to_owned(), Some("pending"))]);
}

#[test]
fn failures_are_tried_again_later_each_time() {
    let (mut board, mut now) = (Board::default(), Instant::now());
    board.observe(&told(vec![pod("web", "u1", None)]));
    board.say("u1", Announced::Enabled);
    let mut waits = Vec::new();
    for _ in 0..10 {
        let patch = board.due(now).remove(0);
        board.tried(&patch, Outcome::Failed, now);
        assert!(due(&board, now).is_empty() && !board.is_settled());
        let next = board.next().unwrap();
        waits.push(next - now);
        now = next;
    }
    assert!(waits.is_sorted() && waits[0] == FIRST_RETRY && waits[9] == LONGEST_RETRY);
    // A new word does not wait for the old one's next try.
    board.say("u1", Announced::Pending);
    assert_eq!(due(&board, now), [("u1".to_owned(), Some("pending"))]);
}

#[test]
fn annotations_of_pods_that_nobody_enrolled_are_taken_back() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.observe(&told(vec![
        pod("mine", "u1", Some("enabled")),
        pod("old", "u2", Some("enabled")),
        pod("plain", "u3", None),
    ]));
    assert!(due(&board, now).is_empty());
    board.forget_others(|_, name| name == "mine");
    assert_eq!(due(&board, now), [("u2".to_owned(), None)]);
}

#[test]
fn entries_go_with_their_pods() {
    let (mut board, now) = (Board::default(), Instant::now());
    board.say("u1", Announced::Nothing);
    assert!(board.entries.is_empty());
    board.observe(&told(vec![pod("web", "u1", None), pod("db", "u2", None)]));
    board.say("u1", Announced::Enabled);
    board.observe(&told(vec![(("shop".into(), "db".into()), None)]));
    assert_eq!(board.entries.len(), 1);
    // The pod's sandbox outlives its object; its word goes when the sandbox does.
    board.observe(&Facts {
        complete: true,
        ..Facts::default()
    });
    assert_eq!((board.entries.len(), due(&board, now).len()), (1, 0));
    board.say("u1", Announced::Nothing);
    assert!(board.entries.is_empty());
}
