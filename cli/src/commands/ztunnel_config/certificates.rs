//! Certificates of a node proxy as a table.

use crate::dump::{Certificate, X509};
use crate::output::{self, Format};
use anyhow::Result;
use jiff::Timestamp;

/// Prints every chain, leaf first, with its roots.
pub(super) fn certificates(all: &[Certificate], format: Format) -> Result<()> {
    if format != Format::Table {
        return output::value(&all, format);
    }
    let mut rows = Vec::new();
    for c in all {
        let state = match &c.state {
            serde_json::Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let chain = c.cert_chain.iter().enumerate();
        let chain = chain.map(|(i, x)| (if i == 0 { "Leaf" } else { "Intermediate" }, x));
        for (kind, x) in chain.chain(c.root_certs.iter().map(|x| ("Root", x))) {
            rows.push(vec![
                c.identity.clone(),
                kind.to_owned(),
                state.clone(),
                holds(x).to_string(),
                hexadecimal(&x.serial_number),
                x.expiration_time.clone(),
                x.valid_from.clone(),
            ]);
        }
        if c.cert_chain.is_empty() {
            rows.push(vec![
                c.identity.clone(),
                "-".into(),
                state,
                "false".into(),
                "-".into(),
                "-".into(),
                "-".into(),
            ]);
        }
    }
    output::table(
        &[
            "CERTIFICATE NAME",
            "TYPE",
            "STATUS",
            "VALID CERT",
            "SERIAL NUMBER",
            "NOT AFTER",
            "NOT BEFORE",
        ],
        rows,
    );
    Ok(())
}

/// Whether a certificate is valid now.
fn holds(certificate: &X509) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let (from, until) = (
        time(&certificate.valid_from),
        time(&certificate.expiration_time),
    );
    let now = Timestamp::now();
    from.is_some_and(|from| from <= now) && until.is_some_and(|until| now < until)
}

/// A serial number as people know it from other tools; the proxy tells it in decimal.
fn hexadecimal(serial: &str) -> String {
    if serial.is_empty() || serial.len() > MAX_SERIAL {
        return serial.to_owned();
    }
    // Little end first: numbers may have 160 bits and more.
    let mut nibbles = vec![0_u32];
    for digit in serial.chars() {
        let Some(mut carry) = digit.to_digit(10) else {
            return serial.to_owned();
        };
        for nibble in &mut nibbles {
            let value = *nibble * 10 + carry;
            *nibble = value % 16;
            carry = value / 16;
        }
        if carry > 0 {
            nibbles.push(carry);
        }
    }
    let digit = |nibble: &u32| char::from_digit(*nibble, 16);
    nibbles.iter().rev().filter_map(digit).collect()
}

/// Longest serial number that is converted, in decimal digits: RFC 5280 allows 20 octets.
const MAX_SERIAL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_of_any_length_are_shown_in_hexadecimal() {
        for (decimal, shown) in [
            ("0", "0"),
            ("255", "ff"),
            ("4096", "1000"),
            (
                "340282366920938463463374607431768211456",
                "100000000000000000000000000000000",
            ),
            ("-3", "-3"),
            ("", ""),
        ] {
            assert_eq!(hexadecimal(decimal), shown, "{decimal}");
        }
    }
}
