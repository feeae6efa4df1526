//! Where names for ids are kept between the database that tells them and the Redis that asks.
//!
//! A table of shared lists; it reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::lookup::Names;

/// Lists of names by database source, pack and look-up.
#[derive(Debug, Default)]
pub struct NamesBoard(Mutex<HashMap<(String, String, String), Arc<Names>>>);

impl NamesBoard {
    /// The list of one look-up, made when it is first asked for.
    pub fn of(&self, database: &str, pack: &str, lookup: &str) -> Arc<Names> {
        let key = (database.to_owned(), pack.to_owned(), lookup.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }
}
