//! What a request may cost, whatever is in it.

use super::*;

#[test]
fn a_long_line_is_cut_at_a_character() {
    let limits = IntakeLimits { line_bytes: 4, ..IntakeLimits::default() };
    let cut = |body: AnyValue| {
        let parsed = decode(&limits, &request(vec![says(body)])).expect("it is a request");
        (parsed.lines[0].text.clone(), parsed.cut)
    };
    assert_eq!(cut(text("abcd  ")), ("abcd".into(), 0));
    assert_eq!(cut(text("abcé")), ("abc".into(), 1));
    assert_eq!(cut(pairs(vec![pair("a", any(Any::IntValue(1)))])), ("{\"a\"".into(), 1));
}

#[test]
fn absurd_nesting_ends_in_null() {
    let nested = (0..60).fold(text("x"), |inner, _| list(vec![inner]));
    let mut value = &line(LogRecord { attributes: vec![pair("n", nested)], ..says(text("x")) }).record.expect("it has")
        ["attributes"]["n"];
    let mut depth = 0;
    while let Some(inner) = value.get(0) {
        (value, depth) = (inner, depth + 1);
    }
    assert_eq!((depth, value), (16, &Value::Null));
    // Far deeper than the stack of a thread, as bytes.
    let mut bytes = Vec::new();
    for _ in 0..20_000 {
        let mut outer = vec![0x0a];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.append(&mut bytes);
        let mut list = vec![0x2a];
        prost::encoding::encode_varint(outer.len() as u64, &mut list);
        list.append(&mut outer);
        bytes = list;
    }
    let mut room = room::Room::default();
    let mut map = serde_json::Map::new();
    let mut held = vec![0x12];
    prost::encoding::encode_varint(bytes.len() as u64, &mut held);
    held.extend(bytes);
    protobuf::attribute(&mut map, &held, &mut room).expect("it is an attribute");
    assert!(room.taken() < 10_000);
}

#[test]
fn absurd_counts_take_a_bounded_room() {
    // A million attributes of nothing are two megabytes.
    let mut many = says(text("x")).encode_to_vec();
    many.extend([0x32, 0].repeat(1_000_000));
    many.extend([0x32, 9, 0x0a, 1, b'k', 0x12, 4, 0x2a, 2, 0x0a, 0]);
    let record = protobuf::record(&many).expect("it is a record");
    assert!(record.taken <= 4 << 20, "{}", record.taken);
    // A list of nothing as long.
    let values = (0..1_000_000).map(|_| AnyValue::default()).collect();
    let long = line(LogRecord { attributes: vec![pair("n", list(values))], ..says(text("x")) });
    let kept = long.record.expect("it has one")["attributes"]["n"].as_array().map_or(0, Vec::len);
    assert!((1_000..100_000).contains(&kept), "{kept}");
}

#[test]
fn a_large_resource_is_not_copied_for_ever() {
    let body = |records: usize, said: usize, bytes: usize| {
        let resource = vec![pair("r", text(&"r".repeat(bytes)))];
        let records = (0..records).map(|_| says(text(&"x".repeat(said)))).collect();
        ExportLogsServiceRequest { resource_logs: vec![of_resource(resource, records)] }.encode_to_vec()
    };
    let parsed = read(&body(2_000, 1, 1 << 20));
    assert_eq!(parsed.lines.len() as u64 + parsed.unreadable, 2_000);
    assert!((32..64).contains(&parsed.lines.len()), "{}", parsed.lines.len());
    // What anybody sends is taken as a whole.
    assert_eq!(read(&body(8_192, 200, 3 << 10)).unreadable, 0);
}
