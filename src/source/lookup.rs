//! Names for ids, from the application's database, for label values that a Redis key holds as an id only.
//!
//! A bounded list of names that somebody else fills and many ask. No id gets out: what is not known is a hash.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use super::Rows;

/// Names by id.
#[derive(Debug, Default)]
pub struct Names {
    names: RwLock<HashMap<Box<str>, Box<str>>>,
    settled: AtomicBool,
}

impl Names {
    /// Takes over a read of the look-up: rows of id and name. Rows with NULL say nothing.
    pub fn replace(&self, rows: &Rows) {
        let names = rows.iter().filter_map(|row| Some((row.cell(0)?.into(), row.cell(1)?.into()))).collect();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
        self.settle();
    }

    /// Says that the first look is over, whether it brought names or not.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }

    /// Whether the first look is over: until then, a name that is not known may still come.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// The name of an id; of one that is not known, `#` and a hash of it.
    pub fn name_of(&self, id: &str) -> String {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(id).map_or_else(|| hashed(id), |name| name.to_string())
    }
}

/// Stands for an id that has no name: the same for the same id, and no way back.
pub fn hashed(id: &str) -> String {
    format!("#{:08x}", xxhash_rust::xxh3::xxh3_64(id.as_bytes()) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_hash() {
        let names = Names::default();
        assert!(!names.is_settled());
        let unknown = names.name_of("cm3x0000a");
        assert!(unknown.starts_with('#') && unknown.len() == 9 && !unknown.contains("cm3x"), "{unknown}");
        names.replace(&Rows::of(2, &[Some("cm3x0000a"), Some("acme"), Some("other"), None, None, Some("nobody")]));
        assert!(names.is_settled());
        assert_eq!(names.name_of("cm3x0000a"), "acme");
        assert!(names.name_of("other").starts_with('#'));
        names.replace(&Rows::new(2));
        assert_eq!(names.name_of("cm3x0000a"), unknown, "a name that is gone is a hash again");
    }
}
