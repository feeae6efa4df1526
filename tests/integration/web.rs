//! The web server over real sockets: what clients get, and what they cannot do.

use std::future::Future;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rowmetry::config::WebSettings;
use rowmetry::family::{Family, Kind, Labels, Series, Value};
use rowmetry::store::board::SourceStatus;
use rowmetry::store::{Board, CollectorId, Store};
use rowmetry::telemetry::{Metrics, Reason};
use rowmetry::web::{ReloadHook, WebState, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Nothing here takes long; a test that waits so long for anything has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: std::net::SocketAddr,
    web: Arc<WebState>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(settings: WebSettings, reload: Option<ReloadHook>) -> Self {
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let store = Arc::new(Store::new(metrics.clone()));
        let now = AtomicI64::new(1_700_000_000_000_000);
        let clock = Arc::new(move || now.fetch_add(1000, Ordering::Relaxed));
        let web = WebState::new(store, Arc::new(Board::new()), metrics, settings, reload, "1.2.3", clock);
        let web = Arc::new(web);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, web.clone(), async move {
            let _ = stopped.await;
        }));
        Server { address, web, stop: Some(stop), task }
    }

    async fn plain() -> Self {
        Server::start(WebSettings::default(), None).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// One request on a connection of its own; head and body of the reply.
    async fn ask(&self, request: &str) -> (String, Vec<u8>) {
        let mut stream = self.connect().await;
        let request = request.replacen("\r\n", "\r\nHost: x\r\nConnection: close\r\n", 1);
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        read_all(&mut stream).await
    }

    async fn get(&self, path: &str) -> (String, String) {
        let (head, body) = self.ask(&format!("GET {path} HTTP/1.1\r\n\r\n")).await;
        (head, String::from_utf8(body).expect("UTF-8"))
    }

    fn publish(&self, value: f64) {
        let series = vec![Series {
            labels: Labels::none(),
            value: Value::Number(value),
            start: Some(1_000_000),
            exemplar: None,
        }];
        let family = Family { name: "app_x_total".into(), help: "X.".into(), kind: Kind::Counter, series };
        self.web.store.publish(&CollectorId::new("s", "p", "c"), vec![family]);
    }
}

async fn read_all(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut reply = Vec::new();
    // A server that closes with bytes of ours unread resets the connection; what came before still counts.
    let _ = soon(stream.read_to_end(&mut reply)).await;
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").map_or(reply.len(), |end| end + 4);
    let body = reply.split_off(end);
    (String::from_utf8(reply).expect("heads are ASCII").to_lowercase(), body)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it ends in good time")
}

#[tokio::test]
async fn a_scrape_sees_what_was_published_before_it() {
    let server = Server::plain().await;
    for value in [1.0, 2.0, 3.0] {
        server.publish(value);
        let (head, body) = server.get("/metrics").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(
            head.contains("content-type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),
            "{head}"
        );
        assert!(head.contains("vary: accept, accept-encoding"), "{head}");
        assert!(body.contains(&format!("app_x_total {value}\n")), "{body}");
        assert!(body.contains("rowmetry_build_info{version=\"1.2.3\"} 1\n"), "{body}");
    }
    server.web.store.withdraw(&CollectorId::new("s", "p", "c"));
    assert!(!server.get("/metrics").await.1.contains("app_x_total"));
    assert!(server.get("/metrics").await.1.contains("rowmetry_scrape_seconds_count{format=\"text\"} 4\n"));
}

#[tokio::test]
async fn each_format_is_whole_and_gzip_holds_the_same() {
    let server = Server::plain().await;
    server.publish(7.0);
    let accept = "Accept: application/openmetrics-text;version=1.0.0";
    let (head, body) = server.ask(&format!("GET /metrics HTTP/1.1\r\n{accept}\r\n\r\n")).await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0;"), "{head}");
    assert!(!head.contains("content-encoding"), "{head}");
    let body = String::from_utf8(body).expect("UTF-8");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    assert_eq!(body.matches("# EOF").count(), 1);
    assert!(body.contains("app_x_created 1\n"), "{body}");

    let request = format!("GET /metrics HTTP/1.1\r\n{accept}\r\nAccept-Encoding: gzip\r\n\r\n");
    let (head, packed) = server.ask(&request).await;
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed)
        .read_to_string(&mut text)
        .expect("one gzip stream, as every client reads it");
    let apps = |text: &str| text.lines().filter(|line| line.contains("app_")).map(String::from).collect::<Vec<_>>();
    assert_eq!(apps(&text), apps(&body));
    assert!(text.ends_with("\n# EOF\n"), "{text}");

    let accept = "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let (head, body) = server.ask(&format!("GET /metrics HTTP/1.1\r\n{accept}\r\n\r\n")).await;
    assert!(head.contains("content-type: application/vnd.google.protobuf; proto="), "{head}");
    assert_eq!(body[1..14], *b"\x0a\x0bapp_x_total");
}

