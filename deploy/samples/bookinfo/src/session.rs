//! Who is signed in, as browsers keep it.
//! In: the form of `/login`, cookies. Out: a cookie with the user's name, and a way back to the page. The sample
//! knows no passwords. Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::answer;

const COOKIE: &str = "session";
/// Longest name.
const LONGEST: usize = 64;
/// Where a browser goes afterwards.
const PAGE: &str = "/productpage";

/// The user that a request's cookies name.
pub(crate) fn user(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && is_name(value))
        .map(|(_, value)| value.to_owned())
}

/// Signs in the `username` of a form.
pub(crate) fn login(form: &Bytes) -> Response<Bytes> {
    let form = String::from_utf8_lossy(form);
    match answer::query_value(Some(&form), "username") {
        Some(name) if is_name(name) => back(&format!("{COOKIE}={name}; Path=/; HttpOnly")),
        _ => answer::json(StatusCode::BAD_REQUEST, &json!({"error": "username"})),
    }
}

/// Signs out.
pub(crate) fn logout() -> Response<Bytes> {
    back(&format!("{COOKIE}=; Path=/; Max-Age=0"))
}

fn back(cookie: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static(PAGE));
    // Made of checked names only; without a cookie nobody is signed in.
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

/// What needs no escape in a cookie or a header.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=LONGEST).contains(&text.len()) && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(line: &'static str) -> HeaderMap {
        [(header::COOKIE, HeaderValue::from_static(line))]
            .into_iter()
            .collect()
    }

    #[test]
    fn who_signs_in_is_known_by_the_cookie() {
        let answer = login(&Bytes::from_static(b"passwd=&username=jason"));
        assert_eq!(answer.status(), StatusCode::FOUND);
        assert_eq!(answer.headers()[header::LOCATION], PAGE);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("session=jason;"), "{cookie}");
        assert_eq!(
            user(&cookies("a=b; session=jason")).as_deref(),
            Some("jason")
        );
        assert_eq!(user(&cookies("session=; a")), None);
    }

    #[test]
    fn names_that_would_need_escapes_are_refused() {
        for form in ["", "username=", "username=a%0d%0ab", "user=jason"] {
            let answer = login(&Bytes::from_static(form.as_bytes()));
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{form}");
        }
        assert_eq!(user(&cookies("session=a b")), None);
    }
}
