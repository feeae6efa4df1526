//! The clients of the demo's own servers: so many at a time, and whoever comes beyond waits for room.
//!
//! It knows no protocol. What is served ends when the future is dropped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Time before the next look when no client could be accepted, as where the process has all the files open that it may.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts clients, `at_a_time` at most, and serves each.
pub(super) async fn serve_each<S, F>(listener: TcpListener, at_a_time: usize, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut clients = JoinSet::new();
    let room = Arc::new(Semaphore::new(at_a_time));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        while clients.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let served = serve(stream);
        clients.spawn(async move {
            served.await;
            drop(permit);
        });
    }
}
