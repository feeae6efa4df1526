//! Endpoints that answer as the applications do when they are well.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::parts::harness::hostile::{Act, Hostile, answer, json};
use crate::parts::harness::test_file;

/// What of `<app>_endpoints.yaml` is of use here.
#[derive(Deserialize)]
struct Told {
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    path: String,
    status: u16,
    body: String,
}

/// Serves, at each path of the application's fixture, the fullest body that comes with 200.
pub fn serve(app: &str) -> Hostile {
    let file = test_file("fixtures").join(format!("{app}_endpoints.yaml"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("there is {}: {e}", file.display()));
    let told: Told = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut fullest: BTreeMap<String, String> = BTreeMap::new();
    for given in told.answers.into_iter().filter(|given| given.status == 200) {
        let body = fullest.entry(given.path).or_default();
        if given.body.len() > body.len() {
            *body = given.body;
        }
    }
    let pages: Vec<(String, Act)> =
        fullest.iter().map(|(path, body)| (format!("GET {path} "), json("200 OK", body))).collect();
    let other = answer("404 Not Found", "", "");
    Hostile::plain(Arc::new(move |head, wire| {
        let page = pages.iter().find(|(start, _)| head.starts_with(start));
        page.map_or(&other, |(_, page)| page)(head, wire);
    }))
}
