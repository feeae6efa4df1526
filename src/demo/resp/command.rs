//! What each command does, and what it answers: word for word what Redis 7 says, where it says more than a value.
//!
//! No command waits, and none looks at all keys at once but those that Rowmetry never sends.

use std::fmt::Write as _;

use super::glob;
use super::keyspace::Keyspace;
use super::wire::{Command, Reply};
use crate::family::Micros;

/// The version that is told: what it says of itself makes clear that it is no Redis.
const VERSION: &str = "7.0.0-demo";

/// Bytes that are told as the most it may use.
const MAX_MEMORY: usize = 64 * 1024 * 1024;

/// Keys that a SCAN looks at unless told otherwise, as in Redis.
const SCAN_COUNT: usize = 10;

/// Most keys that one SCAN looks at.
const SCAN_MOST: usize = 4096;

/// Arguments of an unknown command that are repeated, and bytes of each, as in Redis.
const REPEATED: usize = 128;

const SYNTAX: &str = "ERR syntax error";
const NO_INTEGER: &str = "ERR value is not an integer or out of range";

/// A server's keys and what it knows of itself.
pub(super) struct Server {
    keys: Keyspace,
    started: Micros,
    clients: usize,
    connections: u64,
    commands: u64,
}

type Args<'a> = &'a [Vec<u8>];

impl Server {
    pub(super) fn new(now: Micros) -> Self {
        Server { keys: Keyspace::default(), started: now, clients: 0, connections: 0, commands: 0 }
    }

    pub(super) fn client_came(&mut self) {
        self.clients += 1;
        self.connections += 1;
    }

    pub(super) fn client_went(&mut self) {
        self.clients -= 1;
    }

    /// Does what a command says.
    pub(super) fn answer(&mut self, command: &Command, now: Micros) -> Reply {
        self.commands += 1;
        self.keys.expire(now);
        let Some((name, args)) = command.split_first() else { return Reply::Error("ERR unknown command ''".into()) };
        let name_text = String::from_utf8_lossy(name).into_owned();
        let (lower, count) = (name_text.to_ascii_lowercase(), args.len());
        let outcome = match (lower.as_str(), count) {
            ("ping", 0) => Ok(Reply::Simple("PONG".into())),
            ("ping", 1) => Ok(Reply::text(args[0].clone())),
            ("hello", _) => Err("NOPROTO unsupported protocol version".into()),
            ("auth", 1..=2) => Err("ERR AUTH <password> called without any password configured for the default user. \
                                    Are you sure your configuration is correct?"
                .into()),
            ("select", 1) => select(&args[0]),
            ("client", 1..) => Ok(Reply::ok()),
            ("info", _) => Ok(Reply::text(self.info(args, now))),
            ("dbsize", 0) => Ok(Reply::Integer(self.keys.len() as i64)),
            ("scan", 1..) => self.scan(args),
            ("mget", 1..) => Ok(Reply::Array(args.iter().map(|key| Reply::Bulk(self.keys.get(key))).collect())),
            ("get", 1) => Ok(Reply::Bulk(self.keys.get(&args[0]))),
            ("set", 2..) => self.set(args, now),
            ("incr", 1) => self.incr(&args[0]),
            ("del", 1..) => Ok(Reply::Integer(args.iter().filter(|key| self.keys.remove(key)).count() as i64)),
            ("expire", 2) => self.expire(args, now),
            ("ttl", 1) => Ok(Reply::Integer(match self.keys.end_of(&args[0]) {
                None => -2,
                Some(None) => -1,
                // Rounded as Redis does it.
                Some(Some(ends)) => ((ends - now) / 1000 + 500) / 1000,
            })),
            (
                "ping" | "auth" | "select" | "client" | "dbsize" | "scan" | "mget" | "get" | "set" | "incr" | "del"
                | "expire" | "ttl",
                _,
            ) => Err(format!("ERR wrong number of arguments for '{lower}' command")),
            _ => Err(unknown(&name_text, args)),
        };
        outcome.unwrap_or_else(Reply::Error)
    }

    fn scan(&self, args: Args) -> Result<Reply, String> {
        let from = text(&args[0]).parse().map_err(|_| "ERR invalid cursor".to_owned())?;
        let (mut pattern, mut count): (&[u8], usize) = (b"*", SCAN_COUNT);
        for option in args[1..].chunks(2) {
            match (text(&option[0]).to_ascii_lowercase().as_str(), option.get(1)) {
                ("match", Some(value)) => pattern = value,
                ("count", Some(value)) => {
                    count = integer(value)?.try_into().ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
                }
                _ => return Err(SYNTAX.into()),
            }
        }
        let (next, keys) = self.keys.scan(from, count.min(SCAN_MOST), |key| glob::fits(pattern, key));
        let keys = keys.into_iter().map(Reply::text).collect();
        Ok(Reply::Array(vec![Reply::text(next.to_string()), Reply::Array(keys)]))
    }

