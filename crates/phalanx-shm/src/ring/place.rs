//! Where a ring's words and lines are: in the segment, or on loom's heap.
//!
//! Both forms of [`RingRef`] offer the same accesses, so that the producer and
//! the consumer are the same code in production and in the models.

#[cfg(loom)]
pub use model::LoomRing;
#[cfg(loom)]
pub(crate) use model::RingRef;
#[cfg(not(loom))]
pub(crate) use real::RingRef;

#[cfg(not(loom))]
mod real {
    use core::ptr::{self, NonNull};
    use std::sync::Arc;

    use crate::doorbell::Doorbell;
    use crate::mem::memmove;
    use crate::ring::{Control, LINE};
    use crate::segment::Segment;
    use crate::sleep::SleepWord;
    use crate::sync::AtomicU64;

    /// A ring in the segment, kept mapped by this value.
    #[derive(Debug)]
    pub(crate) struct RingRef {
        control: NonNull<Control>,
        lines: NonNull<u8>,
        /// Lines minus one; the count is a power of two.
        mask: u64,
        bell: NonNull<Doorbell>,
        sleepers: NonNull<SleepWord>,
        _mapped: Arc<Segment>,
        /// What `sleepers` is in, where that is another segment.
        _home: Option<Arc<Segment>>,
    }

    // SAFETY: the pointers are into the mappings that `_mapped` and `_home` keep alive, and
    // accesses through them are atomic or follow the ring's protocol.
    unsafe impl Send for RingRef {}

    impl RingRef {
        /// # Safety
        ///
        /// - all pointers are into `mapped` and aligned for their type;
        /// - `lines` is the start of `count` lines, `count` a power of two;
        /// - no other code accesses the lines except through ring handles.
        pub(crate) unsafe fn new(
            mapped: Arc<Segment>,
            control: NonNull<Control>,
            lines: NonNull<u8>,
            count: u64,
            bell: NonNull<Doorbell>,
            sleepers: NonNull<SleepWord>,
        ) -> RingRef {
            debug_assert!(count.is_power_of_two());
            RingRef { control, lines, mask: count - 1, bell, sleepers, _mapped: mapped, _home: None }
        }

        /// The same ring, whose sender sleeps in another segment.
        ///
        /// # Safety
        ///
        /// `sleepers` is into `home` and aligned.
        pub(crate) unsafe fn with_sender_in(mut self, home: Arc<Segment>, sleepers: NonNull<SleepWord>) -> RingRef {
            self.sleepers = sleepers;
            self._home = Some(home);
            self
        }

        #[inline]
        pub(in crate::ring) fn control(&self) -> &Control {
            // SAFETY: valid by the contract of `new`; only atomics inside.
            unsafe { self.control.as_ref() }
        }

        /// Doorbell of the receiving process.
        #[inline]
        pub(in crate::ring) fn bell(&self) -> &Doorbell {
            // SAFETY: valid by the contract of `new`; only atomics inside.
            unsafe { self.bell.as_ref() }
        }

        /// Where the sending process sleeps.
        #[inline]
        pub(in crate::ring) fn sender_sleepers(&self) -> &SleepWord {
            // SAFETY: valid by the contract of `new`; only atomics inside.
            unsafe { self.sleepers.as_ref() }
        }

        #[inline]
        pub(in crate::ring) fn mask(&self) -> u64 {
            self.mask
        }

        #[inline]
        fn line(&self, position: u64) -> *mut u8 {
            // SAFETY: the masked index is within the lines.
            unsafe { self.lines.as_ptr().add((position & self.mask) as usize * LINE) }
        }

        /// First word of the line at `position`.
        #[inline]
        pub(in crate::ring) fn word0(&self, position: u64) -> &AtomicU64 {
            // SAFETY: in bounds and 64-byte aligned. It is accessed without
            // atomics only while the line belongs to one side (see README.md).
            unsafe { &*self.line(position).cast::<AtomicU64>() }
        }

        /// Stores words 1 to 4 of the header line at `position`.
        ///
        /// # Safety
        ///
        /// The line belongs to the caller (producer, free line).
        #[inline]
        pub(in crate::ring) unsafe fn write_header(&self, position: u64, words: [u64; 4]) {
            // SAFETY: bytes 8..40 of the line, 8-byte aligned, ours.
            unsafe { self.line(position).add(8).cast::<[u64; 4]>().write(words) }
        }

        /// Loads words 1 to 4 of the header line at `position`.
        ///
        /// # Safety
        ///
        /// The line holds a published, unconsumed record (consumer).
        #[inline]
        pub(in crate::ring) unsafe fn read_header(&self, position: u64) -> [u64; 4] {
            // SAFETY: bytes 8..40 of the line; nobody writes it meanwhile.
            unsafe { self.line(position).add(8).cast::<[u64; 4]>().read() }
        }

