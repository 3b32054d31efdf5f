//! Which blocks of shared memory an encoded object names, and where: so that it can move to another machine's memory.
//!
//! The codec of `phalanx-workers` writes objects; what its messages with blocks look like is said there (`codec/arena.rs`):
//!
//! ```text
//! BLOCK_STR, BLOCK_BYTES    u8 tag, u64 handle, ...
//! PICKLE                    u8 tag, 3 times u8, u32 n blocks, u64 length, n times u64 handle, ...
//! LONG                      u8 tag, 7 times u8, u64 handle, u64 length of a message that lies in that block
//! ```

use std::ops::Range;

/// `phalanx_object::tag`, as far as messages with blocks begin with it.
const BLOCK_STR: u8 = 11;
const BLOCK_BYTES: u8 = 12;
const PICKLE: u8 = 13;
const LONG: u8 = 14;

/// Bytes that no codec of ours wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object that is damaged")]
pub struct Damaged;

/// Where the handles stand in an encoded object, one behind the other.
///
/// # Errors
/// [`Damaged`] when they are not all there.
pub fn handles(wire: &[u8]) -> Result<Range<usize>, Damaged> {
    let found = match wire {
        [BLOCK_STR | BLOCK_BYTES, ..] => 1..9,
        [LONG, ..] => 8..16,
        [PICKLE, ..] => {
            let (count, _) = wire.get(4..).and_then(<[u8]>::split_first_chunk::<4>).ok_or(Damaged)?;
            let bytes = (u32::from_le_bytes(*count) as usize).checked_mul(8).ok_or(Damaged)?;
            16..bytes.checked_add(16).ok_or(Damaged)?
        }
        _ => 0..0,
    };
    if found.end > wire.len() { Err(Damaged) } else { Ok(found) }
}

/// Gives every handle of an encoded object its new value.
///
/// # Errors
/// [`Damaged`] when it names a block for which `new` has none.
pub fn rename(wire: &mut [u8], new: impl Fn(u64) -> Option<u64>) -> Result<(), Damaged> {
    let places = handles(wire)?;
    for place in wire[places].chunks_exact_mut(8) {
        let mut old = [0; 8];
        old.copy_from_slice(place);
        place.copy_from_slice(&new(u64::from_le_bytes(old)).ok_or(Damaged)?.to_le_bytes());
    }
    Ok(())
}

/// Of an encoded object that lies in a block itself: the handle of that, and its length.
#[must_use]
pub fn inner(wire: &[u8]) -> Option<(u64, usize)> {
    let [LONG, ..] = wire else { return None };
    let (handle, rest) = wire.get(8..)?.split_first_chunk()?;
    let (length, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*handle), usize::try_from(u64::from_le_bytes(*length)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_renamed_and_nothing_else() {
        let seven = |old: u64| (old == 7).then_some(9);
        let mut text = [&[BLOCK_STR][..], &7u64.to_le_bytes(), &5u64.to_le_bytes()].concat();
        rename(&mut text, seven).unwrap();
        assert_eq!(text, [&[BLOCK_STR][..], &9u64.to_le_bytes(), &5u64.to_le_bytes()].concat());
        let head = [&[PICKLE, 1, 0, 0][..], &2u32.to_le_bytes(), &3u64.to_le_bytes()].concat();
        let mut pickle = [&head[..], &7u64.to_le_bytes(), &7u64.to_le_bytes(), b"rest 7"].concat();
        rename(&mut pickle, seven).unwrap();
        assert_eq!(pickle, [&head[..], &9u64.to_le_bytes(), &9u64.to_le_bytes(), b"rest 7"].concat());
        let mut long = [&[LONG, 0, 0, 0, 0, 0, 0, 0][..], &7u64.to_le_bytes(), &40u64.to_le_bytes()].concat();
        assert_eq!(inner(&long), Some((7, 40)));
        rename(&mut long, seven).unwrap();
        assert_eq!(inner(&long), Some((9, 40)));
        for plain in [&[4u8, 1, 2][..], &[0x80, 5], &[]] {
            let mut copy = plain.to_vec();
            rename(&mut copy, seven).unwrap();
            assert_eq!(copy, plain);
        }
    }

    #[test]
    fn what_is_cut_or_names_other_blocks_is_damaged() {
        let pickle = [&[PICKLE, 0, 0, 0][..], &1u32.to_le_bytes(), &0u64.to_le_bytes(), &7u64.to_le_bytes()].concat();
        for length in 1..pickle.len() {
            assert_eq!(rename(&mut pickle[..length].to_vec(), Some), Err(Damaged), "{length}");
        }
        assert_eq!(rename(&mut pickle.clone(), |_| None), Err(Damaged));
        let huge = [&[PICKLE, 0, 0, 0][..], &u32::MAX.to_le_bytes(), &[0; 64]].concat();
        assert_eq!(handles(&huge), Err(Damaged));
        assert_eq!(handles(&[BLOCK_BYTES, 1]), Err(Damaged));
    }
}
