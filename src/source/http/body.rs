//! Bodies of strangers: read and unpacked within a bound.
//!
//! What they mean is not looked at.

use std::error::Error;
use std::io::{self, Read};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use super::outcome::Outcome;
use super::trouble::{chain, last_words};

/// Bytes of a body, as sent and when inflated. Health reports have a few kilobytes; a page or a dump has more, and must
/// not fill the memory.
const BODY_LIMIT: usize = 256 * 1024;

/// All of it, or why not.
pub(super) async fn whole<B>(mut body: B) -> Result<Vec<u8>, (Outcome, String)>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Error + Send + Sync + 'static,
{
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let kind = chain(&error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last().map(io::Error::kind);
            let is_nonsense = matches!(kind, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData));
            (if is_nonsense { Outcome::Unparsable } else { Outcome::Truncated }, last_words(&error))
        })?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > BODY_LIMIT {
                return Err((Outcome::TooLarge, format!("more than {BODY_LIMIT} bytes")));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// What gzip packed, or why that cannot be told.
pub(super) fn inflated(packed: &[u8]) -> Result<Vec<u8>, (Outcome, String)> {
    let mut body = Vec::new();
    let room = BODY_LIMIT as u64 + 1;
    match flate2::read::MultiGzDecoder::new(packed).take(room).read_to_end(&mut body) {
        Ok(_) if body.len() > BODY_LIMIT => {
            Err((Outcome::TooLarge, format!("more than {BODY_LIMIT} bytes when unpacked")))
        }
        Ok(_) => Ok(body),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err((Outcome::Truncated, error.to_string())),
        Err(error) => Err((Outcome::Unparsable, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflates_within_bounds() {
        use std::io::Write as _;
        let packed = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        };
        let outcome = |packed: &[u8]| inflated(packed).map_err(|(outcome, _)| outcome);
        let good = packed(b"{}");
        assert_eq!(outcome(&good), Ok(b"{}".to_vec()));
        assert_eq!(outcome(&good[..good.len() - 3]), Err(Outcome::Truncated));
        assert_eq!(outcome(b"{\"status\": \"ok\"}"), Err(Outcome::Unparsable));
        assert_eq!(outcome(&packed(&vec![b' '; BODY_LIMIT])).map(|body| body.len()), Ok(BODY_LIMIT));
        assert_eq!(outcome(&packed(&vec![b' '; 100 * BODY_LIMIT])), Err(Outcome::TooLarge));
    }
}
