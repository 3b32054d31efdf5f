//! What packing needs from memory: bytes at signed offsets from a buffer's base address.
//!
//! The base may be `MPI_BOTTOM` and offsets absolute addresses, so a buffer is not a slice. The real implementations are
//! `phalanx_shm`'s views of user memory, whose constructors carry the promise that the bytes are there; temporary buffers
//! are slices with an origin ([`Around`], [`AroundMut`]).

use phalanx_shm::mem::{ConstMem, MutMem};

/// Memory that can be read at offsets from its base.
pub trait Source {
    /// Fills `out` with the bytes that begin `at` bytes from the base.
    fn read(&self, at: isize, out: &mut [u8]);

    /// Fills the blocks of `out`, the first from `at`, each next one from `stride` bytes further.
    #[inline]
    fn read_run<const N: usize>(&self, mut at: isize, stride: isize, out: &mut [[u8; N]]) {
        for block in out {
            self.read(at, block);
            at = at.wrapping_add(stride);
        }
    }
}

/// Memory that can be written at offsets from its base.
pub trait Sink {
    /// Stores `data` so that it begins `at` bytes from the base.
    fn write(&mut self, at: isize, data: &[u8]);

    /// Stores the blocks of `data`, the first at `at`, each next one `stride` bytes further.
    #[inline]
    fn write_run<const N: usize>(&mut self, mut at: isize, stride: isize, data: &[[u8; N]]) {
        for block in data {
            self.write(at, block);
            at = at.wrapping_add(stride);
        }
    }
}

/// A slice seen from an origin `origin` bytes after its start (before it, when negative).
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Position of the base address in `bytes`.
    pub origin: isize,
}

/// A writable slice seen from an origin `origin` bytes after its start (before it, when negative).
#[derive(Debug)]
pub struct AroundMut<'a> {
    /// The bytes.
    pub bytes: &'a mut [u8],
    /// Position of the base address in `bytes`.
    pub origin: isize,
}

impl Source for Around<'_> {
    fn read(&self, at: isize, out: &mut [u8]) {
        let start = (self.origin + at) as usize;
        out.copy_from_slice(&self.bytes[start..start + out.len()]);
    }
}

impl Sink for AroundMut<'_> {
    fn write(&mut self, at: isize, data: &[u8]) {
        let start = (self.origin + at) as usize;
        self.bytes[start..start + data.len()].copy_from_slice(data);
    }
}

impl Source for [u8] {
    fn read(&self, at: isize, out: &mut [u8]) {
        Around { bytes: self, origin: 0 }.read(at, out);
    }
}

impl Sink for [u8] {
    fn write(&mut self, at: isize, data: &[u8]) {
        AroundMut { bytes: self, origin: 0 }.write(at, data);
    }
}

impl Source for ConstMem {
    #[inline]
    fn read(&self, at: isize, out: &mut [u8]) {
        self.at(at, out.len()).copy_to(out);
    }

    #[inline]
    fn read_run<const N: usize>(&self, at: isize, stride: isize, out: &mut [[u8; N]]) {
        self.gather(at, stride, out);
    }
}

impl Sink for MutMem {
    #[inline]
    fn write(&mut self, at: isize, data: &[u8]) {
        self.at(at, data.len()).copy_from(data);
    }

    #[inline]
    fn write_run<const N: usize>(&mut self, at: isize, stride: isize, data: &[[u8; N]]) {
        self.scatter(at, stride, data);
    }
}
