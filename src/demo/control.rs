//! Switches the demo's troubles on and off over HTTP: `GET /troubles`, `POST /troubles/<app>/<name>`, and `DELETE` of the same.
//!
//! It wants troubles and makes none. A page of some site cannot use it.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::DemoError;
use super::http::{Answer, Asked, HttpServer};
use super::trouble::Troubles;

/// The desk where troubles are asked for. It closes when this is dropped.
pub struct Control(HttpServer);

impl Control {
    /// Opens it.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn open(at: SocketAddr, troubles: Troubles) -> Result<Self, DemoError> {
        let desk = Arc::new(move |asked: &Asked| answer(&troubles, asked));
        let server = HttpServer::start(at, desk).await;
        server.map(Control).map_err(|source| DemoError::Desk { option: "--control", source })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

fn answer(troubles: &Troubles, asked: &Asked) -> Answer {
    if asked.is_of_a_site {
        return Answer::text(StatusCode::FORBIDDEN, "not for pages of a site\n");
    }
    let Some(name) = asked.path.strip_prefix("/troubles").map(|rest| rest.trim_matches('/')) else {
        return Answer::text(StatusCode::NOT_FOUND, "GET /troubles lists what can be made to go wrong\n");
    };
    let wanted = match asked.method {
        Method::GET if name.is_empty() => return Answer::json(&troubles.list()),
        Method::GET => None,
        Method::POST => Some(true),
        Method::DELETE => Some(false),
        _ => return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "GET, POST or DELETE\n"),
    };
    if let Some(wanted) = wanted {
        troubles.want(name, wanted);
    }
    match troubles.get(name) {
        Some(trouble) => Answer::json(&trouble),
        None => Answer::text(
            StatusCode::NOT_FOUND,
            format!("there is no such trouble; there are:\n{}", troubles.described()),
        ),
    }
}
