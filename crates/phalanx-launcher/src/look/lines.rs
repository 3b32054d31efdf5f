//! The line of an instruction, by the table that a code object has of it since Python 3.11 (`Objects/locations.md` in its sources).

/// The line at so many bytes of instructions; `None` where there is none, or the table is nonsense.
pub(super) fn line_at(table: &[u8], first: i64, offset: u64) -> Option<u32> {
    let mut rest = table.iter().copied();
    let (mut at, mut line) = (0u64, first);
    while let Some(head) = rest.next() {
        if head & 0x80 == 0 {
            return None;
        }
        let (form, units) = (head >> 3 & 15, u64::from(head & 7) + 1);
        let here = match form {
            15 => None,
            14 => {
                line += signed(&mut rest)?;
                for _ in 0..3 {
                    number(&mut rest)?;
                }
                Some(line)
            }
            13 => {
                line += signed(&mut rest)?;
                Some(line)
            }
            10..=12 => {
                line += i64::from(form) - 10;
                rest.nth(1)?;
                Some(line)
            }
            _ => {
                rest.next()?;
                Some(line)
            }
        };
        at += units * 2;
        if offset < at {
            return here.and_then(|line| u32::try_from(line).ok());
        }
    }
    None
}

/// Six bits in each byte, the lowest first; bit 6 says that more follow.
fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..30).step_by(6) {
        let byte = bytes.next()?;
        value |= u32::from(byte & 63) << shift;
        if byte & 64 == 0 {
            return Some(value);
        }
    }
    None
}

/// The sign is the lowest bit.
fn signed(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let value = number(bytes)?;
    let size = i64::from(value >> 1);
    Some(if value & 1 == 1 { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_are_told_apart() {
        // Two units without columns one line on, one unit in short form, one two lines on, one without a line, one back.
        let table = [0x80 | 13 << 3 | 1, 2, 0x80 | 3 << 3, 7, 0x80 | 12 << 3, 1, 9, 0x80 | 15 << 3, 0x80 | 13 << 3, 3];
        let lines: Vec<_> = (0..7).map(|unit| line_at(&table, 10, unit * 2)).collect();
        assert_eq!(lines, [Some(11), Some(11), Some(11), Some(13), None, Some(12), None]);
    }

    #[test]
    fn a_large_step_takes_several_bytes() {
        let table = [0x80 | 14 << 3, 64 | 8, 3, 0, 1, 2];
        assert_eq!(line_at(&table, 1, 0), Some(1 + 100));
    }

    proptest! {
        #[test]
        fn nonsense_ends(table in proptest::collection::vec(any::<u8>(), 0..200), first: i32, offset: u16) {
            let _ = line_at(&table, i64::from(first), u64::from(offset));
        }
    }
}