#[tokio::test]
async fn head_tells_the_length_and_sends_no_body() {
    let server = Server::plain().await;
    for path in ["/metrics", "/", "/healthz", "/api/status"] {
        let (head, body) = server.ask(&format!("HEAD {path} HTTP/1.1\r\n\r\n")).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-length: ") && !head.contains("content-length: 0"), "{path}: {head}");
        assert_eq!(body.len(), 0, "{path}");
    }
}

#[tokio::test]
async fn odd_requests_get_a_fitting_answer() {
    let server = Server::plain().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(2000));
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500));
    let body = format!("GET / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n{}", "a".repeat(5000));
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\n\r\n", "404"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404"),
        ("POST /-/reload HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("DELETE / HTTP/1.1\r\n\r\n", "405"),
        ("GET /metrics?x=1 HTTP/1.1\r\n\r\n", "200"),
        (&long, "414"),
        (&huge, "431"),
        (&many, "431"),
        (&body, "413"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let (head, _) = server.ask(request).await;
        let first = &request[..request.len().min(40)];
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{first}: {head}");
    }
    let (head, _) = server.ask("PUT /metrics HTTP/1.1\r\n\r\n").await;
    assert!(head.contains("allow: get, head"), "{head}");
}

#[tokio::test]
async fn readiness_names_what_it_waits_for() {
    let server = Server::plain().await;
    let board = &server.web.board;
    board.update(|view| view.sources.insert("main".into(), SourceStatus::default()));
    board.collector(&CollectorId::new("main", "app", "orders"), |_| ());
    let (head, body) = server.get("/readyz").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert!(body.contains("main: ") && body.contains("main/app/orders"), "{body}");
    assert!(server.get("/healthz").await.0.starts_with("http/1.1 200"));
    assert!(server.get("/-/healthy").await.0.starts_with("http/1.1 200"));

    board.update(|view| view.sources.insert("main".into(), SourceStatus { settled: true, ..Default::default() }));
    board.collector(&CollectorId::new("main", "app", "orders"), |status| status.state = Some(Reason::Timeout.state()));
    for path in ["/readyz", "/-/ready"] {
        assert!(server.get(path).await.0.starts_with("http/1.1 200"), "{path}");
    }
    let (head, page) = server.get("/").await;
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(page.contains("orders") && page.contains("timeout"), "{page}");
    let json: serde_json::Value = serde_json::from_str(&server.get("/api/status").await.1).expect("JSON");
    assert_eq!(json["verdict"], "failing");
    assert_eq!(json["sources"][0]["collectors"][0]["state"], "timeout");
}

