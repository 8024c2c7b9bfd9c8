//! What a peer may put into a CONNECT request.

use ambit_fuzz::fuzz;
use ambit_hbone::wire::baggage::Baggage;
use ambit_hbone::wire::connect::{Authority, ConnectRequest};
use ambit_hbone::wire::forwarded::Forwarded;
use ambit_hbone::wire::traceparent::Traceparent;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fuzz!(hbone_authority, |bytes| {
    if let Ok(authority) = text(bytes).parse::<Authority>() {
        let again: Authority = authority
            .to_string()
            .parse()
            .expect("what is printed parses");
        assert_eq!(again, authority);
    }
});

fuzz!(hbone_baggage, |bytes| {
    let _ = Baggage::parse(&text(bytes));
});

fuzz!(hbone_forwarded, |bytes| {
    let _ = Forwarded::parse(&text(bytes));
});

fuzz!(hbone_traceparent, |bytes| {
    let _ = Traceparent::parse(&text(bytes));
});

fuzz!(hbone_connect, |bytes| {
    // `method authority\nname: value…`, as the h2 layer would hand it over.
    let text = text(bytes);
    let mut lines = text.lines();
    let (method, authority) = lines
        .next()
        .and_then(|l| l.split_once(' '))
        .unwrap_or_default();
    let mut request = http::Request::builder().method(method).uri(authority);
    for (name, value) in lines.filter_map(|l| l.split_once(": ")) {
        request = request.header(name, value);
    }
    if let Ok(request) = request.body(()) {
        let _ = ConnectRequest::read(&request);
    }
});
