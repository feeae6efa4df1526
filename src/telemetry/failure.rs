//! The closed list of what can go wrong with a collector, and the state each of them means.
//!
//! A reason is at once a log field, a label value and the key to what an operator does next. Nothing here may
//! carry a secret or a row's content: a failure's message is shown on the front page.

use std::fmt;

/// What a collector's last run came to. Exported as `rowmetry_collector_state`, one series a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// The last read succeeded; the series are true as of then.
    Ok,
    /// The table or a column that the pack names is not there.
    Absent,
    /// The role may not read what the pack names.
    Forbidden,
    /// Row-level security would hide rows from the role, so nothing was read.
    RowsHidden,
    /// The database did not finish in the time it was given.
    Timeout,
    /// No connection could be made, or it broke.
    Unreachable,
    /// Anything else; the message tells.
    Error,
}

impl State {
    /// Every state, in the order in which they are exported.
    pub const ALL: [State; 7] = [
        State::Ok,
        State::Absent,
        State::Forbidden,
        State::RowsHidden,
        State::Timeout,
        State::Unreachable,
        State::Error,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Absent => "absent",
            State::Forbidden => "forbidden",
            State::RowsHidden => "rows_hidden",
            State::Timeout => "timeout",
            State::Unreachable => "unreachable",
            State::Error => "error",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a run failed. The list is closed: a new kind of failure is a new line here, never a free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A table that the pack names does not exist (Postgres 42P01).
    MissingTable,
    /// A column or a type that the pack names does not exist (Postgres 42703, 42704).
    MissingColumn,
    /// The role lacks a grant (Postgres 42501).
    Forbidden,
    /// Row-level security applies to the role (Postgres 42501 under `row_security = off`).
    RowsHidden,
    /// `statement_timeout` or our own deadline passed.
    Timeout,
    /// `lock_timeout` passed: somebody holds the table.
    LockTimeout,
    /// The server said nothing at all, not even that it ran out of time: it, or the way to it, is frozen.
    Silent,
    /// The server could not be reached, or the connection broke.
    Unreachable,
    /// The server refused user, password or database.
    BadCredentials,
    /// The server has no connection left for the role.
    TooManyConnections,
    /// The service answers no more for now: its plan's requests are used up, or they came too fast.
    RateLimited,
    /// The server refused the query for another reason.
    BadQuery,
    /// The reply could not be understood.
    BadReply,
    /// The state directory could not be written, so the new values were not published.
    StateWrite,
    /// The pack's definition changed in a way that the stored cursor does not fit.
    DefinitionChanged,
}

impl Reason {
    /// Every reason, in the order in which they are exported.
    pub const ALL: [Reason; 15] = [
        Reason::MissingTable,
        Reason::MissingColumn,
        Reason::Forbidden,
        Reason::RowsHidden,
        Reason::Timeout,
        Reason::LockTimeout,
        Reason::Silent,
        Reason::Unreachable,
        Reason::BadCredentials,
        Reason::TooManyConnections,
        Reason::RateLimited,
        Reason::BadQuery,
        Reason::BadReply,
        Reason::StateWrite,
        Reason::DefinitionChanged,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::MissingTable => "missing_table",
            Reason::MissingColumn => "missing_column",
            Reason::Forbidden => "forbidden",
            Reason::RowsHidden => "rows_hidden",
            Reason::Timeout => "timeout",
            Reason::LockTimeout => "lock_timeout",
            Reason::Silent => "silent",
            Reason::Unreachable => "unreachable",
            Reason::BadCredentials => "bad_credentials",
            Reason::TooManyConnections => "too_many_connections",
            Reason::RateLimited => "rate_limited",
            Reason::BadQuery => "bad_query",
            Reason::BadReply => "bad_reply",
            Reason::StateWrite => "state_write",
            Reason::DefinitionChanged => "definition_changed",
        }
    }

