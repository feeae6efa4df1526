//! `GET /metrics`: what the store holds, from the encoded bodies, and our own metrics, of which those are encoded that changed.
//!
//! The two never share a family: packs may not use our prefixes. A scraper's own timeout
//! (`X-Prometheus-Scrape-Timeout-Seconds`) needs no heed, since everything is in memory.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::{Response, StatusCode};

use super::WebState;
use super::reply::{Parts, plain};
use crate::exposition;
use crate::exposition::own::OwnParts;
use crate::exposition::packed::{self, Packed};

/// The reply to a scrape.
pub(super) async fn metrics(web: &Arc<WebState>, headers: &HeaderMap) -> Response<Parts> {
    let began = (web.clock)();
    let version = exposition::negotiate(values(headers, &ACCEPT));
    let gzipped = exposition::accepts_gzip(values(headers, &ACCEPT_ENCODING));
    let format = version.format();
    // Ours first: whoever reads there that a collector failed or succeeded then finds in the body what came of it, which was
    // published before that was said.
    let own = if gzipped {
        Own::Packed(web.own.packed(&web.metrics, format))
    } else {
        Own::Plain(web.own.plain(&web.metrics, format))
    };
    let body = match web.bodies.ready(format, gzipped, began) {
        Some(body) => body,
        None => {
            let bodies = web.bodies.clone();
            match tokio::task::spawn_blocking(move || bodies.make(format, gzipped)).await {
                Ok(body) => body,
                Err(error) => {
                    tracing::error!(%error, "encoding failed");
                    return plain(StatusCode::INTERNAL_SERVER_ERROR, "Encoding failed; the log tells more.\n");
                }
            }
        }
    };
    let (parts, own_length) = match own {
        Own::Packed(own) => {
            let body = body.packed.unwrap_or_else(|| packed::pack(&body.plain));
            (packed::join(std::iter::once(&body).chain(&own.parts)), own.length)
        }
        Own::Plain(own) => (std::iter::once(body.plain.clone()).chain(own.parts).collect(), own.length),
    };
    let length = body.plain.len() + own_length;
    web.metrics.scraped(format.as_str(), ((web.clock)() - began).max(0) as f64 / 1e6, length);
    let mut response = Response::new(Parts::new(parts));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if gzipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Our own metrics, as they are to be sent.
enum Own {
    Plain(OwnParts<Bytes>),
    Packed(OwnParts<Arc<Packed>>),
}

fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}
