//! STUB
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
pub type ReloadHook = Box<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;
pub struct WebState {
    pub store: Arc<crate::store::Store>,
    pub board: Arc<crate::store::Board>,
    pub metrics: Arc<crate::telemetry::Metrics>,
    pub settings: crate::config::WebSettings,
    pub reload: ReloadHook,
    pub version: String,
    pub clock: fn() -> i64,
}
pub async fn serve(
    l: tokio::net::TcpListener,
    w: Arc<WebState>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (mut s, _) = tokio::select! { x = l.accept() => x?, () = &mut shutdown => return Ok(()) };
        let mut b = [0; 4096];
        let n = s.read(&mut b).await?;
        let req = String::from_utf8_lossy(&b[..n]).to_string();
        let (code, body) = if req.starts_with("GET /metrics") {
            use prometheus::Encoder;
            let mut v = vec![];
            prometheus::TextEncoder::new().encode(&w.metrics.registry().gather(), &mut v).expect("x");
            (200, w.store.text() + &String::from_utf8_lossy(&v))
        } else if req.starts_with("GET /ready") {
            if w.board.is_ready() { (200, "ok".into()) } else { (503, format!("{:?}", w.board.view())) }
        } else {
            (200, format!("{:#?}", w.board.view()))
        };
        let _ = s
            .write_all(
                format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
                    .as_bytes(),
            )
            .await;
    }
}
