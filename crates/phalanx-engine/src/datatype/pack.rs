//! Packing and unpacking any part of the packed stream, and the list of segments behind it.
//!
//! A position in the packed stream of `count` elements is a byte number from 0 to `count * size`. Message layers move a
//! long message in pieces: each call names the position where the piece begins. Runs of small equal blocks (a column
//! of a matrix) go through loops over a block size known at compile time.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Datatype;
use super::memory::{Sink, Source};
use super::program::{Body, Step};

/// Receives the blocks of a walk, in the order of the packed stream.
trait Mover {
    /// One block of `len` bytes at `at`.
    fn block(&mut self, at: isize, len: usize);
    /// `count` blocks of `len` bytes, `stride` bytes apart.
    fn run(&mut self, at: isize, len: usize, count: usize, stride: isize);
    /// Blocks of `len` bytes at `at` plus each of the offsets.
    fn list(&mut self, at: isize, len: usize, offsets: &[isize]);
}

struct Packer<'a, S: ?Sized> {
    source: &'a S,
    out: &'a mut [u8],
    done: usize,
}

struct Unpacker<'a, S: ?Sized> {
    sink: &'a mut S,
    data: &'a [u8],
    done: usize,
}

/// Block sizes that get a loop of their own: the sizes of the basic types.
macro_rules! by_block_size {
    ($len:expr, $fixed:ident, $general:expr) => {
        match $len {
            1 => $fixed!(1),
            2 => $fixed!(2),
            4 => $fixed!(4),
            8 => $fixed!(8),
            12 => $fixed!(12),
            16 => $fixed!(16),
            24 => $fixed!(24),
            32 => $fixed!(32),
            _ => $general,
        }
    };
}

impl<S: Source + ?Sized> Mover for Packer<'_, S> {
    #[inline]
    fn block(&mut self, at: isize, len: usize) {
        let out = &mut self.out[self.done..self.done + len];
        macro_rules! fixed {
            ($n:literal) => {
                self.source.read_run(at, 0, out.as_chunks_mut::<$n>().0)
            };
        }
        by_block_size!(len, fixed, self.source.read(at, out));
        self.done += len;
    }

    fn run(&mut self, mut at: isize, len: usize, count: usize, stride: isize) {
        let out = &mut self.out[self.done..self.done + len * count];
        macro_rules! fixed {
            ($n:literal) => {
                self.source.read_run(at, stride, out.as_chunks_mut::<$n>().0)
            };
        }
        by_block_size!(len, fixed, {
            for block in out.chunks_exact_mut(len) {
                self.source.read(at, block);
                at = at.wrapping_add(stride);
            }
        });
        self.done += len * count;
    }

    fn list(&mut self, at: isize, len: usize, offsets: &[isize]) {
        let out = &mut self.out[self.done..self.done + len * offsets.len()];
        macro_rules! fixed {
            ($n:literal) => {
                for (block, offset) in out.as_chunks_mut::<$n>().0.iter_mut().zip(offsets) {
                    self.source.read_run(at + offset, 0, std::slice::from_mut(block));
                }
            };
        }
        by_block_size!(len, fixed, {
            for (block, offset) in out.chunks_exact_mut(len).zip(offsets) {
                self.source.read(at + offset, block);
            }
        });
        self.done += len * offsets.len();
    }
}

impl<S: Sink + ?Sized> Mover for Unpacker<'_, S> {
    #[inline]
    fn block(&mut self, at: isize, len: usize) {
        let data = &self.data[self.done..self.done + len];
        macro_rules! fixed {
            ($n:literal) => {
                self.sink.write_run(at, 0, data.as_chunks::<$n>().0)
            };
        }
        by_block_size!(len, fixed, self.sink.write(at, data));
        self.done += len;
    }

    fn run(&mut self, mut at: isize, len: usize, count: usize, stride: isize) {
        let data = &self.data[self.done..self.done + len * count];
        macro_rules! fixed {
            ($n:literal) => {
                self.sink.write_run(at, stride, data.as_chunks::<$n>().0)
            };
        }
        by_block_size!(len, fixed, {
            for block in data.chunks_exact(len) {
                self.sink.write(at, block);
                at = at.wrapping_add(stride);
            }
        });
        self.done += len * count;
    }

    fn list(&mut self, at: isize, len: usize, offsets: &[isize]) {
        let data = &self.data[self.done..self.done + len * offsets.len()];
        macro_rules! fixed {
            ($n:literal) => {
                for (block, offset) in data.as_chunks::<$n>().0.iter().zip(offsets) {
                    self.sink.write_run(at + offset, 0, std::slice::from_ref(block));
                }
            };
        }
        by_block_size!(len, fixed, {
            for (block, offset) in data.chunks_exact(len).zip(offsets) {
                self.sink.write(at + offset, block);
            }
        });
        self.done += len * offsets.len();
    }
}