        /// Address of byte `at` (counted from the start of line `position`) and
        /// how many bytes follow before the end of the lines.
        #[inline]
        fn byte(&self, position: u64, at: usize) -> (*mut u8, usize) {
            let size = (self.mask as usize + 1) * LINE;
            let index = ((position & self.mask) as usize * LINE + at) & (size - 1);
            // SAFETY: the masked index is within the lines.
            (unsafe { self.lines.as_ptr().add(index) }, size - index)
        }

        /// Copies `len` bytes at `from` to byte `at` of the record at `position`.
        ///
        /// # Safety
        ///
        /// Those bytes lie in lines that belong to the caller (producer, free
        /// lines, `at >= 8`), `len` is at most the ring's size, and `from` is
        /// readable for `len` bytes.
        #[inline]
        pub(in crate::ring) unsafe fn copy_in(&self, position: u64, at: usize, from: *const u8, len: usize) {
            let (to, room) = self.byte(position, at);
            // SAFETY: the caller's contract; the split keeps both copies inside
            // the lines, and user memory does not overlap ring lines.
            unsafe {
                if len <= 24 {
                    copy_small(from, to, len, room);
                } else if len <= room {
                    memmove::copy(from, to, len);
                } else {
                    memmove::copy(from, to, room);
                    memmove::copy(from.add(room), self.lines.as_ptr(), len - room);
                }
                // A short piece may wrap too: `copy_small` did `room` bytes.
                if len <= 24 && len > room {
                    ptr::copy_nonoverlapping(from.add(room), self.lines.as_ptr(), len - room);
                }
            }
        }

        /// The one or two stretches of memory that hold `len` bytes from byte
        /// `at` of the record at `position`. `len` at most the ring's size.
        #[inline]
        pub(in crate::ring) fn stretches(&self, position: u64, at: usize, len: usize) -> [(*const u8, usize); 2] {
            let (start, room) = self.byte(position, at);
            let first = len.min(room);
            [(start.cast_const(), first), (self.lines.as_ptr().cast_const(), len - first)]
        }

        /// Zeroes the first words of `count` lines from `position` on.
        ///
        /// # Safety
        ///
        /// The lines belong to the caller (consumer, consumed record).
        #[inline]
        pub(in crate::ring) unsafe fn clear(&self, position: u64, count: u64) {
            for at in position..position + count {
                // SAFETY: in bounds, aligned, ours until `head` is published.
                unsafe { self.line(at).cast::<u64>().write(0) };
            }
        }
    }

    /// Copies `min(len, room)` bytes, `len` at most 24, without a call.
    ///
    /// # Safety
    ///
    /// `from` readable and `to` writable for that many bytes, no overlap.
    #[inline]
    unsafe fn copy_small(from: *const u8, to: *mut u8, len: usize, room: usize) {
        let n = len.min(room);
        // SAFETY: every access below is within the first `n` bytes.
        unsafe {
            if n >= 8 {
                let last = from.add(n - 8).cast::<u64>().read_unaligned();
                let first = from.cast::<u64>().read_unaligned();
                if n > 16 {
                    let middle = from.add(8).cast::<u64>().read_unaligned();
                    to.add(8).cast::<u64>().write_unaligned(middle);
                }
                to.cast::<u64>().write_unaligned(first);
                to.add(n - 8).cast::<u64>().write_unaligned(last);
            } else if n >= 4 {
                let last = from.add(n - 4).cast::<u32>().read_unaligned();
                let first = from.cast::<u32>().read_unaligned();
                to.cast::<u32>().write_unaligned(first);
                to.add(n - 4).cast::<u32>().write_unaligned(last);
            } else {
                for i in 0..n {
                    *to.add(i) = *from.add(i);
                }
            }
        }
    }
}

#[cfg(loom)]
mod model {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    use crate::doorbell::{Doorbell, HotSet};
    use crate::process::ProcId;
    use crate::ring::{Control, LINE, RingConsumer, RingProducer};
    use crate::sleep::SleepWord;
    use crate::sync::{AtomicU64, Ordering};

    /// One line: its first word as an atomic, all bytes under race detection.
    #[derive(Debug)]
    struct Line {
        word0: AtomicU64,
        bytes: UnsafeCell<[u8; LINE]>,
    }

    /// A ring, its receiver's doorbell and its sender's word to sleep on.
    #[derive(Debug)]
    pub struct LoomRing {
        control: Control,
        lines: Vec<Line>,
        /// The receiver's doorbell.
        pub(crate) bell: Doorbell,
        /// Where the sender sleeps.
        pub sleepers: SleepWord,
    }

