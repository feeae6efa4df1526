use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::HeaderValue;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn room(bytes: usize) -> (Arc<Inlets>, Room) {
    let inlets = Arc::new(Inlets::new(bytes));
    (inlets.clone(), Room::new(inlets))
}

/// How much of the room is left, in bytes.
fn left(inlets: &Inlets, of: usize) -> usize {
    (0..=of).rev().step_by(1024).find(|bytes| inlets.take_room(*bytes).is_some()).unwrap_or_default()
}

#[test]
fn what_is_unpacked_is_whole_and_has_its_room() {
    const ALL: usize = 8 << 20;
    let (inlets, mut room) = room(ALL);
    let text: Vec<u8> = (0..1_000_000_u32).flat_map(|number| (number % 251).to_le_bytes()).collect();
    let unpacked = unpack(&gzip(&text), ALL, &mut room).expect("it is right");
    assert!(unpacked == text, "all of it");
    let taken = ALL - left(&inlets, ALL);
    assert!(taken >= unpacked.capacity() && taken < unpacked.capacity() + STEP, "{taken}, {}", unpacked.capacity());
    drop(room);
    assert_eq!(left(&inlets, ALL), ALL);
}

#[test]
fn what_is_unpacked_ends_at_the_bound() {
    let packed = gzip(&vec![0; 4 << 20]);
    for (limit, all) in [(1 << 20, 8 << 20), (100, 1 << 20)] {
        let (inlets, mut room) = room(all);
        let outcome = unpack(&packed, limit, &mut room);
        assert!(matches!(outcome, Err(Refused::TooLarge { unpacked: true, .. })), "{outcome:?}");
        assert!(all - left(&inlets, all) <= limit.next_multiple_of(1024), "no more was taken than may be");
    }
    let exact = gzip(&[1; 5000]);
    let (_, mut all) = room(1 << 20);
    assert_eq!(unpack(&exact, 5000, &mut all).expect("it is no longer").len(), 5000);
    assert!(unpack(&exact, 4999, &mut all).is_err());
    let (_, mut little) = room(1 << 20);
    let outcome = unpack(&packed, 8 << 20, &mut little);
    assert!(matches!(outcome, Err(Refused::NoRoom)), "{outcome:?}");
}

#[test]
fn one_packing_is_known() {
    let of = |values: &[&'static str]| {
        let values = values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| {
            headers.append(name, value);
        });
        Packing::of(&headers).ok()
    };
    assert_eq!(of(&[]), Some(Packing::Plain));
    assert_eq!(of(&[""]), Some(Packing::Plain));
    assert_eq!(of(&["Identity"]), Some(Packing::Plain));
    assert_eq!(of(&["gzip"]), Some(Packing::Gzip));
    assert_eq!(of(&[" X-GZip "]), Some(Packing::Gzip));
    for values in
        [&["gzip", "gzip"][..], &["gzip, gzip"], &["gzip, identity"], &["br"], &["deflate"], &["zstd"], &["gzipp"]]
    {
        assert_eq!(of(values), None, "{values:?}");
    }
}