/// Walks `left` packed bytes of `step`, beginning `skip` packed bytes into it, around the origin `base`.
fn walk<M: Mover>(step: &Step, base: isize, skip: usize, left: &mut usize, mover: &mut M) {
    let bytes = step.body.bytes();
    let mut index = skip / bytes;
    let mut inside = skip % bytes;
    let at = |index: usize| base + step.at + index as isize * step.stride;
    match &step.body {
        Body::Block(_) => {
            if inside > 0 && *left > 0 {
                let part = (bytes - inside).min(*left);
                mover.block(at(index) + inside as isize, part);
                *left -= part;
                index += 1;
            }
            let whole = (*left / bytes).min(step.count - index.min(step.count));
            match whole {
                0 => {}
                1 => mover.block(at(index), bytes),
                _ => mover.run(at(index), bytes, whole, step.stride),
            }
            *left -= whole * bytes;
            index += whole;
            if *left > 0 && index < step.count {
                mover.block(at(index), *left);
                *left = 0;
            }
        }
        Body::List(len, offsets) => {
            while index < step.count && *left > 0 {
                let (mut first, part) = (inside / len, inside % len);
                if part > 0 {
                    let take = (len - part).min(*left);
                    mover.block(at(index) + offsets[first] + part as isize, take);
                    *left -= take;
                    first += 1;
                }
                let whole = (*left / len).min(offsets.len() - first);
                mover.list(at(index), *len, &offsets[first..first + whole]);
                *left -= whole * len;
                if let Some(offset) = offsets.get(first + whole)
                    && *left > 0
                {
                    mover.block(at(index) + offset, *left);
                    *left = 0;
                }
                inside = 0;
                index += 1;
            }
        }
        Body::Steps(steps, _) => {
            while index < step.count && *left > 0 {
                let first = if inside == 0 { 0 } else { steps.partition_point(|s| s.start <= inside) - 1 };
                for step in &steps[first..] {
                    if let (1, Body::Block(len)) = (step.count, &step.body)
                        && step.start >= inside
                        && *len <= *left
                    {
                        mover.block(at(index) + step.at, *len);
                        *left -= len;
                        continue;
                    }
                    let skip = inside.saturating_sub(step.start);
                    walk(step, at(index), skip, left, mover);
                    if *left == 0 {
                        return;
                    }
                }
                inside = 0;
                index += 1;
            }
        }
    }
}

impl Datatype {
    /// The packed stream of `count` elements as one step; `None` when it is empty.
    fn stream(&self, count: usize) -> Option<Step> {
        let layout = self.layout();
        layout.program().elements(count, layout.ub - layout.lb)
    }

    /// Copies packed bytes, beginning at position `from` of the packed stream of `count` elements based at `source`'s
    /// base, into `out`, as many as fit. Returns how many were copied: `out.len()`, or less at the end of the stream.
    pub fn pack<S: Source + ?Sized>(&self, count: usize, source: &S, from: usize, out: &mut [u8]) -> usize {
        let take = out.len().min(self.stream_len(count).saturating_sub(from));
        if take == 0 {
            return 0;
        }
        if self.is_contiguous() {
            source.read(from as isize, &mut out[..take]);
        } else if let Some(step) = self.stream(count) {
            let mut left = take;
            walk(&step, 0, from, &mut left, &mut Packer { source, out, done: 0 });
            debug_assert_eq!(left, 0);
        }
        take
    }

    /// The reverse of [`Datatype::pack`]: stores `data` as the packed bytes from position `from` on. Returns how many bytes
    /// were stored: `data.len()`, or less at the end of the stream.
    pub fn unpack<S: Sink + ?Sized>(&self, count: usize, sink: &mut S, from: usize, data: &[u8]) -> usize {
        let take = data.len().min(self.stream_len(count).saturating_sub(from));
        if take == 0 {
            return 0;
        }
        if self.is_contiguous() {
            sink.write(from as isize, &data[..take]);
        } else if let Some(step) = self.stream(count) {
            let mut left = take;
            walk(&step, 0, from, &mut left, &mut Unpacker { sink, data, done: 0 });
            debug_assert_eq!(left, 0);
        }
        take
    }

    /// The pieces of memory behind `count` elements, in the order of the packed stream: offset from the base address and
    /// length. Neighbours that touch are merged; no piece is empty.
    pub fn segments(&self, count: usize) -> Segments {
        self.segments_of(count, 0, usize::MAX)
    }

    /// The pieces behind `len` packed bytes from position `from` on (fewer at the end of the stream).
    pub fn segments_of(&self, count: usize, from: usize, len: usize) -> Segments {
        let left = len.min(self.stream_len(count).saturating_sub(from));
        let mut segments = Segments { stack: SmallVec::new(), pending: None, left };
        if left > 0
            && let Some(step) = self.stream(count)
        {
            segments.seek(step, from);
        }
        segments
    }

    /// Packed bytes of `count` elements; saturates when that does not fit.
    fn stream_len(&self, count: usize) -> usize {
        self.size().saturating_mul(count)
    }
}

/// Iterator over the pieces of memory of a message; see [`Datatype::segments`].
#[derive(Clone, Debug)]
pub struct Segments {
    stack: SmallVec<[Frame; 3]>,
    /// A piece that the next block may still extend.
    pending: Option<(isize, usize)>,
    /// Packed bytes not yet visited.
    left: usize,
}

