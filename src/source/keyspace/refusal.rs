//! What an error reply of Redis means in the closed list of reasons, whichever way it came.
//!
//! A message repeats what the server says of itself, never a key: where Redis quotes arguments, the quote is cut off.

use crate::telemetry::{Failure, Reason};

/// More of an error reply is not shown.
const SHOWN_CHARACTERS: usize = 200;

/// An error reply: `NOPERM this user has no permissions …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: String,
    detail: String,
}

impl Refusal {
    /// Of an error reply's whole text.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let (code, detail) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            return Refusal { code: code.to_owned(), detail: detail.trim().to_owned() };
        }
        Refusal { code: "ERR".to_owned(), detail: text.to_owned() }
    }

    /// Of an error reply's code and the text after it.
    pub fn with(code: &str, detail: &str) -> Self {
        Refusal { code: code.to_owned(), detail: detail.to_owned() }
    }

    /// Whether the service does not have the command at all.
    pub fn is_unsupported(&self) -> bool {
        let detail = self.detail.to_ascii_lowercase();
        self.code == "ERR"
            && [
                "unknown command",
                "unknown subcommand",
                "is not available",
                "not supported",
                "unsupported",
                "is disabled",
            ]
            .iter()
            .any(|words| detail.contains(words))
    }

    /// What it means. `doing` is the command.
    pub fn failure(&self, doing: &str) -> Failure {
        let (reason, mend) = self.meaning(doing);
        let Refusal { code, .. } = self;
        let said = self.said();
        let mend = if mend.is_empty() { mend } else { format!("; {mend}") };
        Failure::new(reason, format!("{doing}: Redis says {code}{said}{mend}"))
    }

    fn meaning(&self, doing: &str) -> (Reason, String) {
        let detail = self.detail.to_ascii_lowercase();
        let command = doing.to_ascii_lowercase().replace(' ', "|");
        match self.code.as_str() {
            "WRONGPASS" => (Reason::BadCredentials, "look at user and password (or token)".into()),
            "NOAUTH" => (Reason::BadCredentials, "it wants a password: put it into the URL".into()),
            "DENIED" => (Reason::BadCredentials, "give it a password, or let it listen for us".into()),
            "NOPERM" if detail.contains("key") && !detail.contains("command") => {
                (Reason::Forbidden, "let the user read the keys that the pack names (`~pattern`)".into())
            }
            "NOPERM" => (Reason::Forbidden, format!("let the user run it (`ACL SETUSER … +{command}`)")),
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "TRYAGAIN" => {
                (Reason::Unreachable, "it answers when it is done".into())
            }
            _ if detail.contains("max number of clients") || detail.contains("max concurrent connections") => {
                (Reason::TooManyConnections, "raise `maxclients`, or find who holds so many connections".into())
            }
            _ if ["max daily request limit", "max requests limit", "rate limit", "too many requests"]
                .iter()
                .any(|words| detail.contains(words)) =>
            {
                (
                    Reason::RateLimited,
                    "the plan's commands are used up: raise the plan, read less often (`interval`), or set `budget`"
                        .into(),
                )
            }
            _ if doing == "AUTH" => (Reason::BadCredentials, "look at user and password in the URL".into()),
            _ if doing == "SELECT" => (Reason::BadCredentials, "look at the number of the database in the URL".into()),
            "MOVED" | "ASK" | "CROSSSLOT" => {
                (Reason::BadQuery, "this is one node of a cluster, which knows its own keys alone".into())
            }
            _ => (Reason::BadQuery, String::new()),
        }
    }

    /// The text as it may be shown. What follows `with args` quotes the command, and so perhaps a key.
    fn said(&self) -> String {
        let detail = self.detail.split(", with args").next().unwrap_or_default();
        if detail.is_empty() || ["MOVED", "ASK"].contains(&self.code.as_str()) {
            return String::new();
        }
        format!(" {}", detail.chars().take(SHOWN_CHARACTERS).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_reason() {
        for (doing, text, reason) in [
            ("AUTH", "WRONGPASS invalid username-password pair or user is disabled.", Reason::BadCredentials),
            (
                "AUTH",
                "ERR AUTH <password> called without any password configured for the default user.",
                Reason::BadCredentials,
            ),
            ("SCAN", "NOAUTH Authentication required.", Reason::BadCredentials),
            ("SELECT", "ERR DB index is out of range", Reason::BadCredentials),
            ("PING", "DENIED Redis is running in protected mode", Reason::BadCredentials),
            ("SCAN", "NOPERM User watcher has no permissions to run the 'scan' command", Reason::Forbidden),
            ("MGET", "NOPERM No permissions to access a key", Reason::Forbidden),
            ("AUTH", "ERR max number of clients reached", Reason::TooManyConnections),
            ("SCAN", "ERR max concurrent connections exceeded", Reason::TooManyConnections),
            ("SCAN", "LOADING Redis is loading the dataset in memory", Reason::Unreachable),
            ("SCAN", "ERR max daily request limit exceeded", Reason::RateLimited),
            ("SCAN", "ERR max requests limit exceeded. Limit: 500000", Reason::RateLimited),
            ("SCAN", "CROSSSLOT Keys in request don't hash to the same slot", Reason::BadQuery),
            ("SCAN", "ERR invalid cursor", Reason::BadQuery),
            ("SCAN", "something else", Reason::BadQuery),
        ] {
            let failure = Refusal::of(text).failure(doing);
            assert_eq!(failure.reason, reason, "{text}: {failure}");
            assert!(failure.message.starts_with(doing), "{failure}");
        }
        assert!(
            Refusal::of("NOPERM no permissions to run the 'scan' command").failure("SCAN").message.contains("+scan")
        );
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_refused() {
        assert!(Refusal::of("ERR unknown command 'INFO', with args beginning with: ").is_unsupported());
        assert!(Refusal::of("ERR Command is not available: 'INFO'. See https://example.org").is_unsupported());
        assert!(!Refusal::of("NOPERM this user has no permissions to run the 'info' command").is_unsupported());
        assert!(!Refusal::of("ERR max daily request limit exceeded").is_unsupported());
    }

    #[test]
    fn no_argument_is_told() {
        let text = "ERR unknown command 'MGET', with args beginning with: 'presence:cm1:ana@example.org' ";
        let failure = Refusal::of(text).failure("MGET");
        assert!(!failure.message.contains("ana@") && failure.message.contains("unknown command"), "{failure}");
    }
}
