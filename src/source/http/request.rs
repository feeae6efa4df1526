//! One request to an endpoint: connected anew, bounded in time, in size and in redirects.
//!
//! It never sends credentials to another host, keeps no cookie, goes through no proxy and never asks again by itself.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Body;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, USER_AGENT};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::credentials::uri;
use super::outcome::Outcome;
use super::trouble::Trouble;
use super::{body, credentials};
use crate::source::authorities;
use crate::source::spend::Spend;
use crate::telemetry::{Failure, Reason, traces};

/// Bytes of an answer's head; servers seldom send more than 16 KiB.
const HEAD_LIMIT: usize = 64 * 1024;

/// Redirects that are followed: one to add or drop a slash, one to https, and one to spare.
const REDIRECTS: usize = 3;

const USER_AGENT_TEXT: &str = concat!("rowmetry/", env!("CARGO_PKG_VERSION"));

/// Asks endpoints.
#[derive(Clone)]
pub(super) struct Asker {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// An answer with its whole body, as far as the status asks for one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

impl Asker {
    /// Trusts Mozilla's list of authorities, or those in a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, Failure> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            // Each probe connects anew: it sees what a new visitor sees, and no connection that died meanwhile.
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(HEAD_LIMIT)
            .build(https);
        Ok(Asker { client })
    }

    /// GET, with redirects on the same host, all within the time limit.
    pub(super) async fn get(&self, url: &Url, accept: &str, limit: Duration, spend: &Spend) -> Result<Answer, Trouble> {
        let mut headers = headers(url, accept)?;
        // Where that is wanted, the application's own trace of this request is a part of ours.
        for (name, value) in traces::headers() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        let deadline = Instant::now() + limit;
        let mut current = url.clone();
        let mut follows = 0;
        loop {
            spend.add(1);
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = uri(&current).ok_or_else(|| Trouble::new(Outcome::Redirected, "to no address"))?;
            *request.headers_mut() = headers.clone();
            let began = timeout_at(deadline, self.client.request(request)).await;
            let response = began.map_err(|_| Trouble::late(limit))?.map_err(|error| Trouble::unanswered(&error))?;
            let status = Some(response.status().as_u16());
            let Some(next) = redirect(&current, &response) else {
                let late = |_| Trouble { status, ..Trouble::late(limit) };
                return timeout_at(deadline, answer(response)).await.map_err(late)?;
            };
            let next = if follows < REDIRECTS { next } else { Err("in a circle") };
            current = next.map_err(|detail| Trouble { status, ..Trouble::new(Outcome::Redirected, detail) })?;
            follows += 1;
        }
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocols that rustls is built with");
    let mut config = match ca_file {
        None => builder.with_webpki_roots().with_no_client_auth(),
        Some(file) => builder.with_root_certificates(trusted(file)?).with_no_client_auth(),
    };
    // A resumed session shows no certificate, so that one which has expired would pass.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn trusted(file: &Path) -> Result<RootCertStore, Failure> {
    authorities::read(file).map_err(|message| Failure::new(Reason::BadQuery, message))
}

fn headers(url: &Url, accept: &str) -> Result<HeaderMap, Trouble> {
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|error| Trouble::new(Outcome::Unparsable, error.to_string()));
    let mut headers = HeaderMap::new();
    let plain: [(HeaderName, &str); 3] = [(ACCEPT, accept), (ACCEPT_ENCODING, "gzip"), (USER_AGENT, USER_AGENT_TEXT)];
    for (name, text) in plain {
        headers.insert(name, value(text)?);
    }
    if let Some(credentials) = credentials::basic(url) {
        headers.insert(AUTHORIZATION, credentials);
    }
    Ok(headers)
}

/// Where to go on; none when the answer points nowhere else.
fn redirect<B>(current: &Url, response: &Response<B>) -> Option<Result<Url, &'static str>> {
    let points = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !points.contains(&response.status()) {
        return None;
    }
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| current.join(location).ok());
    let Some(next) = next.filter(|next| uri(next).is_some()) else { return Some(Err("to no address")) };
    Some(same_server(current, &next).map(|()| next))
}

/// Whether credentials for one may be shown to the other.
fn same_server(current: &Url, next: &Url) -> Result<(), &'static str> {
    if !["http", "https"].contains(&next.scheme()) || current.host() != next.host() {
        return Err("to another host");
    }
    match (current.scheme(), next.scheme()) {
        ("https", "http") => Err("from https to http"),
        ("http", "https") if current.port().is_none() && next.port().is_none() => Ok(()),
        (one, other) if one == other && current.port() == next.port() => Ok(()),
        _ => Err("to another port"),
    }
}

async fn answer<B>(response: Response<B>) -> Result<Answer, Trouble>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Error + Send + Sync + 'static,
{
    let status = response.status().as_u16();
    let header =
        |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = header(CONTENT_TYPE).to_owned();
    let encoding = header(CONTENT_ENCODING).trim().to_ascii_lowercase();
    if Outcome::of_status(status).is_some() {
        return Ok(Answer { status, content_type, body: Vec::new() });
    }
    let trouble = |(outcome, detail): (Outcome, String)| Trouble { outcome, status: Some(status), detail };
    let body = body::whole(response.into_body()).await.map_err(trouble)?;
    let body = match encoding.as_str() {
        "" | "identity" => body,
        "gzip" | "x-gzip" => body::inflated(&body).map_err(trouble)?,
        _ => return Err(trouble((Outcome::Unparsable, "it is packed in a way that was not asked for".into()))),
    };
    Ok(Answer { status, content_type, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_header_and_no_part_of_the_address() {
        let url = Url::parse("https://a%40b:p%3Aw@h/x#y").expect("a URL");
        let headers = headers(&url, "*/*").expect("headers");
        assert_eq!(headers[AUTHORIZATION], "Basic YUBiOnA6dw==");
        assert_eq!(uri(&url).expect("a URI"), "https://h/x");
    }

    #[test]
    fn follows_only_where_credentials_may_go() {
        for (from, to, wanted) in [
            ("https://h/a", "/b", Ok(())),
            ("https://h/a", "https://h:443/b", Ok(())),
            ("http://h/a", "https://h/a", Ok(())),
            ("http://h:8080/a", "http://h:8080/b", Ok(())),
            ("https://h/a", "http://h/a", Err("from https to http")),
            ("https://h/a", "https://other/a", Err("to another host")),
            ("https://h/a", "https://h.other/a", Err("to another host")),
            ("https://h/a", "//other/a", Err("to another host")),
            ("https://h/a", "ftp://h/a", Err("to another host")),
            ("http://h:8080/a", "https://h/a", Err("to another port")),
            ("http://h/a", "http://h:8080/a", Err("to another port")),
        ] {
            let from = Url::parse(from).expect("a URL");
            assert_eq!(same_server(&from, &from.join(to).expect("a URL")), wanted, "{from} {to}");
        }
    }
}
