//! RESP2 on the wire: commands as arrays of bulk strings, and their replies
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! Whatever comes in is bounded before room is made for it. Nothing here knows a command.

/// Parts of one command; an MGET of a page of keys is the longest that is sent here.
const PARTS: usize = 4096;

/// Bytes of one part of a command, and of one text of a reply. Keys and values here are far shorter; INFO is a few KiB.
const PART_BYTES: usize = 64 * 1024;

/// Digits of a length with its sign.
const LENGTH_DIGITS: usize = 20;

/// Arrays within arrays: a page of SCAN has one within another.
const DEPTH: u32 = 3;

/// A command: its name and its arguments.
pub(in crate::demo) type Command = Vec<Vec<u8>>;

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::demo) enum Reply {
    /// A short text, `OK` mostly.
    Simple(String),
    /// The command failed.
    Error(String),
    Integer(i64),
    /// A text; none where there is none.
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

/// What came in is no RESP2, or too much of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: {0}")]
pub(in crate::demo) struct WireError(&'static str);

impl Reply {
    /// `OK`.
    pub(in crate::demo) fn ok() -> Self {
        Reply::Simple("OK".into())
    }

    /// A text.
    pub(in crate::demo) fn text(text: impl Into<Vec<u8>>) -> Self {
        Reply::Bulk(Some(text.into()))
    }

    /// Puts it on the wire.
    pub(in crate::demo) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Simple(text) => line(out, b'+', text),
            Reply::Error(text) => line(out, b'-', text),
            Reply::Integer(number) => line(out, b':', &number.to_string()),
            Reply::Bulk(None) => line(out, b'$', "-1"),
            Reply::Bulk(Some(text)) => bulk(out, text),
            Reply::Array(items) => {
                line(out, b'*', &items.len().to_string());
                for item in items {
                    item.write(out);
                }
            }
        }
    }
}

/// Puts a command on the wire.
pub(in crate::demo) fn write_command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    line(out, b'*', &parts.len().to_string());
    for part in parts {
        bulk(out, part);
    }
}

/// The first command in `bytes` and how long it is; none when it is not whole yet.
pub(in crate::demo) fn read_command(bytes: &[u8]) -> Result<Option<(Command, usize)>, WireError> {
    let mut wire = Wire { bytes, at: 0 };
    Ok(wire.command()?.map(|command| (command, wire.at)))
}

/// The first reply in `bytes` and how long it is; none when it is not whole yet.
pub(in crate::demo) fn read_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, WireError> {
    let mut wire = Wire { bytes, at: 0 };
    Ok(wire.reply(DEPTH)?.map(|reply| (reply, wire.at)))
}