    fn set(&mut self, args: Args, now: Micros) -> Result<Reply, String> {
        let mut ends = None;
        for option in args[2..].chunks(2) {
            let unit = match text(&option[0]).to_ascii_lowercase().as_str() {
                "ex" => 1_000_000,
                "px" => 1000,
                _ => return Err(SYNTAX.into()),
            };
            let length = integer(option.get(1).ok_or(SYNTAX)?)?;
            let too_much = || "ERR invalid expire time in 'set' command".to_owned();
            let length = length.checked_mul(unit).filter(|length| *length > 0).ok_or_else(too_much)?;
            if ends.replace(now.checked_add(length).ok_or_else(too_much)?).is_some() {
                return Err(SYNTAX.into());
            }
        }
        self.keys.set(&args[0], args[1].clone(), ends);
        Ok(Reply::ok())
    }

    fn incr(&mut self, key: &[u8]) -> Result<Reply, String> {
        let ends = self.keys.end_of(key).flatten();
        let before = match self.keys.value(key) {
            Some(value) => integer(value)?,
            None => 0,
        };
        let after = before.checked_add(1).ok_or("ERR increment or decrement would overflow")?;
        self.keys.set(key, after.to_string().into_bytes(), ends);
        Ok(Reply::Integer(after))
    }

    fn expire(&mut self, args: Args, now: Micros) -> Result<Reply, String> {
        let ends = integer(&args[1])?.checked_mul(1_000_000).and_then(|length| now.checked_add(length));
        let ends = ends.ok_or("ERR invalid expire time in 'expire' command")?;
        let found = self.keys.end_at(&args[0], ends);
        self.keys.expire(now);
        Ok(Reply::Integer(i64::from(found)))
    }

    /// The fields that Rowmetry's pack reads, and what belongs to them, in the sections in which Redis has them.
    fn info(&self, sections: Args, now: Micros) -> String {
        let figures = self.keys.figures();
        let memory = self.keys.bytes() + 1024 * 1024;
        let (keys, ending) = (self.keys.len(), self.keys.ending());
        let keyspace =
            if keys == 0 { String::new() } else { format!("db0:keys={keys},expires={ending},avg_ttl=0\r\n") };
        let all = [
            (
                "Server",
                format!(
                    "redis_version:{VERSION}\r\nredis_mode:standalone\r\nprocess_id:{}\r\nuptime_in_seconds:{}\r\n",
                    std::process::id(),
                    (now - self.started) / 1_000_000
                ),
            ),
            (
                "Clients",
                format!("connected_clients:{}\r\nmaxclients:{}\r\nblocked_clients:0\r\n", self.clients, super::CLIENTS),
            ),
            ("Memory", format!("used_memory:{memory}\r\nmaxmemory:{MAX_MEMORY}\r\nmaxmemory_policy:volatile-ttl\r\n")),
            (
                "Stats",
                format!(
                    "total_connections_received:{}\r\ntotal_commands_processed:{}\r\nrejected_connections:0\r\nexpired_keys:{}\r\nevicted_keys:{}\r\n\
                     keyspace_hits:{}\r\nkeyspace_misses:{}\r\n",
                    self.connections, self.commands, figures.expired, figures.evicted, figures.hits, figures.misses
                ),
            ),
            ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
            ("Keyspace", keyspace),
        ];
        let wanted = |name: &str| {
            let one = |section: &Vec<u8>| {
                let section = text(section).to_ascii_lowercase();
                section == name.to_ascii_lowercase() || ["all", "default", "everything"].contains(&section.as_str())
            };
            sections.is_empty() || sections.iter().any(one)
        };
        let mut told = String::new();
        for (name, fields) in all.iter().filter(|(name, _)| wanted(name)) {
            let gap = if told.is_empty() { "" } else { "\r\n" };
            // Writing to a String cannot fail.
            let _ = write!(told, "{gap}# {name}\r\n{fields}");
        }
        told
    }
}

/// There is one database.
fn select(number: &[u8]) -> Result<Reply, String> {
    match integer(number) {
        Ok(0) => Ok(Reply::ok()),
        Ok(_) => Err("ERR DB index is out of range".into()),
        Err(_) => Err(NO_INTEGER.into()),
    }
}

fn unknown(name: &str, args: Args) -> String {
    let mut told = String::new();
    for argument in args {
        if told.len() >= REPEATED {
            break;
        }
        let rest = REPEATED - told.len();
        let argument: String = text(argument).chars().take(rest).collect();
        let _ = write!(told, "'{argument}' ");
    }
    let name: String = name.chars().take(REPEATED).collect();
    format!("ERR unknown command '{name}', with args beginning with: {told}").replace(['\r', '\n'], " ")
}

fn integer(text: &[u8]) -> Result<i64, String> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| NO_INTEGER.to_owned())
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