#[tokio::test]
async fn a_reload_answers_with_what_came_of_it() {
    let settings = WebSettings { reload_endpoint: true, ..WebSettings::default() };
    let calls = Arc::new(AtomicI64::new(0));
    let hook: ReloadHook = Arc::new(move || {
        let refused = calls.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move { if refused { Err(vec!["line 3: no such pack".into()]) } else { Ok(()) } })
    });
    let server = Server::start(settings, Some(hook)).await;
    let (head, body) = server.ask("POST /-/reload HTTP/1.1\r\nContent-Length: 0\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("line 3: no such pack"));
    let (head, _) = server.ask("POST /-/reload HTTP/1.1\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(server.get("/-/reload").await.0.starts_with("http/1.1 405"));
    let metrics = server.get("/metrics").await.1;
    for outcome in ["ok", "refused"] {
        assert!(metrics.contains(&format!("rowmetry_config_reloads_total{{outcome=\"{outcome}\"}} 1\n")), "{metrics}");
    }
}

#[tokio::test]
async fn silent_clients_are_sent_away() {
    let settings = WebSettings { header_timeout: Duration::from_millis(200), ..WebSettings::default() };
    let server = Server::start(settings, None).await;
    for start in ["", "GET /metr", "PRI * HT", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(start.as_bytes()).await.expect("the server reads");
        let (head, _) = read_all(&mut stream).await;
        assert!(head.is_empty() || head.contains("http/1.1 "), "{start}: {head}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_take_its_reply_is_cut_off() {
    let settings = WebSettings { write_timeout: Duration::from_millis(300), connections: 1, ..WebSettings::default() };
    let server = Server::start(settings, None).await;
    // More than the buffers of both ends hold.
    let name: Arc<str> = "pad".into();
    let pad = "x".repeat(1000);
    let series = (0..40_000).map(|i| {
        let value = format!("{pad}{i}");
        Series {
            labels: Labels::new([(name.clone(), &*value)]),
            value: Value::Number(1.0),
            start: None,
            exemplar: None,
        }
    });
    let family = Family { name: "app_big".into(), help: "Big.".into(), kind: Kind::Gauge, series: series.collect() };
    server.web.store.publish(&CollectorId::new("s", "p", "c"), vec![family]);

    let mut slow = server.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
    // It holds the only place until it is cut off.
    soon(async {
        while !server.get("/healthz").await.0.starts_with("http/1.1 200") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut taken = Vec::new();
    let _ = soon(slow.read_to_end(&mut taken)).await;
    assert!(taken.len() < 40_000_000, "it got everything: {} bytes", taken.len());
    let (head, body) = server.get("/metrics").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(body.len() > 40_000_000, "who reads gets everything");
    assert!(!body.contains("rowmetry_http_connections_refused_total 0\n"));
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let settings = WebSettings { connections: 2, ..WebSettings::default() };
    let server = Server::start(settings, None).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
        let mut first = [0; 12];
        soon(stream.read_exact(&mut first)).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        kept.push(stream);
    }
    let (head, body) = server.get("/healthz").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert_eq!(body, "Too many are connected.\n");
    drop(kept);
    soon(async {
        while !server.get("/healthz").await.0.starts_with("http/1.1 200") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_takes_no_more() {
    let settings = WebSettings { reload_endpoint: true, ..WebSettings::default() };
    let (started, under_way) = oneshot::channel::<()>();
    let (finish, finished) = oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((started, finished)));
    let hook: ReloadHook = Arc::new(move || {
        let (started, finished) = once.lock().expect("one caller").take().expect("called once");
        Box::pin(async move {
            started.send(()).map_err(|()| vec!["nobody waits".to_owned()])?;
            finished.await.map_err(|error| vec![error.to_string()])
        })
    });
    let mut server = Server::start(settings, Some(hook)).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
    let mut first = [0; 12];
    soon(idle.read_exact(&mut first)).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut busy = server.connect().await;
    busy.write_all(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
    soon(under_way).await.expect("the reload began");
    server.stop.take().expect("not stopped yet").send(()).expect("it runs");
    // It ends only because the server lets an idle client go.
    read_all(&mut idle).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody new is let in");
    assert!(!server.task.is_finished(), "it waits for the reply under way");
    finish.send(()).expect("the reload waits");
    let (head, _) = read_all(&mut busy).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    soon(server.task).await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let settings = WebSettings { reload_endpoint: true, ..WebSettings::default() };
    let begun = Arc::new(tokio::sync::Notify::new());
    let hook: ReloadHook = Arc::new({
        let begun = begun.clone();
        move || {
            begun.notify_one();
            Box::pin(std::future::pending())
        }
    });
    let mut server = Server::start(settings, Some(hook)).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
    soon(begun.notified()).await;
    server.stop.take().expect("not stopped yet").send(()).expect("it runs");
    soon(server.task).await.expect("no panic").expect("no error");
    let (head, _) = read_all(&mut stuck).await;
    assert_eq!(head, "", "its connection ended with the server");
}
