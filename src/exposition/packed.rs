//! Bodies as one gzip stream that is put together from parts, each packed once.
//!
//! A body of several gzip members would be simpler, and is allowed; but some clients (curl among them) read the first
//! member and drop the rest without a word. Nothing here knows what the parts hold.

use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// Effort, 1 to 9: beyond 3 a scrape body gets little smaller and takes twice as long.
const LEVEL: u32 = 3;

/// What a gzip stream begins with (RFC 1952): deflate, no name, no time, any system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The last deflate block, empty (RFC 1951): final, fixed codes, end of block.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// Room that a part needs at least, in bytes: a flush must find some left.
const LEAST_ROOM: usize = 64;

/// A part of a gzip stream. It ends at a whole byte and refers to nothing before it, so parts go together in any order.
#[derive(Debug)]
pub struct Packed {
    deflated: Bytes,
    checksum: Crc,
}

/// Packs a part.
pub fn pack(part: &[u8]) -> Arc<Packed> {
    let mut checksum = Crc::new();
    checksum.update(part);
    let mut deflated = Vec::with_capacity(part.len() / 4 + LEAST_ROOM);
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    while !part.is_empty() {
        let taken = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX).min(part.len());
        deflate
            .compress_vec(&part[taken..], &mut deflated, FlushCompress::Sync)
            .expect("deflating in memory cannot fail");
        // The flush is through when all was taken and room is left.
        if deflate.total_in() == part.len() as u64 && deflated.len() < deflated.capacity() {
            break;
        }
        deflated.reserve(deflated.len().max(LEAST_ROOM));
    }
    Arc::new(Packed { deflated: deflated.into(), checksum })
}

/// One gzip stream of these parts, in pieces that need no copying.
pub fn join<'p>(parts: impl IntoIterator<Item = &'p Arc<Packed>>) -> Vec<Bytes> {
    let mut pieces = vec![Bytes::from_static(&HEADER)];
    let mut checksum = Crc::new();
    for part in parts {
        checksum.combine(&part.checksum);
        pieces.push(part.deflated.clone());
    }
    let mut end = LAST_BLOCK.to_vec();
    end.extend(checksum.sum().to_le_bytes());
    end.extend(checksum.amount().to_le_bytes());
    pieces.push(end.into());
    pieces
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// What a client makes of it that reads one member and no more.
    fn unpacked(pieces: &[Bytes]) -> Vec<u8> {
        let packed: Vec<u8> = pieces.concat();
        let mut decoder = flate2::bufread::GzDecoder::new(&*packed);
        let mut body = Vec::new();
        decoder.read_to_end(&mut body).expect("one member, its checksum and length right");
        assert!(decoder.into_inner().is_empty(), "nothing stands behind it");
        body
    }

    #[test]
    fn parts_make_one_member_whatever_their_size_and_order() {
        let noise: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let text = "rowmetry_x{a=\"b\"} 1\n".repeat(20_000).into_bytes();
        let parts: [&[u8]; 6] = [b"", b"a", &text, &noise, b"# EOF\n", &text[..63]];
        let packed: Vec<Arc<Packed>> = parts.iter().map(|part| pack(part)).collect();
        assert!(packed[2].deflated.len() * 20 < text.len(), "it is packed");
        assert_eq!(unpacked(&join(&packed)), parts.concat());
        assert_eq!(unpacked(&join(packed.iter().rev())), parts.iter().rev().copied().collect::<Vec<_>>().concat());
        assert_eq!(unpacked(&join([])), b"");
        for length in 0..200 {
            assert_eq!(unpacked(&join([&pack(&noise[..length])])), &noise[..length], "{length}");
        }
    }
}
