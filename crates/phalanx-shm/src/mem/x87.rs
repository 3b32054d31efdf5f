//! Arithmetic of the 80-bit extended format on the unit that defines it.
//!
//! Rust has no type for C's `long double` on x86; a reduction of such numbers needs the same rounding as C programs get. The x87
//! unit computes with 64-bit significands as set by the system at program start.

use core::arch::asm;

macro_rules! binary {
    ($(#[$doc:meta])* $name:ident, $instruction:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(a: [u8; 10], b: [u8; 10]) -> [u8; 10] {
            let mut result = [0u8; 10];
            // SAFETY: reads ten bytes at each operand and writes ten at the result, all on this stack frame; the two stack
            // places it uses are free again at the end, and all are declared as clobbered.
            unsafe {
                asm!(
                    "fld tbyte ptr [{a}]",
                    "fld tbyte ptr [{b}]",
                    $instruction,
                    "fstp tbyte ptr [{result}]",
                    a = in(reg) a.as_ptr(),
                    b = in(reg) b.as_ptr(),
                    result = in(reg) result.as_mut_ptr(),
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    options(nostack),
                );
            }
            result
        }
    };
}

binary! {
    /// `a + b`.
    add, "faddp st(1), st"
}

binary! {
    /// `a * b`.
    mul, "fmulp st(1), st"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1.0, 2.0 and 3.0: exponent and the leading bits of the significand.
    const ONE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0x3F];
    const TWO: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0x00, 0x40];
    const THREE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xC0, 0x00, 0x40];

    #[test]
    fn small_numbers_add_and_multiply() {
        assert_eq!(add(ONE, TWO), THREE);
        assert_eq!(mul(ONE, THREE), THREE);
        assert_eq!(add(ONE, ONE), TWO);
    }

    #[test]
    fn all_64_bits_of_the_significand_count() {
        // 1 + 2^-63 is the next number after 1.
        let least = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xC0, 0x3F];
        let mut next = ONE;
        next[0] = 1;
        assert_eq!(add(ONE, least), next);
    }
}
