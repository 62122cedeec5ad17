//! The trace that a request is a part of, by the header `traceparent` (W3C Trace Context).

use axum::http::{HeaderMap, Method};
use tracing::Span;

/// Makes a span a part of the trace that a request names.
pub type JoinTrace = fn(&Span, &HeaderMap);

/// Spans of requests, for who collects them. Those of what a request does are within.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spans {
    /// How they are joined to the traces of callers; `None` where nobody collects them.
    pub join: Option<JoinTrace>,
}

impl Spans {
    /// The span of a request; one that is off where nobody collects them.
    pub(crate) fn begin(self, method: &Method, route: &str, headers: &HeaderMap) -> Span {
        let Some(join) = self.join else { return Span::none() };
        let span = tracing::trace_span!(
            target: "otel",
            "request",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            http.request.method = method.as_str(),
            http.route = route,
            http.response.status_code = tracing::field::Empty,
        );
        join(&span, headers);
        span
    }
}

/// The ids of a trace and of the span that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace<'a> {
    /// Of the trace: 32 hexadecimal digits.
    pub trace: &'a str,
    /// Of the span that the request is a part of: 16 of them.
    pub parent: &'a str,
}

/// Reads `traceparent`; what is none is passed over, as the standard wants.
pub fn read(headers: &HeaderMap) -> Option<Trace<'_>> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.trim().split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |text: &str, length: usize| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
    // A later version may say more.
    let is_whole = parts.next().is_none() || version != "00";
    let is_valid = is_hex(version, 2) && version != "ff" && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    (is_valid && is_whole).then_some(Trace { trace, parent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_the_standard_writes_it() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0aa902c7");
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", text.parse().expect("a value"));
            super::read(&headers).map(|found| (found.trace.to_owned(), found.parent.to_owned()))
        };
        let found = Some((trace.to_owned(), parent.to_owned()));
        assert_eq!(read(&format!("00-{trace}-{parent}-01")), found);
        assert_eq!(read(&format!("01-{trace}-{parent}-00-more")), found);
        for wrong in [
            String::new(),
            "x".to_owned(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-more"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{trace}-{}-01", "0".repeat(16)),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }
}
