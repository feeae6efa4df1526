//! Keys as the applications write them, among many that are none of theirs.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::parts::harness::redis::Redis;

/// Keys that no pack counts.
const OTHERS: usize = 100_000;
/// Keys of each kind that is counted by a label: so many values of it, and so many keys of each.
const VALUES: usize = 50;
const KEYS: usize = 20;
/// Lengths of the windows of rate limiters, in milliseconds, and a limiter of each.
const LIMITERS: [(&str, u128); 6] = [
    ("ai:build", 3_600_000),
    ("ai:editor", 3_600_000),
    ("login", 900_000),
    ("chat:msg", 60_000),
    ("radar:post", 86_400_000),
    ("upload", 3_600_000),
];

/// Fills a Redis as the application of this name does.
pub fn fill(redis: &Redis, app: &str) {
    redis.populate(OTHERS, "somebody:elses");
    let pairs = || (1..=VALUES).flat_map(|value| (1..=KEYS).map(move |key| (value, key)));
    match app {
        "mentor" => {
            redis.set(pairs().map(|(tenant, user)| format!("presence:ctenantbench{tenant}:ubench{user}")), "{}");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
            for (limiter, window) in LIMITERS {
                // Of this window and the next few: the watch goes on.
                let keys = (0..20).flat_map(|later| {
                    let bucket = now / window + later;
                    (1..=KEYS).map(move |user| format!("@upstash/ratelimit:{limiter}:ubench{user}:{bucket}"))
                });
                redis.set(keys, "3");
            }
        }
        "coding_platform" => {
            let exam = |number: usize| format!("d1000000-0000-4000-8000-{number:012}");
            redis.set(pairs().map(|(number, student)| format!("exam:session:lock:{}:{student}", exam(number))), "1");
            redis.set((1..=VALUES * KEYS).map(|user| format!("user:profile:{user}")), "{}");
            redis.set((1..=VALUES).map(|number| format!("exam:{}", exam(number))), "{}");
        }
        other => panic!("{other} has no Redis"),
    }
}
