//! Whether a try is repeated, and after how long.
//! In: the route's retry policy and how the try ended. Out: yes or no, and a back-off.
//! Spec: Envoy `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.

use ambit_model::route::{Retry, RetryOn};
use rand::Rng;
use std::time::Duration;

/// How one try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryEnd {
    /// Response headers came.
    Response {
        /// HTTP status.
        status: u16,
        /// `grpc-status` of a response that ended with its headers.
        grpc_status: Option<u32>,
    },
    /// No connection could be made; nothing was sent.
    ConnectFailure,
    /// HTTP/2 REFUSED_STREAM; the peer did nothing with it.
    RefusedStream,
    /// The connection broke before the request was on its way.
    ResetBeforeRequest,
    /// The connection or stream broke before response headers.
    Reset,
    /// No response headers within the time of one try.
    PerTryTimeout,
}

/// Whether the policy wants another try after this end. The number of attempts is the caller's to
/// count.
pub fn wants(retry: &Retry, end: TryEnd) -> bool {
    retry
        .on
        .iter()
        .any(|on| applies(*on, end, &retry.status_codes))
}

fn applies(on: RetryOn, end: TryEnd, codes: &[u16]) -> bool {
    match end {
        TryEnd::Response {
            status,
            grpc_status,
        } => match on {
            RetryOn::FiveXx => (500..600).contains(&status),
            RetryOn::GatewayError => (502..=504).contains(&status),
            RetryOn::Retriable4xx => status == 409,
            RetryOn::RetriableStatusCodes => codes.contains(&status),
            RetryOn::Cancelled => grpc_status == Some(1),
            RetryOn::DeadlineExceeded => grpc_status == Some(4),
            RetryOn::ResourceExhausted => grpc_status == Some(8),
            RetryOn::Internal => grpc_status == Some(13),
            RetryOn::Unavailable => grpc_status == Some(14),
            RetryOn::ConnectFailure
            | RetryOn::RefusedStream
            | RetryOn::Reset
            | RetryOn::ResetBeforeRequest => false,
        },
        // No response is what these three mean, whatever the cause.
        _ if matches!(on, RetryOn::FiveXx | RetryOn::GatewayError | RetryOn::Reset) => true,
        TryEnd::ConnectFailure => on == RetryOn::ConnectFailure,
        TryEnd::RefusedStream => on == RetryOn::RefusedStream,
        TryEnd::ResetBeforeRequest => on == RetryOn::ResetBeforeRequest,
        TryEnd::Reset | TryEnd::PerTryTimeout => false,
    }
}

/// How long to wait before try number `attempt` (1 is the first repetition): anything up to
/// `base · (2^attempt − 1)`, at most ten times `base`.
pub fn backoff(base: Duration, attempt: u32, rng: &mut impl Rng) -> Duration {
    let growth = 2u32.saturating_pow(attempt).saturating_sub(1).clamp(1, 10);
    base.saturating_mul(growth)
        .mul_f64(rng.random_range(0.0..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn conditions_apply_as_the_table_says() {
        use RetryOn::{
            Cancelled, ConnectFailure, DeadlineExceeded, FiveXx, GatewayError, Internal,
            RefusedStream, Reset, ResetBeforeRequest, ResourceExhausted, Retriable4xx,
            RetriableStatusCodes, Unavailable,
        };
        let http = |status| TryEnd::Response {
            status,
            grpc_status: None,
        };
        let grpc = |code| TryEnd::Response {
            status: 200,
            grpc_status: Some(code),
        };
        let table: [(TryEnd, &[RetryOn]); 14] = [
            (http(200), &[]),
            (http(404), &[]),
            (http(409), &[Retriable4xx]),
            (http(418), &[RetriableStatusCodes]),
            (http(500), &[FiveXx]),
            (http(503), &[FiveXx, GatewayError]),
            (grpc(1), &[Cancelled]),
            (grpc(4), &[DeadlineExceeded]),
            (grpc(8), &[ResourceExhausted]),
            (grpc(14), &[Unavailable]),
            (
                TryEnd::ConnectFailure,
                &[ConnectFailure, FiveXx, GatewayError, Reset],
            ),
            (
                TryEnd::RefusedStream,
                &[RefusedStream, FiveXx, GatewayError, Reset],
            ),
            (
                TryEnd::ResetBeforeRequest,
                &[ResetBeforeRequest, FiveXx, GatewayError, Reset],
            ),
            (TryEnd::PerTryTimeout, &[FiveXx, GatewayError, Reset]),
        ];
        let all = [
            ConnectFailure,
            RefusedStream,
            Unavailable,
            Cancelled,
            RetriableStatusCodes,
            FiveXx,
            GatewayError,
            Reset,
            Retriable4xx,
            ResetBeforeRequest,
            DeadlineExceeded,
            ResourceExhausted,
            Internal,
        ];
        for (end, wanted) in table {
            for on in all {
                let retry = Retry {
                    attempts: 1,
                    per_try_timeout: None,
                    on: vec![on],
                    status_codes: vec![418],
                    backoff_base: Duration::from_millis(25),
                };
                assert_eq!(wants(&retry, end), wanted.contains(&on), "{end:?} {on:?}");
            }
        }
    }

    #[test]
    fn back_off_grows_to_ten_times_its_base() {
        let mut rng = StdRng::seed_from_u64(1);
        let base = Duration::from_millis(25);
        for (attempt, limit) in [(1, 25), (2, 75), (3, 175), (4, 250), (40, 250)] {
            let longest = (0..200)
                .map(|_| backoff(base, attempt, &mut rng))
                .max()
                .unwrap();
            assert!(
                longest <= Duration::from_millis(limit),
                "{attempt} {longest:?}"
            );
            assert!(
                longest > Duration::from_millis(limit / 2),
                "{attempt} {longest:?}"
            );
        }
    }
}
