//! Redis over Upstash's REST: commands as JSON, answers as JSON, a bearer token.
//!
//! Its forms are those of <https://upstash.com/docs/redis/features/restapi>. It only reads, follows no redirect (the token
//! would go along), and reads no answer beyond its bounds.

mod answer;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Span;
use url::Url;

use super::authorities;
use super::keyspace::refusal::Refusal;
use super::keyspace::{Keyspace, ScanPage, fields_of};
use super::spend::Spend;
use super::trace::{self, Peer, traced};
use crate::config::SourceSettings;
use crate::telemetry::{Failure, Reason};
use answer::Answer;

/// The longest answer: a page of a scan is some hundred kilobytes where names of keys are long.
const ANSWER_BYTES: usize = 16 << 20;

/// Names of keys in one MGET; the service takes requests of a megabyte at least, see
/// <https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded>.
const REQUEST_BYTES: usize = 512 << 10;

/// Idle connections are closed after so long, before the service does.
const IDLE: Duration = Duration::from_secs(20);

/// Commands of which a scan sends many.
const OF_SCANS: [&str; 2] = ["SCAN", "MGET"];

/// Asks for texts in base64, so that names of keys which are no UTF-8 stay different.
const BASE64: (&str, &str) = ("upstash-encoding", "base64");

/// Redis over Upstash's REST.
pub struct UpstashRest {
    name: String,
    spend: Spend,
    peer: Peer,
    url: Url,
    command: Uri,
    pipeline: Uri,
    authorization: HeaderValue,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    patience: Duration,
    turn: Arc<Semaphore>,
}

impl UpstashRest {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL, the token or the file of certificates cannot be understood.
    pub fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        let amiss = |what: &str| Failure::new(Reason::BadCredentials, what);
        let mut url = Url::parse(settings.url.expose_secret().trim()).map_err(|_| amiss("the URL cannot be read"))?;
        url.set_query(None);
        url.set_fragment(None);
        // A name and password would be sent nowhere: the token is what counts.
        let _ = (url.set_username(""), url.set_password(None));
        let base = url.as_str().trim_end_matches('/');
        let uri = |text: String| text.parse::<Uri>().map_err(|_| amiss("the URL cannot be used"));
        let token = settings.token.as_ref().map(SecretString::expose_secret).unwrap_or_default().trim();
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| amiss("the token holds what no token holds; copy it again"))?;
        authorization.set_sensitive(true);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let https = match &settings.ca_file {
            None => HttpsConnectorBuilder::new().with_webpki_roots(),
            Some(file) => {
                let roots = authorities::read(file).map_err(|message| amiss(&message))?;
                let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(config)
            }
        };
        let https = https.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(https);
        Ok(UpstashRest {
            name: settings.name.clone(),
            spend: Spend::default(),
            peer: peer(&url),
            command: uri(format!("{base}/"))?,
            pipeline: uri(format!("{base}/pipeline"))?,
            authorization,
            client,
            patience: settings.connect_timeout + settings.statement_timeout,
            turn: Arc::new(Semaphore::new(1)),
            url,
        })
    }

    /// Runs one command.
    async fn ask(&self, doing: &str, command: &Value, encoded: bool) -> Result<Result<Value, Refusal>, Failure> {
        let body = command.to_string();
        Answer::one(self.post(doing, &self.command, body, 1, encoded).await?, doing)
    }

    /// Runs several commands in one request.
    async fn ask_all(&self, doing: &str, commands: &[Value]) -> Result<Vec<Result<Value, Refusal>>, Failure> {
        let body = json!(commands).to_string();
        let answer = self.post(doing, &self.pipeline, body, commands.len() as u64, false).await?;
        Answer::several(answer, commands.len(), doing)
    }

    /// One request and its whole answer, within the time that there is for it.
    async fn post(
        &self,
        doing: &str,
        uri: &Uri,
        body: String,
        commands: u64,
        encoded: bool,
    ) -> Result<Answer, Failure> {
        let body = Bytes::from(body);
        let exchange = async {
            self.spend.add(commands);
            match self.exchange(doing, uri, body.clone(), encoded).await {
                // A connection that the service closed in the moment we took it up again.
                Err(Broken { failure: _, again: true }) => {
                    self.spend.add(commands);
                    self.exchange(doing, uri, body.clone(), encoded).await
                }
                answer => answer,
            }
        };
        let bounded = async {
            match timeout(self.patience, exchange).await {
                Ok(answer) => answer.map_err(|broken| broken.failure),
                Err(_) => Err(Failure::new(
                    Reason::Silent,
                    format!(
                        "{doing}: no whole answer within {:?} (`connect_timeout` and `statement_timeout`)",
                        self.patience
                    ),
                )),
            }
        };
        // A scan takes thousands of requests, and has one span.
        let span = if OF_SCANS.contains(&doing) { Span::none() } else { trace::requested("POST", &self.url) };
        let answer = traced(span.clone(), bounded).await;
        if let Ok(answer) = &answer {
            span.record("http.response.status_code", i64::from(answer.status.as_u16()));
        }
        answer
    }

    async fn exchange(&self, doing: &str, uri: &Uri, body: Bytes, encoded: bool) -> Result<Answer, Broken> {
        let mut request = Request::post(uri.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("rowmetry/", env!("CARGO_PKG_VERSION")));
        if encoded {
            request = request.header(BASE64.0, BASE64.1);
        }
        let request = request.body(Full::new(body)).expect("its parts were checked");
        let response = self.client.request(request).await.map_err(|error| {
            let hint = if error.is_connect() { "look at the URL" } else { "the connection broke" };
            Broken {
                failure: Failure::new(Reason::Unreachable, format!("{doing}: {}; {hint}", causes(&error))),
                again: !error.is_connect(),
            }
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| {
            let failure = if error.downcast_ref::<LengthLimitError>().is_some() {
                Failure::new(Reason::BadReply, format!("{doing}: the answer is longer than {ANSWER_BYTES} bytes"))
            } else {
                Failure::new(Reason::Unreachable, format!("{doing}: the connection broke in the middle of the answer"))
            };
            Broken { failure, again: false }
        })?;
        Ok(Answer { status, body: body.to_bytes() })
    }

    /// Runs one command whose refusal is a failure.
    async fn get(&self, doing: &str, command: &Value) -> Result<Value, Failure> {
        self.ask(doing, command, false).await?.map_err(|refusal| refused(&refusal, doing))
    }
}

