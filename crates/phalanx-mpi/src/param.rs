//! Arguments: from what C passes to what a body wants.
//!
//! `Param<Small>` is a parameter's form in `MPI_X`, `Param<Large>` its form in `MPI_X_c`. Most types have the same form in both.

use std::ffi::{CStr, c_char, c_int, c_void};

use phalanx_engine::ErrorClass;
use smallvec::SmallVec;

use crate::consts;
use crate::entry::{ErrorObject, Failure, wrong};
use crate::handle::*;

/// The functions whose counts are `int`.
pub(crate) struct Small;
/// The `_c` functions, whose counts are `MPI_Count`.
pub(crate) struct Large;

/// A type of parameter that a body can ask for.
pub(crate) trait Param<W>: Sized {
    /// What C passes.
    type Raw: Copy;

    /// Turns what C passes into what the body wants.
    ///
    /// # Safety
    /// Pointers among `raw` are null, one of the ABI's special addresses, or valid for what the standard has the
    /// function do with them, until it returns (or the operation completes, for buffers).
    unsafe fn decode(raw: Self::Raw) -> Result<Self, Failure>;

    /// The object whose error handler a failing call uses, when this argument is one.
    fn object(raw: Self::Raw) -> ErrorObject {
        let _ = raw;
        ErrorObject::None
    }
}

macro_rules! as_it_is {
    ($($t:ty),* $(,)?) => {$(
        impl<W> Param<W> for $t {
            type Raw = $t;
            unsafe fn decode(raw: $t) -> Result<$t, Failure> {
                Ok(raw)
            }
        }
    )*};
}
as_it_is!(c_int, i64, isize, RawType, RawErrhandler, RawGroup, RawInfo, RawMessage, RawOp, RawRequest);
as_it_is!(RawEnum, RawControl, RawPerformanceSession, RawPerformance);

macro_rules! with_handler {
    ($($t:ty => $variant:ident),* $(,)?) => {$(
        impl<W> Param<W> for $t {
            type Raw = $t;
            unsafe fn decode(raw: $t) -> Result<$t, Failure> {
                Ok(raw)
            }
            fn object(raw: $t) -> ErrorObject {
                ErrorObject::$variant(raw)
            }
        }
    )*};
}
with_handler!(RawComm => Comm, RawWin => Win, RawFile => File, RawSession => Session);

/// An address that is passed on: user state, callbacks, memory to be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Address(pub(crate) usize);

as_it_is!(Address);

/// A count: `int` or `MPI_Count`, never negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) usize);

/// The number of `what`, as a length.
pub(crate) fn length(n: c_int, class: ErrorClass, what: &str) -> Result<usize, Failure> {
    usize::try_from(n).map_err(|_| wrong(class, format!("the number of {what} is {n}; it must not be negative")))
}

/// A count that is given as a number of either width.
#[inline]
pub(crate) fn count(value: i64) -> Result<Count, Failure> {
    match usize::try_from(value) {
        Ok(value) => Ok(Count(value)),
        Err(_) => Err(wrong(ErrorClass::Count, format!("the count is {value}; it must not be negative"))),
    }
}

impl Param<Small> for Count {
    type Raw = c_int;
    unsafe fn decode(raw: c_int) -> Result<Count, Failure> {
        count(raw.into())
    }
}

impl Param<Large> for Count {
    type Raw = i64;
    unsafe fn decode(raw: i64) -> Result<Count, Failure> {
        count(raw)
    }
}

/// An integer that is `int` or 64 bits wide and may be negative: a stride, a displacement, a size to be checked by the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub(crate) i64);

impl Param<Small> for Number {
    type Raw = c_int;
    unsafe fn decode(raw: c_int) -> Result<Number, Failure> {
        Ok(Number(raw.into()))
    }
}

impl Param<Large> for Number {
    type Raw = i64;
    unsafe fn decode(raw: i64) -> Result<Number, Failure> {
        Ok(Number(raw))
    }
}

/// An array of counts or displacements: `int[]` or 64-bit integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    at: *const c_void,
    large: bool,
}

impl Param<Small> for Numbers {
    type Raw = *const c_int;
    unsafe fn decode(raw: *const c_int) -> Result<Numbers, Failure> {
        Ok(Numbers { at: raw.cast(), large: false })
    }
}

