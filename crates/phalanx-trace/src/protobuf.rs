//! Messages of Protocol Buffers, as they are written: each field its number with how it is coded, then its value.

/// A message that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number.
    pub(crate) fn number(mut self, field: u32, value: u64) -> Message {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    /// A number that may be negative.
    pub(crate) fn signed(self, field: u32, value: i64) -> Message {
        self.number(field, value as u64)
    }

    /// A number of eight bytes.
    pub(crate) fn fixed(mut self, field: u32, value: u64) -> Message {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A text.
    pub(crate) fn text(self, field: u32, value: &str) -> Message {
        self.bytes(field, value.as_bytes())
    }

    /// A message in this one.
    pub(crate) fn message(self, field: u32, value: &Message) -> Message {
        self.bytes(field, &value.0)
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Message {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// As it is written.
    pub(crate) fn written(&self) -> &[u8] {
        &self.0
    }
}

/// The fields of a message, as they are read back.
#[cfg(test)]
pub(crate) mod reading {
    /// A value.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Value<'a> {
        Number(u64),
        Fixed(u64),
        Bytes(&'a [u8]),
    }

    fn varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn fields(mut bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)?),
                1 => {
                    let (value, rest) = bytes.split_first_chunk::<8>()?;
                    bytes = rest;
                    Value::Fixed(u64::from_le_bytes(*value))
                }
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    let (value, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    Value::Bytes(value)
                }
                _ => return None,
            };
            fields.push((u32::try_from(key >> 3).ok()?, value));
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Message;
    use super::reading::{Value, fields};

    #[test]
    fn a_message_has_the_bytes_that_the_format_says() {
        let message = Message::default().number(1, 150).text(2, "testing");
        assert_eq!(message.written(), b"\x08\x96\x01\x12\x07testing");
        assert_eq!(Message::default().fixed(47, 1).written(), b"\xf9\x02\x01\0\0\0\0\0\0\0");
        assert_eq!(Message::default().message(3, &message).written()[..2], [0x1a, 12]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            number in any::<u64>(), signed in any::<i64>(), fixed in any::<u64>(), text in "\\PC{0,300}", field in 1..500u32,
        ) {
            let message =
                Message::default().number(field, number).signed(2, signed).fixed(3, fixed).text(field + 1, &text);
            let expected = vec![
                (field, Value::Number(number)),
                (2, Value::Number(signed as u64)),
                (3, Value::Fixed(fixed)),
                (field + 1, Value::Bytes(text.as_bytes())),
            ];
            prop_assert_eq!(fields(message.written()), Some(expected));
        }
    }
}