    impl LoomRing {
        /// An empty ring of `lines` lines.
        pub fn new(lines: usize) -> Arc<LoomRing> {
            assert!(lines.is_power_of_two());
            Arc::new(LoomRing {
                control: Control::new(),
                lines: (0..lines)
                    .map(|_| Line { word0: AtomicU64::new(0), bytes: UnsafeCell::new([0; LINE]) })
                    .collect(),
                bell: Doorbell::new(),
                sleepers: SleepWord::new(),
            })
        }

        /// Both ends of the ring, from process 0 to process 1.
        pub fn ends(ring: &Arc<LoomRing>) -> (RingProducer, RingConsumer) {
            let producer = RingProducer::claim(RingRef(ring.clone()), 0, 1);
            let consumer = RingConsumer::claim(RingRef(ring.clone()), 0, 1);
            (producer.unwrap(), consumer.unwrap())
        }

        /// Where the receiver sleeps.
        pub fn receiver_sleepers(&self) -> &SleepWord {
            &self.bell.sleepers
        }

        /// [`HotSet::refresh`] on the receiver's doorbell.
        pub fn refresh(&self, hot: &mut HotSet) -> bool {
            hot.refresh_from(&self.bell)
        }

        /// [`HotSet::cool`] on the receiver's doorbell.
        pub fn cool(&self, hot: &mut HotSet, is_empty: impl FnOnce() -> bool) -> bool {
            hot.cool_in(&self.bell, ProcId(0), is_empty)
        }
    }

    #[derive(Debug, Clone)]
    pub(crate) struct RingRef(Arc<LoomRing>);

    impl RingRef {
        pub(in crate::ring) fn control(&self) -> &Control {
            &self.0.control
        }

        pub(in crate::ring) fn bell(&self) -> &Doorbell {
            &self.0.bell
        }

        pub(in crate::ring) fn sender_sleepers(&self) -> &SleepWord {
            &self.0.sleepers
        }

        pub(in crate::ring) fn mask(&self) -> u64 {
            self.0.lines.len() as u64 - 1
        }

        fn line(&self, position: u64) -> &Line {
            &self.0.lines[(position & self.mask()) as usize]
        }

        pub(in crate::ring) fn word0(&self, position: u64) -> &AtomicU64 {
            &self.line(position).word0
        }

        pub(in crate::ring) unsafe fn write_header(&self, position: u64, words: [u64; 4]) {
            self.line(position).bytes.with_mut(|b| {
                for (i, w) in words.iter().enumerate() {
                    // SAFETY: loom lends the bytes to this closure only, and reports whoever else touches them.
                    unsafe { (&mut *b)[8 + i * 8..16 + i * 8].copy_from_slice(&w.to_ne_bytes()) };
                }
            });
        }

        pub(in crate::ring) unsafe fn read_header(&self, position: u64) -> [u64; 4] {
            self.line(position).bytes.with(|b| {
                std::array::from_fn(|i| {
                    let at = 8 + i * 8;
                    // SAFETY: loom lends the bytes to this closure only, and reports whoever else touches them.
                    u64::from_ne_bytes(unsafe { (&*b)[at..at + 8].try_into().unwrap() })
                })
            })
        }

        pub(in crate::ring) unsafe fn copy_in(&self, position: u64, at: usize, from: *const u8, len: usize) {
            for i in 0..len {
                let line = self.line(position + ((at + i) / LINE) as u64);
                // SAFETY: as in `write_header`; `from` has `len` readable bytes by this function's contract.
                line.bytes.with_mut(|b| unsafe { (*b)[(at + i) % LINE] = *from.add(i) });
                if (at + i) % LINE == 7 || ((at + i) % LINE < 8 && i + 1 == len) {
                    // Payload over a first word: what a later poll would see.
                    // SAFETY: as in `write_header`.
                    let word = line.bytes.with(|b| u64::from_ne_bytes(unsafe { (&*b)[..8].try_into().unwrap() }));
                    line.word0.store(word, Ordering::Relaxed);
                }
            }
        }

        /// Loom's bytes cannot be lent out, so the model copies them.
        pub(in crate::ring) fn bytes(&self, position: u64, at: usize, len: usize) -> Vec<u8> {
            (at..at + len)
                .map(|i| {
                    let line = self.line(position + (i / LINE) as u64);
                    // SAFETY: as in `write_header`.
                    line.bytes.with(|b| unsafe { (*b)[i % LINE] })
                })
                .collect()
        }

        pub(in crate::ring) unsafe fn clear(&self, position: u64, count: u64) {
            for at in position..position + count {
                let line = self.line(at);
                // SAFETY: as in `write_header`.
                line.bytes.with_mut(|b| unsafe { (&mut *b)[..8].fill(0) });
                line.word0.store(0, Ordering::Relaxed);
            }
        }
    }
}