impl Param<Large> for Numbers {
    type Raw = *const i64;
    unsafe fn decode(raw: *const i64) -> Result<Numbers, Failure> {
        Ok(Numbers { at: raw.cast(), large: true })
    }
}

impl Numbers {
    /// The first `n` numbers.
    pub(crate) fn read(self, n: usize, what: &str) -> Result<SmallVec<[i64; 16]>, Failure> {
        if n == 0 {
            return Ok(SmallVec::new());
        }
        if self.at.is_null() {
            return Err(wrong(ErrorClass::Arg, format!("the array of {what} is a null pointer")));
        }
        Ok(if self.large {
            // SAFETY: `decode`'s caller promised a valid array; the standard gives its length, which is `n`.
            unsafe { std::slice::from_raw_parts(self.at.cast::<i64>(), n) }.iter().copied().collect()
        } else {
            // SAFETY: as above.
            unsafe { std::slice::from_raw_parts(self.at.cast::<c_int>(), n) }.iter().map(|v| (*v).into()).collect()
        })
    }
}

/// An array that the function reads; its length comes from other arguments.
#[derive(Debug)]
pub(crate) struct In<T>(*const T);

impl<W, T: Copy> Param<W> for In<T> {
    type Raw = *const T;
    unsafe fn decode(raw: *const T) -> Result<In<T>, Failure> {
        Ok(In(raw))
    }
}

impl<T: Copy> In<T> {
    /// The first `n` elements.
    pub(crate) fn read(&self, n: usize, what: &str) -> Result<&[T], Failure> {
        if n == 0 {
            return Ok(&[]);
        }
        if self.0.is_null() {
            return Err(wrong(ErrorClass::Arg, format!("{what} is a null pointer")));
        }
        // SAFETY: `decode`'s caller promised a valid array for the time of the call; the standard gives its length.
        Ok(unsafe { std::slice::from_raw_parts(self.0, n) })
    }

    /// Whether the argument is a null pointer (which the ABI uses for several "ignore" constants).
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The address.
    pub(crate) fn address(&self) -> usize {
        self.0 as usize
    }
}

/// A place for one result.
#[derive(Debug)]
pub(crate) struct Out<T>(*mut T);

impl<W, T: Copy> Param<W> for Out<T> {
    type Raw = *mut T;
    unsafe fn decode(raw: *mut T) -> Result<Out<T>, Failure> {
        if raw.is_null() {
            return Err(wrong(ErrorClass::Arg, "a pointer to a result is null"));
        }
        Ok(Out(raw))
    }
}

impl<T: Copy> Out<T> {
    /// Stores the result.
    pub(crate) fn set(&self, value: T) {
        // SAFETY: not null (checked by `decode`), and valid for a write as `decode`'s caller promised.
        unsafe { self.0.write_unaligned(value) }
    }

    /// What is there now, for parameters that are read and written.
    pub(crate) fn get(&self) -> T {
        // SAFETY: as in `set`; the standard has the caller initialise such parameters.
        unsafe { self.0.read_unaligned() }
    }
}

/// A handle that the call frees or replaces, and whose error handler it uses.
#[derive(Debug)]
pub(crate) struct InOutHandle<T>(Out<T>);

impl<T: Copy> InOutHandle<T> {
    /// The handle.
    pub(crate) fn get(&self) -> T {
        self.0.get()
    }

    /// Replaces the handle.
    pub(crate) fn set(&self, value: T) {
        self.0.set(value);
    }
}

macro_rules! in_out_handler {
    ($($t:ident => $variant:ident),* $(,)?) => {$(
        impl<W> Param<W> for InOutHandle<$t> {
            type Raw = *mut $t;
            unsafe fn decode(raw: *mut $t) -> Result<Self, Failure> {
                // SAFETY: the same contract.
                Ok(InOutHandle(unsafe { <Out<$t> as Param<W>>::decode(raw)? }))
            }
            fn object(raw: *mut $t) -> ErrorObject {
                if raw.is_null() {
                    return ErrorObject::None;
                }
                // SAFETY: not null, and valid for the time of the call.
                ErrorObject::$variant(unsafe { raw.read_unaligned() })
            }
        }
    )*};
}
in_out_handler!(RawComm => Comm, RawWin => Win, RawFile => File, RawSession => Session);

/// A place for an array of results, or null.
#[derive(Debug)]
pub(crate) struct OutArray<T>(*mut T);

