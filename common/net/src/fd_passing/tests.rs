use super::*;

use std::fs::File;
use std::io::{Read, Write};

#[tokio::test]
async fn bytes_and_descriptors_arrive_together() {
    let (a, b) = SeqPacket::pair().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"through the socket").unwrap();
    a.send(b"hello", &[file.as_fd(), file.as_fd()])
        .await
        .unwrap();
    a.send(b"second", &[]).await.unwrap();

    let mut buffer = [0; 64];
    let (len, fds) = b.recv(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..len], fds.len()), (&b"hello"[..], 2));
    let mut copy = File::from(fds.into_iter().next().unwrap());
    std::io::Seek::rewind(&mut copy).unwrap();
    let mut text = String::new();
    copy.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through the socket");

    let (len, fds) = b.recv(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..len], fds.len()), (&b"second"[..], 0));
}

#[tokio::test]
async fn received_descriptors_are_close_on_exec() {
    let (a, b) = SeqPacket::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    a.send(b"x", &[file.as_fd()]).await.unwrap();
    let (_, fds) = b.recv(&mut [0; 8]).await.unwrap();
    let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[tokio::test]
async fn the_most_and_one_more() {
    let (a, b) = SeqPacket::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    let many: Vec<_> = std::iter::repeat_n(file.as_fd(), MAX_FDS).collect();
    a.send(b"x", &many).await.unwrap();
    assert_eq!(b.recv(&mut [0; 8]).await.unwrap().1.len(), MAX_FDS);
    let more: Vec<_> = std::iter::repeat_n(file.as_fd(), MAX_FDS + 1).collect();
    assert!(matches!(
        a.send(b"x", &more).await,
        Err(SendError::TooManyFds { given: 254 })
    ));
}

#[tokio::test]
async fn a_cut_message_is_an_error_and_its_descriptors_are_closed() {
    let (a, b) = SeqPacket::pair().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    a.send(b"longer than four", &[writer.as_fd()])
        .await
        .unwrap();
    drop(writer);
    assert!(matches!(
        b.recv(&mut [0; 4]).await,
        Err(RecvError::Truncated { limit: 4 })
    ));
    // End of file only if the received copy of the write end was closed.
    let mut byte = [0; 1];
    assert_eq!(rustix::io::read(&reader, &mut byte).unwrap(), 0);
}

#[tokio::test]
async fn a_closed_peer_reads_as_zero() {
    let (a, b) = SeqPacket::pair().unwrap();
    drop(a);
    let (len, fds) = b.recv(&mut [0; 4]).await.unwrap();
    assert_eq!((len, fds.len()), (0, 0));
}

#[tokio::test]
async fn a_second_listener_takes_over_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zds.sock");
    let first = SeqListener::bind(&path).unwrap();
    let second = SeqListener::bind(&path).unwrap();
    drop(first);
    let client = SeqPacket::connect(&path).unwrap();
    let server = second.accept().await.unwrap();
    client.send(b"to the second", &[]).await.unwrap();
    let mut buffer = [0; 32];
    let (len, _) = server.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..len], b"to the second");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    drop(second);
    assert!(!path.exists());
}
