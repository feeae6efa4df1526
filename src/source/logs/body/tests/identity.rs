//! What makes a record the one that it was.

use std::collections::BTreeSet;

use super::*;

#[test]
fn knows_a_record_by_its_bytes_and_their_time_or_else_by_the_delivery() {
    let timed = "{\"timestamp\":1760000000123,\"message\":\"x\"}";
    let inner = "{\"message\":\"{\\\"time\\\":1760000000123}\"}";
    let plain = "2025-10-09T08:53:20Z [info]: x";
    for (kind, record) in
        [(DrainKind::Vercel, timed), (DrainKind::Vercel, inner), (DrainKind::Http, plain), (DrainKind::Http, timed)]
    {
        let alone = ids(&read(kind, record));
        let twice = ids(&read(kind, &format!("{record}\n{record}\n")));
        assert_eq!(twice[0], alone[0], "the same in another batch: {record}");
        assert_ne!(twice[1], twice[0], "two alike in one batch are two: {record}");
        let among = read(kind, &format!("{{\"id\":\"a\",\"message\":\"y\"}}\n{record}"));
        assert_eq!(among.lines[1].id, alone[0], "and next to others: {record}");
    }
    let bare = "{\"message\":\"x\"}";
    let twice = format!("{bare}\n{bare}");
    assert_eq!(ids(&read(DrainKind::Vercel, &twice)), ids(&read(DrainKind::Vercel, &twice)));
    assert_eq!(ids(&read(DrainKind::Vercel, &twice)).into_iter().collect::<BTreeSet<_>>().len(), 2);
    assert_ne!(ids(&read(DrainKind::Vercel, &twice))[0], ids(&read(DrainKind::Vercel, bare))[0]);
}