    /// The state that a run which failed for this reason leaves its collector in.
    pub const fn state(self) -> State {
        match self {
            Reason::MissingTable | Reason::MissingColumn => State::Absent,
            Reason::Forbidden => State::Forbidden,
            Reason::RowsHidden => State::RowsHidden,
            Reason::Timeout | Reason::LockTimeout | Reason::Silent => State::Timeout,
            Reason::Unreachable | Reason::BadCredentials | Reason::TooManyConnections | Reason::RateLimited => {
                State::Unreachable
            }
            Reason::BadQuery | Reason::BadReply | Reason::StateWrite | Reason::DefinitionChanged => State::Error,
        }
    }

    /// Whether the whole source is out of reach, so that its other collectors need not try in turn.
    pub const fn is_source_wide(self) -> bool {
        matches!(
            self,
            Reason::Silent
                | Reason::Unreachable
                | Reason::BadCredentials
                | Reason::TooManyConnections
                | Reason::RateLimited
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failed run: why, and a sentence that says what to do. Safe to show: it carries no secret and no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The closed reason.
    pub reason: Reason,
    /// What happened and what mends it, in one or two sentences.
    pub message: String,
}

impl Failure {
    /// Makes a failure.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Failure { reason, message: message.into() }
    }
}

/// Why a row that was counted made no span. Exported as `rowmetry_spans_skipped_total`, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanSkipped {
    /// No room: too many spans wait for the receiver.
    QueueFull,
    /// The row does not say (yet) when the work began, ended or how long it took.
    TimeMissing,
    /// What it says is no time stamp or no number of seconds.
    BadTime,
    /// It says that the work ended before it began.
    EndsBeforeStart,
    /// The column that names the trace is NULL.
    TraceMissing,
    /// The source refuses a column that spans alone need; the row counted without.
    ColumnsUnread,
}

impl SpanSkipped {
    /// Every reason, in the order in which they are exported.
    pub const ALL: [SpanSkipped; 6] = [
        SpanSkipped::QueueFull,
        SpanSkipped::TimeMissing,
        SpanSkipped::BadTime,
        SpanSkipped::EndsBeforeStart,
        SpanSkipped::TraceMissing,
        SpanSkipped::ColumnsUnread,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpanSkipped::QueueFull => "queue_full",
            SpanSkipped::TimeMissing => "time_missing",
            SpanSkipped::BadTime => "bad_time",
            SpanSkipped::EndsBeforeStart => "ends_before_start",
            SpanSkipped::TraceMissing => "trace_missing",
            SpanSkipped::ColumnsUnread => "columns_unread",
        }
    }
}

/// Why a row, or its value for one metric, was not counted. Exported as `rowmetry_rows_ignored_total`, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ignored {
    /// Its key was counted before.
    AlreadyCounted,
    /// It happened before counting began.
    History,
    /// The value is no number.
    NotANumber,
    /// The value is NaN or infinite.
    NotFinite,
    /// The value is below zero, where a counter would have to go back.
    Negative,
    /// The value, or the sum with it, has more digits than are kept exactly.
    OutOfRange,
    /// A key column is NULL, or a line does not say which run it belongs to, so that it cannot be told from others.
    KeyMissing,
    /// The line ends a run that has ended before, or that was given up as lost.
    RunOver,
    /// As many runs as are remembered are under way: the line that begins another is left aside.
    RunsFull,
    /// The element stands in a list of a line that is longer than one may be.
    ListTooLong,
}

impl Ignored {
    /// Every reason, in the order in which they are exported.
    pub const ALL: [Ignored; 10] = [
        Ignored::AlreadyCounted,
        Ignored::History,
        Ignored::NotANumber,
        Ignored::NotFinite,
        Ignored::Negative,
        Ignored::OutOfRange,
        Ignored::KeyMissing,
        Ignored::RunOver,
        Ignored::RunsFull,
        Ignored::ListTooLong,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ignored::AlreadyCounted => "already_counted",
            Ignored::History => "history",
            Ignored::NotANumber => "not_a_number",
            Ignored::NotFinite => "not_finite",
            Ignored::Negative => "negative",
            Ignored::OutOfRange => "out_of_range",
            Ignored::KeyMissing => "key_missing",
            Ignored::RunOver => "run_over",
            Ignored::RunsFull => "runs_full",
            Ignored::ListTooLong => "list_too_long",
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
