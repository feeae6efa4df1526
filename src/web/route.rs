//! Which path and method lead where.
//!
//! Nothing but a reload changes anything.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::reply::{Parts, plain, reply};
use super::{Serves, WebState, drain, page, scrape, status};
use crate::telemetry::metrics::ReloadOutcome;

/// Bytes of a path with its query; ours are short.
const URI_BYTES: usize = 1024;
/// Bytes of a request's body; none of ours needs one.
const BODY_BYTES: u64 = 1024;

/// Answers one request.
pub(super) async fn answer(web: Arc<WebState>, request: Request<Incoming>) -> Result<Response<Parts>, Infallible> {
    let path_and_query = request.uri().path_and_query().map_or(0, |whole| whole.as_str().len());
    if path_and_query > URI_BYTES {
        return Ok(plain(StatusCode::URI_TOO_LONG, "The address is too long.\n"));
    }
    let path = request.uri().path();
    if let Some(intake) = web.intake.as_ref().filter(|_| web.serves != Serves::AllButDrains)
        && let Some(inlet) = intake.inlets.at(path)
    {
        return Ok(drain::answer(intake, inlet, request).await);
    }
    if web.serves == Serves::Drains && !matches!(path, "/healthz" | "/-/healthy") {
        return Ok(plain(StatusCode::NOT_FOUND, "There is no drain here.\n"));
    }
    if request.body().size_hint().lower() > BODY_BYTES {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "No request here needs a body.\n"));
    }
    let reload = (path == "/-/reload" && web.settings.reload_endpoint).then(|| web.reload.clone()).flatten();
    let allowed = match path {
        "/" | "/metrics" | "/healthz" | "/-/healthy" | "/readyz" | "/-/ready" | "/api/status" => "GET, HEAD",
        _ if reload.is_some() => "POST",
        _ => return Ok(plain(StatusCode::NOT_FOUND, "There is nothing here. Try / or /metrics.\n")),
    };
    let fits = match reload {
        Some(_) => request.method() == Method::POST,
        None => matches!(*request.method(), Method::GET | Method::HEAD),
    };
    if !fits {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("Use {allowed} here.\n"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return Ok(response);
    }
    Ok(match (path, reload) {
        (_, Some(reload)) => reloaded(&web, reload().await),
        ("/metrics", None) => scrape::metrics(&web, request.headers()).await,
        ("/healthz" | "/-/healthy", None) => plain(StatusCode::OK, "ok\n"),
        ("/readyz" | "/-/ready", None) => ready(&web),
        ("/api/status", None) => {
            let json = status::Status::of(&web.board.view(), web.version, (web.clock)()).to_json();
            reply(StatusCode::OK, "application/json", json)
        }
        _ => {
            let status = status::Status::of(&web.board.view(), web.version, (web.clock)());
            let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", page::render(&status));
            let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'";
            let name = hyper::header::CONTENT_SECURITY_POLICY;
            response.headers_mut().insert(name, HeaderValue::from_static(policy));
            response
        }
    })
}

fn ready(web: &WebState) -> Response<Parts> {
    if web.board.is_ready() {
        return plain(StatusCode::OK, "ready\n");
    }
    let view = web.board.view();
    let mut text = String::from("Not ready. Waiting for:\n");
    for (name, source) in &view.sources {
        if !source.settled && source.note.is_none() {
            text.push_str(&format!("{name}: which packs apply is not known yet\n"));
        }
    }
    for (id, _) in view.collectors.iter().filter(|(_, status)| status.state.is_none()) {
        text.push_str(&format!("{id}: has not run yet\n"));
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn reloaded(web: &WebState, outcome: Result<(), Vec<String>>) -> Response<Parts> {
    let now = (web.clock)() as f64 / 1e6;
    match outcome {
        Ok(()) => {
            web.metrics.reloaded(ReloadOutcome::Ok, now);
            plain(StatusCode::OK, "The configuration was read again and is in force.\n")
        }
        Err(errors) => {
            web.metrics.reloaded(ReloadOutcome::Refused, now);
            let text = format!("The configuration was refused; the old one stays in force.\n{}\n", errors.join("\n"));
            plain(StatusCode::BAD_REQUEST, text)
        }
    }
}