fn peer(url: &Url) -> Peer {
    let (address, port) = (url.host_str().map(str::to_owned), url.port_or_known_default());
    Peer { system: "redis", namespace: "0".to_owned(), address, port }
}

/// An exchange that came to nothing.
struct Broken {
    failure: Failure,
    /// Whether it may be tried once more: nothing of an answer had come.
    again: bool,
}

fn refused(refusal: &Refusal, doing: &str) -> Failure {
    let mut failure = refusal.failure(doing);
    if failure.reason == Reason::Forbidden {
        failure.message.push_str(
            ". The read-only token may not scan: use the standard token, or one of a user of your own (`ACL RESTTOKEN`)",
        );
    }
    failure
}

/// An error with what lies behind it.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[async_trait]
impl Keyspace for UpstashRest {
    fn name(&self) -> &str {
        &self.name
    }

    fn database(&self) -> i64 {
        0
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn turn(&self) -> &Arc<Semaphore> {
        &self.turn
    }

    /// Whatever server answers, it is the service's: a cursor means the same to each.
    fn epoch(&self) -> u64 {
        1
    }

    async fn scan(&self, cursor: &str, matching: &str, count: u32) -> Result<ScanPage, Failure> {
        let command = json!(["SCAN", cursor, "MATCH", matching, "COUNT", count]);
        let page = self.ask("SCAN", &command, true).await?.map_err(|refusal| refused(&refusal, "SCAN"))?;
        answer::page(&page).ok_or_else(|| answer::odd("SCAN"))
    }

    async fn numbers(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<u64>>, Failure> {
        let mut numbers = vec![None; keys.len()];
        // A name that is no UTF-8 cannot be said in JSON, so its value cannot be asked for.
        let mut named = keys.iter().enumerate().filter_map(|(at, key)| Some((at, std::str::from_utf8(key).ok()?)));
        let mut next = named.next();
        while next.is_some() {
            let (mut places, mut command, mut bytes) = (Vec::new(), vec![json!("MGET")], 0);
            while let Some((at, key)) = next.filter(|(_, key)| bytes == 0 || bytes + key.len() <= REQUEST_BYTES) {
                bytes += key.len();
                places.push(at);
                command.push(json!(key));
                next = named.next();
            }
            let values = self.get("MGET", &Value::from(command)).await?;
            let values = values.as_array().filter(|values| values.len() == places.len());
            for (at, value) in places.into_iter().zip(values.ok_or_else(|| answer::odd("MGET"))?) {
                numbers[at] = answer::number(value);
            }
        }
        Ok(numbers)
    }

    async fn size(&self) -> Result<u64, Failure> {
        let size = self.get("DBSIZE", &json!(["DBSIZE"])).await?;
        answer::number(&size).ok_or_else(|| answer::odd("DBSIZE"))
    }

    async fn info(&self, sections: &[String]) -> Result<Vec<(String, String)>, Failure> {
        let answers = if sections.is_empty() {
            vec![self.ask("INFO", &json!(["INFO"]), false).await?]
        } else {
            let commands: Vec<Value> = sections.iter().map(|section| json!(["INFO", section])).collect();
            self.ask_all("INFO", &commands).await?
        };
        let mut fields = Vec::new();
        for answer in answers {
            match answer {
                Ok(text) => fields.extend(fields_of(text.as_str().ok_or_else(|| answer::odd("INFO"))?)),
                Err(refusal) if refusal.is_unsupported() => {}
                Err(refusal) => return Err(refused(&refusal, "INFO")),
            }
        }
        Ok(fields)
    }

    async fn ping(&self) -> Result<f64, Failure> {
        let began = Instant::now();
        self.get("PING", &json!(["PING"])).await?;
        Ok(began.elapsed().as_secs_f64())
    }
}
