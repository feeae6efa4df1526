//! The pause that a receiver asks for: `Retry-After` over HTTP, `google.rpc.RetryInfo` over gRPC.
//!
//! Nothing here waits, and no clock is read: a date is compared with the receiver's own.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{DATE, HeaderName, RETRY_AFTER};
use jiff::fmt::rfc2822;
use prost::Message;

/// The longest pause that is kept to. A receiver that asks for more is asked again nevertheless: what waits meanwhile is
/// bounded, and a wrong number must not end all sending.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

const RETRY_INFO: &str = "google.rpc.RetryInfo";

/// `google.rpc.Status` (google/rpc/status.proto), as errors have it in the body of HTTP and in gRPC's details.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo` (google/rpc/error_details.proto).
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a date, which counts from the answer's own `Date`.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    let pause = match asked.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = rfc2822::parse(asked).ok()?.timestamp();
            let now = rfc2822::parse(text(DATE)?).ok()?.timestamp();
            Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// What `RetryInfo` asks for, from gRPC's `grpc-status-details-bin`.
pub(super) fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let detail = status.details.iter().find(|detail| detail.type_url.ends_with(RETRY_INFO))?;
    // Without a delay it still says that asking again is of use.
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    let nanos = u32::try_from(delay.nanos).ok().filter(|nanos| *nanos < 1_000_000_000).unwrap_or(0);
    Some(Duration::new(seconds, nanos).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn reads_retry_after_in_both_forms() {
        const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (asked, date, wanted) in [
            ("7", None, Some(7)),
            (" 0 ", Some(NOW), Some(0)),
            ("86400", None, Some(300)),
            ("99999999999999999999", None, None),
            ("-3", None, None),
            ("soon", Some(NOW), None),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(NOW), Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(NOW), Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(NOW), Some(300)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", None, None),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some("today"), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(asked));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_static(date));
            }
            assert_eq!(retry_after(&headers), wanted.map(Duration::from_secs), "{asked} {date:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn reads_retry_info_and_no_nonsense() {
        let details = |type_url: &str, retry_delay: Option<Delay>| {
            let value = RetryInfo { retry_delay }.encode_to_vec();
            let other = Detail { type_url: "type.googleapis.com/google.rpc.DebugInfo".into(), value: vec![1] };
            let detail = Detail { type_url: type_url.into(), value };
            RpcStatus { message: String::new(), details: vec![other, detail] }.encode_to_vec()
        };
        let url = "type.googleapis.com/google.rpc.RetryInfo";
        for (seconds, nanos, wanted) in [
            (5, 250_000_000, Duration::from_millis(5250)),
            (0, 0, Duration::ZERO),
            (-1, -1, Duration::ZERO),
            (1, i32::MAX, Duration::from_secs(1)),
            (i64::MAX, 999_999_999, LONGEST_PAUSE),
        ] {
            assert_eq!(retry_info(&details(url, Some(Delay { seconds, nanos }))), Some(wanted));
        }
        assert_eq!(retry_info(&details(url, None)), Some(Duration::ZERO));
        assert_eq!(retry_info(&details("type.googleapis.com/google.rpc.Help", None)), None);
        assert_eq!(retry_info(b"\xff\xff nonsense"), None);
        assert_eq!(retry_info(b""), None);
    }
}
