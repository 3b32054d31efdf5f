//! The first block of the file: which job it is of.

use crate::BLOCK;
use crate::player::Damage;

const MAGIC: &[u8; 8] = b"PHXREPLY";
/// Of the file; another one is another format.
const FORMAT: u32 = 1;
/// Bytes that the fields before the texts take.
const FIXED: usize = 16;
/// As much of a command as is kept.
const LONGEST_COMMAND: usize = 3000;
const LONGEST_VERSION: usize = 64;

/// What a recording says of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many ranks it was started with.
    pub ranks: u32,
    /// The version of Phalanx.
    pub version: String,
    /// What it ran, as typed.
    pub command: String,
}

fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A sum over bytes (FNV-1a).
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl Header {
    /// Of a job of this version. (A long command is cut.)
    #[must_use]
    pub fn new(ranks: u32, command: &str) -> Header {
        Header {
            ranks,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: cut(command, LONGEST_COMMAND).to_owned(),
        }
    }

    /// Its block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK);
        block.extend_from_slice(MAGIC);
        block.extend_from_slice(&FORMAT.to_le_bytes());
        block.extend_from_slice(&self.ranks.to_le_bytes());
        for (text, longest) in [(&self.version, LONGEST_VERSION), (&self.command, LONGEST_COMMAND)] {
            let text = cut(text, longest);
            // Shorter than 64 KiB, as it has been cut.
            block.extend_from_slice(&(text.len() as u16).to_le_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        block.resize(BLOCK - 4, 0);
        let sum = sum(&block);
        block.extend_from_slice(&sum.to_le_bytes());
        block
    }

    /// What a file begins with.
    ///
    /// # Errors
    /// When it is no recording, one of another format, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Header, Damage> {
        if bytes.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(Damage::new("it is no recording of 'phalanx run --record'"));
        }
        let Some(block) = bytes.get(..BLOCK) else {
            return Err(Damage::new(format!("it ends after {} bytes, within its header", bytes.len())));
        };
        let number = |at: usize| block.get(at..at + 4).and_then(|four| Some(u32::from_le_bytes(four.try_into().ok()?)));
        let (format, ranks) = (number(8).unwrap_or_default(), number(12).unwrap_or_default());
        if format != FORMAT {
            return Err(Damage::new(format!(
                "it has format {format}, and this version of Phalanx reads format {FORMAT}: replay it with the version that \
                 has recorded it"
            )));
        }
        if number(BLOCK - 4) != Some(sum(&block[..BLOCK - 4])) {
            return Err(Damage::new("its header is damaged"));
        }
        let mut rest = &block[FIXED..BLOCK - 4];
        let mut text = |longest: usize| {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = after;
            // None that was written is longer.
            let text = Some(text).filter(|text| text.len() <= longest)?;
            String::from_utf8(text.to_vec()).ok()
        };
        match (text(LONGEST_VERSION), text(LONGEST_COMMAND)) {
            (Some(version), Some(command)) => Ok(Header { ranks, version, command }),
            _ => Err(Damage::new("its header is damaged")),
        }
    }

    /// Gives a block the sum that its bytes have, if it is whole.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn correct(bytes: &mut [u8]) {
        if let Some(block) = bytes.get_mut(..BLOCK) {
            let sum = sum(&block[..BLOCK - 4]);
            block[BLOCK - 4..].copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// Whether bytes begin as a recording does, so that writing over it takes nothing else away.
    #[must_use]
    pub fn is_of_a_recording(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = Header::new(8, "a.py 3 'ü'");
        let block = header.encode();
        assert_eq!(block.len(), BLOCK);
        assert_eq!(Header::decode(&block), Ok(header));
        let long = Header::new(1, &"ü".repeat(4000));
        assert_eq!(long.command.len(), LONGEST_COMMAND);
        assert_eq!(Header::decode(&long.encode()), Ok(long));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let block = Header::new(2, "a.py").encode();
        let said = |bytes: &[u8]| Header::decode(bytes).expect_err("it is wrong").to_string();
        assert!(said(b"#!/bin/sh\n").contains("no recording"));
        assert!(said(&block[..100]).contains("100 bytes"));
        let mut other = block.clone();
        other[8] = 9;
        assert!(said(&other).contains("format 9"));
        let mut other = block;
        other[200] ^= 1;
        assert!(said(&other).contains("damaged"));
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_read(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            lengths in any::<(u16, u16)>(),
        ) {
            let _ = Header::decode(&bytes);
            // With the right sum, so that the lengths are looked at.
            let mut block = MAGIC.to_vec();
            block.extend_from_slice(&FORMAT.to_le_bytes());
            block.extend_from_slice(&7u32.to_le_bytes());
            block.extend_from_slice(&lengths.0.to_le_bytes());
            block.append(&mut bytes);
            block.extend_from_slice(&lengths.1.to_le_bytes());
            block.resize(BLOCK - 4, 0);
            let sum = sum(&block);
            block.extend_from_slice(&sum.to_le_bytes());
            if let Ok(header) = Header::decode(&block) {
                prop_assert_eq!(header.ranks, 7);
            }
        }
    }
}