fn line(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.push(kind);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'$', &text.len().to_string());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// A place in what came in. Each step answers none where the bytes end too early.
struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Wire<'_> {
    fn command(&mut self) -> Result<Option<Command>, WireError> {
        let Some((kind, line)) = self.line(LENGTH_DIGITS)? else { return Ok(None) };
        if kind != b'*' {
            return Err(WireError("a command is an array of bulk strings"));
        }
        let parts = length(&line, PARTS)?.unwrap_or(0);
        let mut command = Command::new();
        for _ in 0..parts {
            let Some((kind, line)) = self.line(LENGTH_DIGITS)? else { return Ok(None) };
            if kind != b'$' {
                return Err(WireError("a command is an array of bulk strings"));
            }
            let length = length(&line, PART_BYTES)?.ok_or(WireError("invalid bulk length"))?;
            let Some(part) = self.text(length)? else { return Ok(None) };
            command.push(part);
        }
        Ok(Some(command))
    }

    fn reply(&mut self, depth: u32) -> Result<Option<Reply>, WireError> {
        let Some((kind, line)) = self.line(PART_BYTES)? else { return Ok(None) };
        let text = || String::from_utf8_lossy(&line).into_owned();
        Ok(Some(match kind {
            b'+' => Reply::Simple(text()),
            b'-' => Reply::Error(text()),
            b':' => Reply::Integer(number(&line)?),
            b'$' => match length(&line, PART_BYTES)? {
                None => Reply::Bulk(None),
                Some(length) => {
                    let Some(text) = self.text(length)? else { return Ok(None) };
                    Reply::Bulk(Some(text))
                }
            },
            b'*' if depth > 0 => {
                let mut items = Vec::new();
                for _ in 0..length(&line, PARTS)?.unwrap_or(0) {
                    let Some(item) = self.reply(depth - 1)? else { return Ok(None) };
                    items.push(item);
                }
                Reply::Array(items)
            }
            _ => return Err(WireError("unknown kind of reply")),
        }))
    }

    /// The kind and the text of one line.
    fn line(&mut self, longest: usize) -> Result<Option<(u8, Vec<u8>)>, WireError> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().take(longest + 3).position(|byte| *byte == b'\n') else {
            return if rest.len() > longest + 2 { Err(WireError("too big a line")) } else { Ok(None) };
        };
        let line = rest[..end].strip_suffix(b"\r").ok_or(WireError("a line ends in CR and LF"))?;
        let (kind, text) = line.split_first().ok_or(WireError("an empty line"))?;
        self.at += end + 1;
        Ok(Some((*kind, text.to_vec())))
    }

    fn text(&mut self, length: usize) -> Result<Option<Vec<u8>>, WireError> {
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Ok(None);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(WireError("a text is not as long as it says"));
        }
        self.at += length + 2;
        Ok(Some(rest[..length].to_vec()))
    }
}

/// A length; none for -1.
fn length(text: &[u8], most: usize) -> Result<Option<usize>, WireError> {
    match number(text)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            _ => Err(WireError("invalid length")),
        },
    }
}

fn number(text: &[u8]) -> Result<i64, WireError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(WireError("invalid number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_out_as_it_went_in_and_only_whole() {
        let mut wire = Vec::new();
        write_command(&mut wire, &[b"SET", b"a\r\nb", b"", b"\xff"]);
        assert_eq!(wire, b"*4\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n$1\r\n\xff\r\n");
        let command = vec![b"SET".to_vec(), b"a\r\nb".to_vec(), Vec::new(), vec![0xff]];
        for end in 0..wire.len() {
            assert_eq!(read_command(&wire[..end]), Ok(None), "{end} bytes");
        }
        let length = wire.len();
        wire.extend_from_slice(b"*1\r\n");
        assert_eq!(read_command(&wire), Ok(Some((command, length))));
    }

    #[test]
    fn a_reply_comes_out_as_it_went_in_and_only_whole() {
        let reply = Reply::Array(vec![
            Reply::ok(),
            Reply::Error("ERR no".into()),
            Reply::Integer(-7),
            Reply::Bulk(None),
            Reply::text("x"),
            Reply::Array(vec![Reply::text("y")]),
        ]);
        let mut wire = Vec::new();
        reply.write(&mut wire);
        assert_eq!(wire, b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$1\r\nx\r\n*1\r\n$1\r\ny\r\n");
        for end in 0..wire.len() {
            assert_eq!(read_reply(&wire[..end]), Ok(None), "{end} bytes");
        }
        assert_eq!(read_reply(&wire), Ok(Some((reply, wire.len()))));
    }

    #[test]
    fn what_is_no_resp_or_too_much_is_refused_before_room_is_made() {
        for wire in [
            "PING\r\n",
            "$4\r\nPING\r\n",
            "*1\r\n+PING\r\n",
            "*99999999999\r\n",
            "*1\r\n$99999999999\r\n",
            "*1\r\n$-1\r\n",
            "*-2\r\n",
            "*x\r\n",
            "*1\n",
            "\r\n",
            "*1\r\n$1\r\nab\r\n",
            "*11111111111111111111111111111",
        ] {
            assert!(read_command(wire.as_bytes()).is_err(), "{wire:?}");
        }
        for wire in ["?\r\n", ":x\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n", "$99999999\r\n"] {
            assert!(read_reply(wire.as_bytes()).is_err(), "{wire:?}");
        }
    }
}
