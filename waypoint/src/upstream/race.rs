//! Addresses of one name that are tried one after the other, the next before the last has given up.
//! In: addresses, how to dial one. Out: the first connection; the others are given up by being dropped.
//! An attempt begins when the one before has failed, or has taken 250 ms. The caller sets the deadline of all.
//! Spec: RFC 8305 sections 4 and 5; Istio's `RACE_FIRST_TCP_CONNECT`.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use smallvec::SmallVec;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long an attempt has for itself.
const HEAD_START: Duration = Duration::from_millis(250);

/// Families in turn, beginning with that of the first; else in the order given.
pub(super) fn order(addresses: impl Iterator<Item = IpAddr>) -> SmallVec<[IpAddr; 4]> {
    let all: SmallVec<[IpAddr; 8]> = addresses.collect();
    let is_first = |ip: &&IpAddr| all.first().is_some_and(|f| f.is_ipv4() == ip.is_ipv4());
    let mut firsts = all.iter().filter(is_first);
    let mut others = all.iter().filter(|ip| !is_first(ip));
    let mut ordered = SmallVec::new();
    loop {
        let pair = (firsts.next(), others.next());
        if pair == (None, None) {
            return ordered;
        }
        ordered.extend(pair.0.into_iter().chain(pair.1).copied());
    }
}

/// The first that connects; else the last failure. There is at least one address.
pub(super) async fn first<T, E, F>(
    addresses: impl Iterator<Item = SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = addresses.peekable();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(to) = waiting.next() {
            attempts.push(dial(to));
        }
        let ended = match waiting.peek() {
            Some(_) => {
                let ended = tokio::time::timeout(HEAD_START, attempts.next()).await;
                ended.unwrap_or_default()
            }
            None => attempts.next().await,
        };
        match ended {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => failure = Some(error),
            None => {}
        }
        if attempts.is_empty() && waiting.peek().is_none() {
            return Err(failure.expect("a target has an address, and all attempts have failed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::time::{Instant, sleep};

    fn ips(all: &[&str]) -> Vec<IpAddr> {
        all.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let order = |all: &[&str]| order(ips(all).into_iter()).into_vec();
        assert_eq!(
            order(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]),
            ips(&["10.0.0.1", "fd00::1", "10.0.0.2", "10.0.0.3"])
        );
        assert_eq!(order(&["fd00::1", "fd00::2"]), ips(&["fd00::1", "fd00::2"]));
        assert_eq!(order(&[]), ips(&[]));
    }

    /// Dials addresses that take so many milliseconds to connect, or to fail if negative: which connected, the
    /// time it took, and when each was begun.
    async fn race(addresses: &[i64]) -> (Result<usize, i64>, u128, Vec<u128>) {
        let (began, begun) = (Instant::now(), RefCell::default());
        let all = (0..addresses.len()).map(|n| SocketAddr::from(([10, 0, 0, 1], n as u16)));
        let dial = async |to: SocketAddr| {
            let number = usize::from(to.port());
            let list: &RefCell<Vec<u128>> = &begun;
            list.borrow_mut().push(began.elapsed().as_millis());
            let takes = addresses[number];
            sleep(Duration::from_millis(takes.unsigned_abs())).await;
            match takes < 0 {
                true => Err(takes),
                false => Ok(number),
            }
        };
        let ended = first(all, dial).await;
        (ended, began.elapsed().as_millis(), begun.take())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_connects_wins_and_each_has_a_head_start() {
        assert_eq!(race(&[10]).await, (Ok(0), 10, vec![0]));
        assert_eq!(race(&[200, 1]).await, (Ok(0), 200, vec![0]));
        assert_eq!(race(&[9000, 20, 1]).await, (Ok(1), 270, vec![0, 250]));
        // One that fails gives its time to the next.
        assert_eq!(race(&[-10, -10, 5]).await, (Ok(2), 25, vec![0, 10, 20]));
        assert_eq!(race(&[300, -100, 9000]).await, (Ok(0), 300, vec![0, 250]));
        assert_eq!(race(&[-400, -10]).await, (Err(-400), 400, vec![0, 250]));
    }
}
