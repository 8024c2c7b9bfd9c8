use super::*;

fn fds(count: usize) -> Vec<OwnedFd> {
    (0..count)
        .map(|_| std::fs::File::open("/dev/null").unwrap().into())
        .collect()
}

fn add(sockets: Option<zds::AmbitSockets>) -> zds::AddWorkload {
    zds::AddWorkload {
        uid: "u".into(),
        workload_info: Some(zds::WorkloadInfo {
            name: "web-0".into(),
            namespace: "shop".into(),
            service_account: "web".into(),
        }),
        ambit: sockets,
    }
}

fn encode(payload: zds::workload_request::Payload) -> Vec<u8> {
    zds::WorkloadRequest {
        payload: Some(payload),
    }
    .encode_to_vec()
}

fn encode_add(add: zds::AddWorkload) -> Vec<u8> {
    encode(zds::workload_request::Payload::Add(add))
}

fn sockets(roles: &[i32], first_worker: u32, workers: u32) -> Option<zds::AmbitSockets> {
    Some(zds::AmbitSockets {
        roles: roles.to_vec(),
        first_worker,
        workers,
        more: false,
    })
}

#[test]
fn descriptors_follow_roles_then_workers() {
    let bytes = encode_add(add(sockets(&[1, 3], 1, 2)));
    let Request::Add(add) = decode(&bytes, fds(5), 4).unwrap() else {
        panic!()
    };
    let places: Vec<_> = add
        .sockets
        .unwrap()
        .listeners
        .iter()
        .map(|l| (l.role, l.worker))
        .collect();
    let expected = [
        (Role::Outbound, 1),
        (Role::Outbound, 2),
        (Role::Hbone, 1),
        (Role::Hbone, 2),
    ];
    assert_eq!(places, expected);
    assert_eq!(&*add.identity.service_account, "web");
}

#[test]
fn an_agent_without_the_extension_sends_one_descriptor() {
    let Request::Add(add) = decode(&encode_add(add(None)), fds(1), 4).unwrap() else {
        panic!()
    };
    assert!(add.sockets.is_none());
}

#[test]
fn empty_roles_ask_for_what_we_hold() {
    let bytes = encode_add(add(sockets(&[], 0, 0)));
    let Request::Add(add) = decode(&bytes, fds(1), 4).unwrap() else {
        panic!()
    };
    assert!(add.sockets.unwrap().listeners.is_empty());
}

#[test]
fn everything_else_is_refused() {
    use zds::workload_request::Payload;
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        ("not protobuf", vec![0xff, 0xff, 0xff], 0),
        ("no request", Vec::new(), 0),
        ("no descriptor", encode_add(add(None)), 0),
        ("two descriptors", encode_add(add(None)), 2),
        (
            "too few listeners",
            encode_add(add(sockets(&[1, 2], 0, 2))),
            4,
        ),
        (
            "too many listeners",
            encode_add(add(sockets(&[1], 0, 1))),
            3,
        ),
        ("unknown role", encode_add(add(sockets(&[9], 0, 1))), 2),
        (
            "a worker there is not",
            encode_add(add(sockets(&[1], 3, 2))),
            3,
        ),
        (
            "worker overflow",
            encode_add(add(sockets(&[1], u32::MAX, u32::MAX))),
            3,
        ),
        (
            "no info",
            encode_add(zds::AddWorkload {
                workload_info: None,
                ..add(None)
            }),
            1,
        ),
        (
            "no uid",
            encode_add(zds::AddWorkload {
                uid: String::new(),
                ..add(None)
            }),
            1,
        ),
        (
            "del with descriptor",
            encode(Payload::Del(zds::DelWorkload { uid: "u".into() })),
            1,
        ),
        (
            "snapshot with descriptor",
            encode(Payload::SnapshotSent(zds::SnapshotSent {})),
            1,
        ),
    ];
    for (what, bytes, count) in cases {
        assert!(decode(&bytes, fds(count), 4).is_err(), "{what}");
    }
}

#[test]
fn hello_and_acks_are_plain_zds_to_upstream() {
    let hello = zds::ZdsHello::decode(&*hello(3)).unwrap();
    assert_eq!((hello.version, hello.ambit.unwrap().workers), (1, 3));
    assert_eq!(ack(None), [0x0a, 0x00], "ack with an empty error");
    let held = HeldSockets {
        roles: vec![Role::Hbone],
        first: 0,
        workers: 2,
        more: false,
    };
    let held = zds::WorkloadResponse::decode(&*ack_held(&held)).unwrap();
    let zds::workload_response::Payload::Ack(held) = held.payload.unwrap();
    let held = held.held.unwrap();
    assert_eq!((held.roles, held.workers), (vec![3], 2));
}
