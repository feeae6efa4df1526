//! A pager to look at: takes what Alertmanager sends to a webhook (`/page`, `/chat`, and any other single word) and to Slack (`/slack`),
//! and shows the last of it, as a page at `/` and as JSON at `/pages`.
//!
//! It wakes nobody. What it holds is bounded, and what it is sent is shown as text alone.

mod page;
mod sent;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::http::{Answer, Asked, HttpServer};
use super::{Clock, DemoError};
use sent::Sent;

/// Messages that are kept.
const KEPT: usize = 500;

/// The desk where pages arrive. It closes when this is dropped.
pub struct Pager(HttpServer);

struct Board {
    kept: Mutex<VecDeque<Sent>>,
    token: Option<SecretString>,
    clock: Clock,
}

impl Pager {
    /// Opens it. With a token, only who has it may send; everybody may look.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn open(at: SocketAddr, token: Option<SecretString>, clock: Clock) -> Result<Self, DemoError> {
        let board = Board { kept: Mutex::default(), token, clock };
        let server = HttpServer::start(at, Arc::new(move |asked: &Asked| board.answer(asked))).await;
        server.map(Pager).map_err(|source| DemoError::Desk { option: "--pager-listen", source })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

impl Board {
    fn answer(&self, asked: &Asked) -> Answer {
        match (&asked.method, asked.path.as_str()) {
            (&Method::GET, "/") => {
                let body = page::page(&self.kept(), (self.clock)());
                Answer { status: StatusCode::OK, kind: "text/html; charset=utf-8", body }
            }
            (&Method::GET, "/pages") => Answer::json(&self.kept().iter().collect::<Vec<_>>()),
            (&Method::POST, path) => self.take(path.trim_start_matches('/'), asked),
            (&Method::DELETE, "/pages") if self.may_send(asked) => {
                self.kept().clear();
                Answer::text(StatusCode::OK, "ok")
            }
            _ => Answer::text(
                StatusCode::NOT_FOUND,
                "there are / and /pages to look at, /page, /chat and /slack to send to\n",
            ),
        }
    }

    fn take(&self, receiver: &str, asked: &Asked) -> Answer {
        if !self.may_send(asked) {
            return Answer::text(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
        }
        let now = (self.clock)();
        let sent = match receiver {
            "slack" => sent::from_slack(&asked.body, now),
            _ if receiver.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                && !receiver.is_empty() =>
            {
                sent::from_webhook(&asked.body, now)
            }
            _ => return Answer::text(StatusCode::NOT_FOUND, "there are /page, /chat and /slack to send to\n"),
        };
        match sent {
            Ok(sent) => {
                let mut kept = self.kept();
                for one in sent {
                    kept.push_front(one);
                }
                kept.truncate(KEPT);
                // Alertmanager wants Slack's own word.
                Answer::text(StatusCode::OK, "ok")
            }
            Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("it cannot be read: {error}\n")),
        }
    }

    fn may_send(&self, asked: &Asked) -> bool {
        let Some(token) = &self.token else { return !asked.is_of_a_site };
        let given = asked.token.as_deref().unwrap_or_default();
        token.expose_secret().as_bytes().ct_eq(given.as_bytes()).into()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