/// A sequence of steps being walked.
#[derive(Clone, Debug)]
struct Frame {
    steps: Sequence,
    /// The step, and its repetition, that comes next. The blocks of a list count as repetitions.
    index: usize,
    repetition: usize,
    base: isize,
}

/// Steps of a frame: the whole message is one step, the rest are bodies of loops.
#[derive(Clone, Debug)]
enum Sequence {
    Root(Box<Step>),
    Body(Arc<[Step]>),
}

impl Sequence {
    fn get(&self, index: usize) -> Option<&Step> {
        match self {
            Sequence::Root(step) => (index == 0).then_some(step),
            Sequence::Body(steps) => steps.get(index),
        }
    }
}

impl Segments {
    /// Prepares the stack so that the walk begins `from` packed bytes into `root`.
    fn seek(&mut self, root: Step, from: usize) {
        let mut frame = Frame { steps: Sequence::Root(Box::new(root)), index: 0, repetition: 0, base: 0 };
        let mut inside = from;
        while let Some(step) = frame.steps.get(frame.index) {
            let repetition = inside / step.body.bytes();
            inside %= step.body.bytes();
            let mut at = frame.base + step.at + repetition as isize * step.stride;
            frame.repetition = repetition;
            let next = match &step.body {
                Body::Block(len) | Body::List(len, _) => {
                    if let Body::List(len, offsets) = &step.body {
                        frame.repetition = repetition * offsets.len() + inside / len;
                        at += offsets[inside / len];
                        inside %= len;
                    }
                    if inside > 0 {
                        self.pending = Some((at + inside as isize, (len - inside).min(self.left)));
                        self.left -= (len - inside).min(self.left);
                        frame.repetition += 1;
                    }
                    None
                }
                Body::Steps(steps, _) => {
                    let index = steps.partition_point(|s| s.start <= inside) - 1;
                    inside -= steps[index].start;
                    frame.repetition += 1;
                    Some(Frame { steps: Sequence::Body(steps.clone()), index, repetition: 0, base: at })
                }
            };
            self.stack.push(frame);
            match next {
                Some(inner) => frame = inner,
                None => return,
            }
        }
    }

    /// The next block, not merged with its neighbours.
    fn block(&mut self) -> Option<(isize, usize)> {
        if self.left == 0 {
            return None;
        }
        loop {
            let frame = self.stack.last_mut()?;
            let Some(step) = frame.steps.get(frame.index) else {
                self.stack.pop();
                continue;
            };
            let (places, repetition, offset) = match &step.body {
                Body::List(_, offsets) => {
                    let n = offsets.len();
                    (n, frame.repetition / n, offsets[frame.repetition % n])
                }
                _ => (1, frame.repetition, 0),
            };
            if frame.repetition == step.count * places {
                frame.index += 1;
                frame.repetition = 0;
                continue;
            }
            let at = frame.base + step.at + repetition as isize * step.stride + offset;
            frame.repetition += 1;
            match &step.body {
                Body::Block(len) | Body::List(len, _) => {
                    let len = (*len).min(self.left);
                    self.left -= len;
                    return Some((at, len));
                }
                Body::Steps(steps, _) => {
                    let inner = Frame { steps: Sequence::Body(steps.clone()), index: 0, repetition: 0, base: at };
                    self.stack.push(inner);
                }
            }
        }
    }
    /// Gives the next pieces, as many as `most`: those that the iterator would give, of which runs of equal blocks cost less.
    pub fn list(&mut self, most: usize, mut give: impl FnMut(isize, usize)) {
        let mut given = 0;
        while given < most {
            let Some((at, len)) = self.next() else { return };
            give(at, len);
            given += 1;
            // What comes after the pending piece, if that is a run.
            let Some((at, len)) = self.pending else { continue };
            let Some(frame) = self.stack.last_mut() else { continue };
            let Some(Step { at: first, body: Body::Block(block), count, stride, .. }) = frame.steps.get(frame.index)
            else {
                continue;
            };
            let (block, stride) = (*block, *stride);
            let run = frame.base + first + frame.repetition as isize * stride;
            let whole = (count - frame.repetition).min(self.left / block).min(most - given);
            if whole == 0 || stride == block as isize || run == at + len as isize {
                continue;
            }
            give(at, len);
            for k in 0..whole as isize - 1 {
                give(run + k * stride, block);
            }
            self.pending = Some((run + (whole as isize - 1) * stride, block));
            frame.repetition += whole;
            self.left -= whole * block;
            given += whole;
        }
    }
}

impl Iterator for Segments {
    type Item = (isize, usize);

    fn next(&mut self) -> Option<(isize, usize)> {
        let (at, mut len) = self.pending.take().or_else(|| self.block())?;
        while let Some(next) = self.block() {
            if at + len as isize != next.0 {
                self.pending = Some(next);
                break;
            }
            len += next.1;
        }
        Some((at, len))
    }
}