impl<W, T: Copy> Param<W> for OutArray<T> {
    type Raw = *mut T;
    unsafe fn decode(raw: *mut T) -> Result<OutArray<T>, Failure> {
        Ok(OutArray(raw))
    }
}

impl<T: Copy> OutArray<T> {
    /// The address.
    pub(crate) fn address(&self) -> usize {
        self.0 as usize
    }

    /// Stores result number `i`; nothing happens when the array is a null pointer.
    pub(crate) fn set(&self, i: usize, value: T) {
        if !self.0.is_null() {
            // SAFETY: `decode`'s caller promised room for as many results as the call has; `i` is one of them.
            unsafe { self.0.add(i).write_unaligned(value) }
        }
    }

    /// Element `i`, for arrays that are read and written.
    pub(crate) fn get(&self, i: usize) -> T {
        // SAFETY: as in `set`; callers check `is_null` through `need`.
        unsafe { self.0.add(i).read_unaligned() }
    }

    /// Fails when the array is a null pointer although it has elements.
    pub(crate) fn need(&self, n: usize, what: &str) -> Result<(), Failure> {
        if n > 0 && self.0.is_null() {
            return Err(wrong(ErrorClass::Arg, format!("{what} is a null pointer")));
        }
        Ok(())
    }
}

/// A place for a count: `int *` or `MPI_Count *`.
#[derive(Debug)]
pub(crate) struct CountOut {
    at: *mut c_void,
    large: bool,
}

impl Param<Small> for CountOut {
    type Raw = *mut c_int;
    unsafe fn decode(raw: *mut c_int) -> Result<CountOut, Failure> {
        // SAFETY: the same contract.
        unsafe { <Out<c_int> as Param<Small>>::decode(raw)? };
        Ok(CountOut { at: raw.cast(), large: false })
    }
}

impl Param<Large> for CountOut {
    type Raw = *mut i64;
    unsafe fn decode(raw: *mut i64) -> Result<CountOut, Failure> {
        // SAFETY: the same contract.
        unsafe { <Out<i64> as Param<Small>>::decode(raw)? };
        Ok(CountOut { at: raw.cast(), large: true })
    }
}

impl CountOut {
    /// Stores a count, or `MPI_UNDEFINED` when an `int` cannot hold it.
    pub(crate) fn set_or_undefined(&self, value: i64) {
        let narrow = c_int::try_from(value).unwrap_or(consts::UNDEFINED);
        self.write(value, narrow);
    }

    /// Stores a count.
    ///
    /// Fails when an `int` cannot hold it.
    pub(crate) fn set(&self, value: i64) -> Result<(), Failure> {
        match c_int::try_from(value) {
            Err(_) if !self.large => Err(wrong(
                ErrorClass::ValueTooLarge,
                format!("the result {value} does not fit an int; use the _c form of the function"),
            )),
            narrow => {
                self.write(value, narrow.unwrap_or(consts::UNDEFINED));
                Ok(())
            }
        }
    }

    /// The count that is there now.
    pub(crate) fn get(&self) -> i64 {
        if self.large {
            // SAFETY: not null, valid, and an `MPI_Count` in this form of the function.
            unsafe { self.at.cast::<i64>().read_unaligned() }
        } else {
            // SAFETY: not null, valid, and an `int` in this form of the function.
            unsafe { self.at.cast::<c_int>().read_unaligned() }.into()
        }
    }

    fn write(&self, wide: i64, narrow: c_int) {
        if self.large {
            // SAFETY: as in `get`.
            unsafe { self.at.cast::<i64>().write_unaligned(wide) }
        } else {
            // SAFETY: as in `get`.
            unsafe { self.at.cast::<c_int>().write_unaligned(narrow) }
        }
    }
}

/// A string that the function reads.
#[derive(Clone, Debug)]
pub(crate) struct Text(pub(crate) String);

impl<W> Param<W> for Text {
    type Raw = *const c_char;
    unsafe fn decode(raw: *const c_char) -> Result<Text, Failure> {
        if raw.is_null() {
            return Err(wrong(ErrorClass::Arg, "a string argument is a null pointer"));
        }
        // SAFETY: not null; the caller promised a C string for the time of the call.
        let bytes = unsafe { CStr::from_ptr(raw) };
        match bytes.to_str() {
            Ok(text) => Ok(Text(text.to_string())),
            Err(_) => Err(wrong(ErrorClass::Arg, "a string argument is not UTF-8")),
        }
    }
}

