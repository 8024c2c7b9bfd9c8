//! What people ask of a certificate: its number and when it holds.
//! In: DER. Out: [`CertificateFacts`]. Must not happen here: a decision about trust.
//! Spec: RFC 5280 sections 4.1.2.2 and 4.1.2.5.

use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, X509Certificate};

/// Number and validity of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Serial number, decimal.
    pub serial: String,
    /// Start of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
}

impl CertificateFacts {
    /// Of a certificate in DER; `None` where it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self::read(&certificate))
    }

    /// Of a parsed certificate.
    pub(crate) fn read(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            serial: certificate.serial.to_string(),
            not_before: time_of(validity.not_before.timestamp()),
            not_after: time_of(validity.not_after.timestamp()),
        }
    }
}

fn time_of(unix_seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(unix_seconds.unsigned_abs());
    let time = if unix_seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SerialNumber};

    #[test]
    fn a_serial_number_is_decimal_and_bytes_that_are_no_certificate_have_none() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0x01, 0x00, 0x00]));
        let certificate = params.self_signed(&key).unwrap();
        let facts = CertificateFacts::of(certificate.der()).unwrap();
        assert_eq!(facts.serial, "65536");
        assert!(facts.not_before < facts.not_after);
        assert_eq!(CertificateFacts::of(b"no"), None);
    }
}
