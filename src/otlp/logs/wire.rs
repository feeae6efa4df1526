//! The bytes of protobuf, field by field, without a copy of any (protobuf.dev/programming-guides/encoding).
//!
//! A request is not decoded as a whole, since two bytes of it may stand for a message of two hundred. It knows no message.

/// The bytes are no protobuf, or not of the message that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Held<'b> {
    /// A variable-length number: integers, enumerations, truth values.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// A text, bytes or a message.
    Bytes(&'b [u8]),
}

impl<'b> Held<'b> {
    /// A text, bytes or a message.
    ///
    /// # Errors
    /// When it is something else.
    pub fn bytes(self) -> Result<&'b [u8], Broken> {
        if let Held::Bytes(bytes) = self { Ok(bytes) } else { Err(Broken) }
    }

    /// A text; what is no UTF-8 in it is replaced.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(self) -> Result<std::borrow::Cow<'b, str>, Broken> {
        Ok(String::from_utf8_lossy(self.bytes()?))
    }

    /// A variable-length number.
    ///
    /// # Errors
    /// When it is something else.
    pub fn varint(self) -> Result<u64, Broken> {
        if let Held::Varint(number) = self { Ok(number) } else { Err(Broken) }
    }

    /// Eight bytes as a number.
    ///
    /// # Errors
    /// When it is something else.
    pub fn fixed64(self) -> Result<u64, Broken> {
        if let Held::Fixed64(number) = self { Ok(number) } else { Err(Broken) }
    }
}

/// The fields of a message, each with its number, in the order of the bytes. It ends after the first that is broken.
#[derive(Debug, Clone)]
pub struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    /// The fields of these bytes.
    pub fn of(message: &'b [u8]) -> Self {
        Fields { rest: message }
    }

    fn read(&mut self) -> Result<(u32, Held<'b>), Broken> {
        let key = u32::try_from(self.varint()?).map_err(|_| Broken)?;
        let held = match key & 7 {
            0 => Held::Varint(self.varint()?),
            1 => Held::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
                self.rest = rest;
                Held::Bytes(bytes)
            }
            5 => Held::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups (3, 4) are of protobuf's past, and OTLP never had any.
            _ => return Err(Broken),
        };
        let number = key >> 3;
        if number == 0 { Err(Broken) } else { Ok((number, held)) }
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        // Ten groups of seven bits hold 64; of the last, one bit.
        for place in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(Broken)?;
            self.rest = rest;
            if place == 9 && byte > 1 {
                return Err(Broken);
            }
            number |= u64::from(byte & 0x7f) << (place * 7);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Broken)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u32, Held<'b>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}
