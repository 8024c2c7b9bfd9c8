//! What has become of a CertificateSigningRequest.
//! In: the conditions and the certificate of its status. Out: signed, refused or not yet. Pure.
//! Source: Kubernetes `CertificateSigningRequestStatus`.

use thiserror::Error;

/// Longest text of others that is repeated, in characters.
const MAX_TEXT: usize = 512;

/// A condition of the object.
#[derive(Clone, Copy, Debug)]
pub struct Condition<'a> {
    /// `type`.
    pub kind: &'a str,
    /// `status`.
    pub status: &'a str,
    /// `reason`.
    pub reason: &'a str,
    /// `message`.
    pub message: &'a str,
}

/// Who does not want to sign, and why.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody denied the request.
    #[error("the request was denied: {why}")]
    Denied {
        /// Reason and message.
        why: String,
    },
    /// The signer could not sign.
    #[error("the signer failed: {why}")]
    Failed {
        /// Reason and message.
        why: String,
    },
}

impl Refusal {
    /// As metrics name it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing so far.
    Waiting {
        /// Whether it may be signed.
        approved: bool,
    },
    /// There is a certificate, PEM as the signer wrote it.
    Signed(Vec<u8>),
    /// There will be none.
    Refused(Refusal),
}

/// Judges a status. A refusal counts more than a certificate beside it.
pub fn of<'a>(
    conditions: impl IntoIterator<Item = Condition<'a>>,
    certificate: Option<&[u8]>,
) -> Outcome {
    let mut approved = false;
    let mut refusal = None;
    for condition in conditions {
        // Conditions of this kind have no status but this one; what has none was written before there were any.
        if !matches!(condition.status, "True" | "") {
            continue;
        }
        let why = || said(condition.reason, condition.message);
        match condition.kind {
            "Approved" => approved = true,
            "Denied" => refusal = Some(Refusal::Denied { why: why() }),
            "Failed" if refusal.is_none() => refusal = Some(Refusal::Failed { why: why() }),
            _ => {}
        }
    }
    match (refusal, certificate) {
        (Some(refusal), _) => Outcome::Refused(refusal),
        (None, Some(pem)) if !pem.is_empty() => Outcome::Signed(pem.to_vec()),
        (None, _) => Outcome::Waiting { approved },
    }
}

/// Reason and message, as far as there are any; in one line.
fn said(reason: &str, message: &str) -> String {
    let text = match (reason, message) {
        ("", "") => "no reason is given".to_owned(),
        (one, "") | ("", one) => one.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_TEXT).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition<'a>(kind: &'a str, status: &'a str) -> Condition<'a> {
        Condition {
            kind,
            status,
            reason: "Policy",
            message: "not\nhere",
        }
    }

    #[test]
    fn a_certificate_is_signed_and_a_refusal_counts_more() {
        assert_eq!(of([], None), Outcome::Waiting { approved: false });
        let approved = condition("Approved", "True");
        let waiting = Outcome::Waiting { approved: true };
        assert_eq!(of([approved], None), waiting);
        assert_eq!(of([approved], Some(b"")), waiting);
        assert_eq!(
            of([approved], Some(b"pem")),
            Outcome::Signed(b"pem".to_vec())
        );
        let why = || "Policy: not here".to_owned();
        let denied = Outcome::Refused(Refusal::Denied { why: why() });
        assert_eq!(of([condition("Denied", "True")], None), denied);
        assert_eq!(
            of([approved, condition("Denied", "")], Some(b"pem")),
            denied
        );
        let failed = condition("Failed", "True");
        assert_eq!(of([condition("Denied", "True"), failed], None), denied);
        let failure = Outcome::Refused(Refusal::Failed { why: why() });
        assert_eq!(of([approved, failed], None), failure);
        assert_eq!(of([approved, condition("Failed", "False")], None), waiting);
    }

    #[test]
    fn what_others_say_is_one_line_of_bounded_length() {
        assert_eq!(said("", ""), "no reason is given");
        assert_eq!(said("A", ""), "A");
        assert_eq!(said("A", &"b".repeat(9999)).len(), MAX_TEXT);
    }
}
