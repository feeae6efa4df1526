use serde_json::json;

use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).expect("it is a status"),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn reason(status: u16, body: &str) -> Reason {
    let answer = answer(status, body).one("SCAN");
    match answer {
        Err(failure) => failure.reason,
        Ok(Err(refusal)) => refusal.failure("SCAN").reason,
        Ok(Ok(value)) => panic!("{status} {body} is the result {value}"),
    }
}

#[test]
fn results_are_read_as_documented() {
    for (body, value) in [
        (r#"{"result":null}"#, json!(null)),
        (r#"{"result":137}"#, json!(137)),
        (r#"{"result":"value"}"#, json!("value")),
        (r#"{"result":["value1",null,"value2"]}"#, json!(["value1", null, "value2"])),
    ] {
        assert_eq!(answer(200, body).one("GET"), Ok(Ok(value)), "{body}");
    }
    let several = answer(200, r#"[{"result":"OK"},{"error":"ERR value is not an int or out of range"},{"result":2}]"#);
    let several = several.several(3, "x").expect("it is well formed");
    assert_eq!((&several[0], &several[2]), (&Ok(json!("OK")), &Ok(json!(2))));
    assert!(several[1].is_err());
}

#[test]
fn each_refusal_has_its_reason() {
    for (status, body, wanted) in [
        (401, r#"{"error":"WRONGPASS invalid or missing auth token"}"#, Reason::BadCredentials),
        (401, "", Reason::BadCredentials),
        (400, r#"{"error":"ERR max daily request limit exceeded"}"#, Reason::RateLimited),
        (400, r#"{"error":"ERR max requests limit exceeded. Limit: 500000"}"#, Reason::RateLimited),
        (429, r#"{"error":"ERR max daily request limit exceeded"}"#, Reason::RateLimited),
        (429, "<html>", Reason::RateLimited),
        (400, r#"{"error":"NOPERM this user has no permissions to run the 'scan' command"}"#, Reason::Forbidden),
        (200, r#"{"error":"ERR syntax error"}"#, Reason::BadQuery),
        (500, "oops", Reason::Unreachable),
        (503, r#"{"error":"ERR something"}"#, Reason::Unreachable),
        (404, "<html>not here</html>", Reason::BadReply),
        (302, "", Reason::BadReply),
        (405, "", Reason::BadReply),
        (200, "<html>hello</html>", Reason::BadReply),
        (200, r#"{"result":["0","#, Reason::BadReply),
        (200, r#"{"other":1}"#, Reason::BadReply),
        (200, r#"{"error":{"code":1}}"#, Reason::BadReply),
        (200, "[]", Reason::BadReply),
    ] {
        assert_eq!(reason(status, body), wanted, "{status} {body}");
    }
    assert_eq!(answer(200, r#"[{"result":1}]"#).several(2, "x").expect_err("one is missing").reason, Reason::BadReply);
    let whole = answer(400, r#"{"error":"ERR max daily request limit exceeded"}"#).several(2, "x");
    assert_eq!(whole.expect_err("it is refused").reason, Reason::RateLimited);
}

#[test]
fn pages_are_read_plain_and_encoded() {
    let wanted = |keys: &[&[u8]], cursor: &str| {
        Some(ScanPage { cursor: cursor.into(), keys: keys.iter().map(|key| key.to_vec()).collect() })
    };
    assert_eq!(page(&json!(["0", ["a:b", "abcd"]])), wanted(&[b"a:b", b"abcd"], "0"));
    assert_eq!(page(&json!([1234, []])), wanted(&[], "1234"));
    assert_eq!(page(&json!(["1234", ["MTIz"]])), wanted(&[b"MTIz"], "1234"), "digits are never the base64 of digits");
    assert_eq!(page(&json!(["MA==", ["YTpi", "gP8=", ""]])), wanted(&[b"a:b", b"\x80\xff", b""], "0"));
    assert_eq!(page(&json!(["MTIzNA==", ["YQ=="]])), wanted(&[b"a"], "1234"));
    for odd in
        [json!(["0"]), json!(["0", [1]]), json!(["x", []]), json!(["MA==", ["a:b"]]), json!("0"), json!([null, []])]
    {
        assert_eq!(page(&odd), None, "{odd}");
    }
}

#[test]
fn numbers_are_whole() {
    for (value, wanted) in [
        (json!(7), Some(7)),
        (json!("30"), Some(30)),
        (json!("30.5"), None),
        (json!(-1), None),
        (json!("{\"a\":1}"), None),
        (json!(null), None),
    ] {
        assert_eq!(number(&value), wanted, "{value}");
    }
}
