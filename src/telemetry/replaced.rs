//! The closed list of why a label's value was replaced.
//!
//! A reason is the label value of a self metric. Nothing here may carry the value itself.

use std::fmt;

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
