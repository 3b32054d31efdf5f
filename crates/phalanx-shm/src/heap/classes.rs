//! Size classes: they step by a quarter of a power of two, so a block is at most a quarter larger than asked for.

/// Smallest block, and the unit of all block sizes, in bytes.
const UNIT: u64 = 64;

/// Size classes: 64, 128, 192, 256, 320, 384, 448, 512, 640, ... up to 2^45 bytes.
pub(crate) const CLASSES: usize = 4 * 38;

/// The class of blocks that hold `bytes`, or `None` when that is too much.
pub(crate) fn class_of(bytes: u64) -> Option<usize> {
    let units = bytes.max(1).div_ceil(UNIT);
    if units <= 4 {
        return Some(units as usize - 1);
    }
    // 2^exponent < units <= 2^(exponent + 1), in quarters of 2^exponent.
    let exponent = u64::BITS - 1 - (units - 1).leading_zeros();
    let quarter = 1u64 << (exponent - 2);
    let step = (units - (1 << exponent)).div_ceil(quarter);
    let class = 4 * (exponent as usize - 1) + step as usize - 1;
    (class < CLASSES).then_some(class)
}

/// Bytes of the blocks of a class.
pub(crate) fn class_bytes(class: usize) -> u64 {
    if class < 4 {
        return (class as u64 + 1) * UNIT;
    }
    let exponent = class as u32 / 4 + 1;
    let step = class as u64 % 4 + 1;
    ((1 << exponent) + (step << (exponent - 2))) * UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size_with_at_most_a_quarter_of_waste() {
        let mut previous = 0;
        for class in 0..CLASSES {
            let size = class_bytes(class);
            assert!(size > previous);
            assert_eq!(class_of(size), Some(class), "class {class} of {size} bytes");
            assert_eq!(class_of(previous + 1), Some(class), "just above {previous} bytes");
            if previous >= 4 * UNIT {
                assert!((size - previous) * 4 <= size);
            }
            previous = size;
        }
        assert_eq!(class_of(previous + 1), None);
        assert_eq!(class_of(0), Some(0));
    }
}
