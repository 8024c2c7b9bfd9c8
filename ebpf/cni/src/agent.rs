//! One request to the agent.
//! In: a socket path and a [`Request`]. Out: done, a refusal, or nobody there.
//! Must not happen here: waiting without end, or reading an answer of any length.
//! Spec: RFC 9112, the little of it that one request with `Connection: close` needs; see [`crate::wire`].

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::wire::{MAX_BODY, Refusal, Request};

/// How the agent answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Refused(Refusal),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens: the agent is not running.
    #[error("cannot connect to the agent at {path}")]
    Away {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the connection to the agent broke")]
    Broken(#[source] io::Error),
    #[error("the agent did not answer within {0:?}")]
    Late(Duration),
    #[error("the agent's answer is not understood: {0}")]
    Malformed(&'static str),
}

/// Asks, and waits at most `deadline` for all of it: connecting to a listener whose queue is full blocks.
pub(crate) fn ask(
    socket: &Path,
    path: &str,
    request: &Request,
    deadline: Duration,
) -> Result<Answer, AskError> {
    let body = serde_json::to_vec(request).expect("strings and addresses always serialize");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: ambit\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let message = [head.into_bytes(), body].concat();
    let socket = socket.to_owned();
    let (sender, answers) = mpsc::channel();
    // Past the deadline the thread is left behind; the process ends right after.
    std::thread::spawn(move || sender.send(exchange(&socket, &message)));
    answers
        .recv_timeout(deadline)
        .unwrap_or(Err(AskError::Late(deadline)))
}

fn exchange(path: &Path, message: &[u8]) -> Result<Answer, AskError> {
    let mut stream = UnixStream::connect(path).map_err(|source| AskError::Away {
        path: path.to_owned(),
        source,
    })?;
    stream.write_all(message).map_err(AskError::Broken)?;
    let mut answer = Vec::new();
    let limit = u64::try_from(MAX_HEAD + MAX_BODY).expect("small");
    stream
        .take(limit)
        .read_to_end(&mut answer)
        .map_err(AskError::Broken)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Answer, AskError> {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or(AskError::Malformed("no end of the header"))?;
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let head = std::str::from_utf8(head).map_err(|_| AskError::Malformed("header is not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|rest| rest.split(' ').nth(1))
        .ok_or(AskError::Malformed("no status line"))?;
    if status == "200" {
        return Ok(Answer::Done);
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .ok_or(AskError::Malformed("no content-length"))?;
    let body = body
        .get(..length)
        .ok_or(AskError::Malformed("body cut off"))?;
    serde_json::from_slice(body)
        .map(Answer::Refused)
        .map_err(|_| AskError::Malformed("body is not a refusal"))
}

/// Longest header of an answer in bytes.
const MAX_HEAD: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_or_refused_without_panic() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(), Answer::Done);
        let refusal = b"HTTP/1.1 503 x\r\nContent-Length: 21\r\n\r\n{\"code\":11,\"msg\":\"m\"}";
        assert!(matches!(parse(refusal).unwrap(), Answer::Refused(refusal) if refusal.code == 11));
        for broken in [
            &b""[..],
            b"HTTP/1.1 503 x\r\n\r\n{}",
            b"HTTP/1.1 503 x\r\nContent-Length: 99\r\n\r\n{}",
            b"HTTP/1.1 503 x\r\nContent-Length: 2\r\n\r\n{}",
            b"SSH-2.0\r\n\r\n",
            b"\xff\xfe\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
        ] {
            assert!(
                matches!(parse(broken), Err(AskError::Malformed(_))),
                "{broken:?}"
            );
        }
    }
}