/// Room for a string whose greatest length the standard fixes.
#[derive(Debug)]
pub(crate) struct TextOut(*mut c_char);

impl<W> Param<W> for TextOut {
    type Raw = *mut c_char;
    unsafe fn decode(raw: *mut c_char) -> Result<TextOut, Failure> {
        Ok(TextOut(raw))
    }
}

impl TextOut {
    /// Whether there is no room at all.
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Stores `text` with its closing zero, cut so that both fit `room` bytes; gives the length without the zero.
    pub(crate) fn set(&self, text: &str, room: usize) -> Result<usize, Failure> {
        if room == 0 {
            return Ok(0);
        }
        if self.0.is_null() {
            return Err(wrong(ErrorClass::Arg, "room for a string is a null pointer"));
        }
        let text = cut(text, room - 1);
        // SAFETY: the caller promised room for as many bytes as the standard says, which is `room`; the cut
        // text and its zero are no longer than that, and a fresh `str` does not overlap it.
        unsafe {
            self.0.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
            self.0.add(text.len()).write(0);
        }
        Ok(text.len())
    }
}

/// The longest beginning of `text` that has at most `bytes` bytes and ends between characters.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// An array of strings that ends with a null pointer, or is null itself.
#[derive(Debug)]
pub(crate) struct TextList(*const *const c_char);

impl<W> Param<W> for TextList {
    type Raw = *const *const c_char;
    unsafe fn decode(raw: *const *const c_char) -> Result<TextList, Failure> {
        Ok(TextList(raw))
    }
}

impl TextList {
    /// A list that starts at an address found in an array of lists.
    ///
    /// # Safety
    /// As for `decode`.
    pub(crate) unsafe fn at(address: usize) -> TextList {
        TextList(address as *const *const c_char)
    }

    /// The strings up to the null pointer, or exactly `limit` of them.
    pub(crate) fn read(&self, limit: Option<usize>) -> Result<Vec<String>, Failure> {
        let mut list = Vec::new();
        if self.0.is_null() {
            return Ok(list);
        }
        while limit.is_none_or(|n| list.len() < n) {
            // SAFETY: the caller promised an array with a null pointer at its end or with `limit` elements.
            let item = unsafe { self.0.add(list.len()).read() };
            if item.is_null() {
                break;
            }
            // SAFETY: an element that is not null is a C string.
            let bytes = unsafe { CStr::from_ptr(item) };
            match bytes.to_str() {
                Ok(text) => list.push(text.to_string()),
                Err(_) => return Err(wrong(ErrorClass::Arg, "a string argument is not UTF-8")),
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("plain", 3), "pla");
        assert_eq!(cut("größe", 3), "gr");
        assert_eq!(cut("größe", 4), "grö");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn text_fits_its_room_with_the_closing_zero() {
        let mut room = [0x7f as c_char; 4];
        // SAFETY: a place of four bytes.
        let out = unsafe { <TextOut as Param<Small>>::decode(room.as_mut_ptr()) }.expect("a place");
        assert_eq!(out.set("abcdef", 4).expect("room"), 3);
        assert_eq!(room, [b'a' as c_char, b'b' as c_char, b'c' as c_char, 0]);
    }

    #[test]
    fn counts_are_checked_in_both_widths() {
        // SAFETY: numbers are not looked behind.
        unsafe {
            assert_eq!(<Count as Param<Small>>::decode(5).expect("a count").0, 5);
            assert_eq!(<Count as Param<Large>>::decode(1 << 40).expect("a count").0, 1 << 40);
            assert!(<Count as Param<Small>>::decode(-1).is_err());
            assert!(<Count as Param<Large>>::decode(-1).is_err());
        }
    }

    #[test]
    fn a_result_too_large_for_an_int_is_an_error_or_undefined() {
        let mut narrow: c_int = 0;
        // SAFETY: a place of an int.
        let out = unsafe { <CountOut as Param<Small>>::decode(&raw mut narrow) }.expect("a place");
        assert!(out.set(1 << 40).is_err());
        out.set_or_undefined(1 << 40);
        assert_eq!(out.get(), i64::from(consts::UNDEFINED));
        out.set(12).expect("fits");
        assert_eq!(out.get(), 12);
    }
}
