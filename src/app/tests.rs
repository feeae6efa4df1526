use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::config::logs::{DrainKind, DrainSettings};
use crate::config::{Limits, LogSettings, OtlpSettings, Upstream, WebSettings};

/// Tells that it is gone.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_stop_is_gone_before_another_begins() {
    let gone = Arc::new(AtomicBool::new(false));
    let held = Gone(gone.clone());
    let task = tokio::spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let (stop, _) = watch::channel(true);
    let mut running = Running { fingerprint: String::new(), task, stop };
    running.ended().await;
    assert!(gone.load(Ordering::Relaxed), "it could still write");
}

#[test]
fn a_drain_sees_other_packs_of_its_database() {
    let settings = |packs: &[&str]| {
        let mut source = SourceSettings::new(
            "db",
            Upstream::Database(crate::pack::System::Postgres),
            "postgres://h/d".to_owned().into(),
        );
        source.packs = Some(packs.iter().map(|pack| (*pack).to_owned()).collect());
        let drain = DrainSettings { database: Some("db".into()), ..DrainSettings::new("app", DrainKind::Http) };
        Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            state_dir: None,
            sources: vec![source],
            packs: Vec::new(),
            parameters: BTreeMap::new(),
            limits: Limits::default(),
            web: WebSettings::default(),
            alerts: crate::config::AlertSettings::default(),
            zero_first: Duration::ZERO,
            otlp: OtlpSettings::default(),
            logs: LogSettings { drains: vec![drain], ..LogSettings::default() },
        }
    };
    assert_eq!(shared(&settings(&["a"])), shared(&settings(&["a"])));
    assert_ne!(shared(&settings(&["a"])), shared(&settings(&["b"])));
}
