use bytes::Bytes;

use super::*;

const ALERTS: &str = r#"{"receiver":"page","status":"firing","alerts":[
  {"status":"firing","labels":{"alertname":"ShopDown","severity":"critical","app":"shop"},
   "annotations":{"summary":"The <shop> is down","runbook_url":"https://runbooks.example/shop.md#shopdown","dashboard_url":"javascript:alert(1)"},
   "startsAt":"2027-01-15T08:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus.example/graph"},
  {"status":"resolved","labels":{"alertname":"ShopSlow"},"annotations":{}}]}"#;

fn board(token: Option<&str>) -> Board {
    let token = token.map(|token| SecretString::from(token.to_owned()));
    Board { kept: Mutex::default(), token, clock: Arc::new(|| 1_800_000_000_000_000) }
}

fn ask(board: &Board, method: Method, path: &str, token: Option<&str>, body: &str) -> Answer {
    let token = token.map(str::to_owned);
    let body = Bytes::from(body.to_owned());
    board.answer(&Asked { method, path: path.into(), token, is_of_a_site: false, body })
}

#[test]
fn what_was_sent_is_shown_newest_first() {
    let board = board(None);
    assert!(ask(&board, Method::GET, "/", None, "").body.contains("No message yet"));
    assert_eq!(ask(&board, Method::POST, "/page", None, ALERTS), Answer::text(StatusCode::OK, "ok"));
    let slack = r##"{"channel":"#ops","attachments":[{"title":"[RESOLVED] ShopDown","title_link":"http://a","text":"well again","color":"good"}]}"##;
    assert_eq!(ask(&board, Method::POST, "/slack", None, slack).status, StatusCode::OK);
    let pages: Vec<serde_json::Value> =
        serde_json::from_str(&ask(&board, Method::GET, "/pages", None, "").body).expect("it is JSON");
    let told: Vec<(&str, &str, &str)> = pages
        .iter()
        .map(|page| {
            let text = |pointer: &str| page.pointer(pointer).and_then(|text| text.as_str()).unwrap_or_default();
            (text("/receiver"), text("/status"), text("/labels/alertname"))
        })
        .collect();
    assert_eq!(told, [("slack", "resolved", ""), ("page", "resolved", "ShopSlow"), ("page", "firing", "ShopDown")]);
    assert_eq!(pages[0]["annotations"]["summary"], "[RESOLVED] ShopDown");
    assert_eq!(pages[2]["at"], 1_800_000_000_000_i64);
    let page = ask(&board, Method::GET, "/", None, "").body;
    assert!(page.contains("The &lt;shop&gt; is down") && !page.contains("<shop>"), "{page}");
    assert!(
        page.contains("href=\"https://runbooks.example/shop.md#shopdown\"") && !page.contains("javascript:"),
        "{page}"
    );
}

#[test]
fn it_keeps_the_last_and_no_more() {
    let board = board(None);
    for _ in 0..KEPT {
        ask(&board, Method::POST, "/chat", None, ALERTS);
    }
    assert_eq!(board.kept().len(), KEPT);
    let long = ALERTS.replace("The <shop> is down", &"é".repeat(5000));
    ask(&board, Method::POST, "/chat", None, &long);
    assert_eq!(board.kept()[1].annotations["summary"].chars().count(), 2000);
    assert_eq!(ask(&board, Method::DELETE, "/pages", None, "").status, StatusCode::OK);
    assert_eq!(board.kept().len(), 0);
}

#[test]
fn only_who_has_the_token_may_send() {
    let board = board(Some("s3cret"));
    for wrong in [None, Some(""), Some("s3cre"), Some("s3cret2")] {
        assert_eq!(ask(&board, Method::POST, "/page", wrong, ALERTS).status, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    assert_eq!(ask(&board, Method::POST, "/page", Some("s3cret"), ALERTS).status, StatusCode::OK);
    assert_eq!(ask(&board, Method::GET, "/pages", None, "").status, StatusCode::OK);
}

#[test]
fn what_is_no_page_is_refused() {
    let board = board(None);
    for (path, body) in [("/page", "{"), ("/page", "{}"), ("/slack", "1")] {
        assert_eq!(ask(&board, Method::POST, path, None, body).status, StatusCode::BAD_REQUEST, "{path} {body}");
    }
    for path in ["/", "/a/b"] {
        assert_eq!(ask(&board, Method::POST, path, None, ALERTS).status, StatusCode::NOT_FOUND, "{path}");
    }
}
