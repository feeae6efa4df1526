//! The closed lists of why a row did not count, and of why a label's value was replaced.
//!
//! Both are label values of self metrics. Nothing here may carry the row or the value itself.

use std::fmt;

/// Why a row that was read was not counted. Exported as `rowmetry_rows_ignored_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ignored {
    /// The key was counted before: a re-read, an update, a restored dump. Harmless.
    AlreadyCounted,
    /// The row happened before counting began.
    History,
    /// The value column holds no number.
    NotANumber,
    /// The value is NaN or infinite.
    NotFinite,
    /// A counter cannot go down, and the value is below zero.
    Negative,
    /// The value or the time is too large for what it is.
    OutOfRange,
    /// The key or the time is NULL.
    KeyMissing,
}

impl Ignored {
    /// Every reason, in the order in which they are exported.
    pub const ALL: [Ignored; 7] = [
        Ignored::AlreadyCounted,
        Ignored::History,
        Ignored::NotANumber,
        Ignored::NotFinite,
        Ignored::Negative,
        Ignored::OutOfRange,
        Ignored::KeyMissing,
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
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a label's value looked like when it was replaced. Exported as `rowmetry_labels_replaced_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Replaced {
    /// An e-mail address.
    Email,
    /// A key or token.
    Token,
    /// An IP address.
    Ip,
    /// The identifier of one thing or person.
    Id,
    /// Longer than a label may be.
    Long,
}

impl Replaced {
    /// Every reason, in the order in which they are exported.
    pub const ALL: [Replaced; 5] = [Replaced::Email, Replaced::Token, Replaced::Ip, Replaced::Id, Replaced::Long];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Replaced::Email => "email",
            Replaced::Token => "token",
            Replaced::Ip => "ip",
            Replaced::Id => "id",
            Replaced::Long => "long",
        }
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
