//! Who calls, by bearer token: verified with keys of a file, or reviewed by the API server.
//! In: the value of an `authorization` header. Out: a caller, or the reason for the log.
//! Owns: the reviews of the last minute. Spec: authentication.k8s.io/v1 TokenReview.

use crate::metrics::cluster::{ClusterMetrics, Reviewed};
use ambit_ca::auth::{AUDIENCE, AuthError, Authenticator, bearer};
use ambit_ca::caller::Caller;
use ambit_ca::review::{Remembered, ReviewStatus};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// A review must be there after this, its wait for others included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Reviews at the same time: tokens come from anyone.
const MAX_REVIEWS: usize = 32;

/// Why a caller is not known.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    /// The token does not count.
    #[error("the token does not count")]
    Token(#[from] AuthError),
    /// The API server did not say.
    #[error("the API server did not review the token")]
    Review(#[source] kube::Error),
    /// The API server did not say in time.
    #[error("the API server did not review the token within {} s", DEADLINE.as_secs())]
    Deadline,
    /// The answer is not one.
    #[error("the review cannot be read")]
    Answer(#[source] serde_json::Error),
}

/// What tokens are checked with.
pub(crate) enum Tokens {
    /// Keys of a JWKS file.
    Keys(Authenticator),
    /// The API server.
    Reviews(Box<Reviews>),
}

impl Tokens {
    /// The caller that an `authorization` header names.
    pub(crate) async fn caller(
        &self,
        header: Option<&str>,
        now: SystemTime,
    ) -> Result<Caller, TokenError> {
        let token = bearer(header)?;
        match self {
            Self::Keys(keys) => Ok(keys.authenticate(token, now)?),
            Self::Reviews(reviews) => reviews.caller(token, now).await,
        }
    }
}

/// Reviews by the API server.
pub(crate) struct Reviews {
    api: Api<TokenReview>,
    remembered: Mutex<Remembered>,
    running: Semaphore,
    metrics: ClusterMetrics,
}

impl Reviews {
    pub(crate) fn new(client: Client, metrics: ClusterMetrics) -> Self {
        Self {
            api: Api::all(client),
            remembered: Mutex::default(),
            running: Semaphore::new(MAX_REVIEWS),
            metrics,
        }
    }

    async fn caller(&self, token: &str, now: SystemTime) -> Result<Caller, TokenError> {
        if let Some(caller) = self.remembered(|r| r.caller(token, now)) {
            self.metrics.reviewed(Reviewed::Remembered, None);
            return Ok(caller);
        }
        let began = Instant::now();
        let asked = timeout(DEADLINE, self.review(token)).await;
        let judged = match asked {
            Ok(status) => status.and_then(|s| s.into_caller().map_err(TokenError::Token)),
            Err(_) => Err(TokenError::Deadline),
        };
        let how = match &judged {
            Ok(_) => Reviewed::Accepted,
            Err(TokenError::Token(_)) => Reviewed::Refused,
            Err(TokenError::Deadline) => Reviewed::Late,
            Err(TokenError::Review(_) | TokenError::Answer(_)) => Reviewed::Failed,
        };
        self.metrics.reviewed(how, Some(began.elapsed()));
        let caller = judged?;
        self.remembered(|r| r.keep(token, caller.clone(), now));
        Ok(caller)
    }

    async fn review(&self, token: &str) -> Result<ReviewStatus, TokenError> {
        let turn = self.running.acquire().await;
        let _turn = turn.expect("nobody closes the semaphore");
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let made = self.api.create(&PostParams::default(), &review).await;
        let status = made.map_err(TokenError::Review)?.status.unwrap_or_default();
        let value = serde_json::to_value(status).map_err(TokenError::Answer)?;
        serde_json::from_value(value).map_err(TokenError::Answer)
    }

    fn remembered<T>(&self, work: impl FnOnce(&mut Remembered) -> T) -> T {
        work(
            &mut self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
