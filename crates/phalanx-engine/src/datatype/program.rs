//! The flattened form of a datatype: a short program of strided runs and loops over them.
//!
//! ```text
//! program := step*                          in the order of the type map, which is the order on the wire
//! step    := Run  { at, len, count, stride }        count blocks of len bytes, stride bytes apart
//!          | List { at, count, stride, offsets, len } blocks of len bytes at each of the offsets, all that repeated
//!          | Loop { at, count, stride, body }       body repeated at count origins, stride bytes apart
//! ```
//! Building it merges what touches: a contiguous type is one run of one block, a vector of a basic type one run of `count`
//! blocks, a 3-D subarray one loop over a run. Each step knows how many packed bytes come before it, so that a position in the
//! packed stream is found by binary search and division, and a message can be packed in pieces from anywhere.

use std::sync::Arc;

use super::layout::{Layout, Shape};

/// One instruction of a [`Program`]; `at` is relative to the origin of the enclosing loop's iteration.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: isize,
    pub(super) count: usize,
    pub(super) stride: isize,
    pub(super) body: Body,
    /// Packed bytes of the steps before this one in its sequence.
    pub(super) start: usize,
}

/// What a step repeats.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// A block of this many bytes (never 0).
    Block(usize),
    /// Blocks of this many bytes (never 0) at each of these offsets.
    List(usize, Arc<[isize]>),
    /// A sequence of steps and its packed bytes.
    Steps(Arc<[Step]>, usize),
}

impl Body {
    /// Packed bytes of one repetition.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Body::Block(len) => *len,
            Body::List(len, offsets) => len * offsets.len(),
            Body::Steps(_, bytes) => *bytes,
        }
    }
}

impl Step {
    /// Packed bytes of the whole step.
    pub(super) fn bytes(&self) -> usize {
        self.body.bytes() * self.count
    }

    /// `count` repetitions of this step, `stride` bytes apart, as one step if a run can express it.
    fn repeated(&self, count: usize, stride: isize) -> Option<Step> {
        if count == 1 {
            return Some(Step { start: 0, ..self.clone() });
        }
        let span = (self.count as isize).checked_mul(self.stride);
        match self.body {
            Body::Block(len) if self.count == 1 && len as isize == stride => {
                Some(Step { body: Body::Block(len * count), start: 0, ..self.clone() })
            }
            _ if self.count == 1 => Some(Step { count, stride, start: 0, ..self.clone() }),
            _ if span == Some(stride) => Some(Step { count: self.count * count, start: 0, ..self.clone() }),
            _ => None,
        }
    }
}

/// A committed type, ready to be walked.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Arc<[Step]>,
    /// Packed bytes of one element.
    pub(super) bytes: usize,
    /// `count` elements are exactly the bytes from the origin to `count * bytes`.
    pub(super) contiguous: bool,
}

impl Program {
    pub(super) fn of(layout: &Layout) -> Program {
        let mut out = Builder::default();
        match &layout.shape {
            Shape::Basic(basic) => {
                for (at, len) in basic_blocks(*basic) {
                    out.block(at, len);
                }
            }
            Shape::Same(child) => out.append(0, &child.program().steps),
            Shape::Strided { count, block, stride, child } => {
                let inner = replicate(&child.program().steps, *block, child.ub - child.lb);
                out.append(0, &replicate(&inner, *count, *stride));
            }
            Shape::Blocks { blocks, child } => {
                for block in blocks {
                    out.append(block.at, &replicate(&child.program().steps, block.len, child.ub - child.lb));
                }
            }
            Shape::Struct { members } => {
                for (block, child) in members {
                    out.append(block.at, &replicate(&child.program().steps, block.len, child.ub - child.lb));
                }
            }
        }
        let steps = out.finish();
        let contiguous = match &*steps {
            [] => true,
            [Step { at: 0, count: 1, body: Body::Block(len), .. }] => *len as isize == layout.ub - layout.lb,
            _ => false,
        };
        debug_assert_eq!(steps.iter().map(Step::bytes).sum::<usize>(), layout.size);
        Program { steps, bytes: layout.size, contiguous }
    }

    /// `count` elements, `extent` bytes apart, as one step. `None` when there is no data.
    pub(super) fn elements(&self, count: usize, extent: isize) -> Option<Step> {
        if count == 0 || self.bytes == 0 {
            return None;
        }
        if let [only] = &*self.steps
            && let Some(step) = only.repeated(count, extent)
        {
            return Some(step);
        }
        Some(Step { at: 0, count, stride: extent, body: Body::Steps(self.steps.clone(), self.bytes), start: 0 })
    }
}

/// The blocks of a predefined type: two when a pair type has a gap inside.
fn basic_blocks(basic: super::Basic) -> impl Iterator<Item = (isize, usize)> {
    let (first, second) = match basic.kind() {
        super::Kind::Pair { value_size, index_at, .. } => {
            (value_size, Some((index_at as isize, basic.size() - value_size)))
        }
        _ => (basic.size(), None),
    };
    std::iter::once((0, first)).chain(second)
}

/// The steps of `count` repetitions, `stride` bytes apart.
fn replicate(steps: &Arc<[Step]>, count: usize, stride: isize) -> Arc<[Step]> {
    match &**steps {
        _ if count == 0 || steps.is_empty() => Arc::new([]),
        _ if count == 1 => steps.clone(),
        [only] => match only.repeated(count, stride) {
            Some(step) => Arc::new([step]),
            None => looped(steps, count, stride),
        },
        _ => looped(steps, count, stride),
    }
}

fn looped(steps: &Arc<[Step]>, count: usize, stride: isize) -> Arc<[Step]> {
    let bytes = steps.iter().map(Step::bytes).sum();
    Arc::new([Step { at: 0, count, stride, body: Body::Steps(steps.clone(), bytes), start: 0 }])
}

/// Collects steps, merging blocks that touch, then turning regular series of blocks into runs.
#[derive(Default)]
struct Builder {
    steps: Vec<Step>,
}

impl Builder {
    fn block(&mut self, at: isize, len: usize) {
        self.push(Step { at, count: 1, stride: 0, body: Body::Block(len), start: 0 });
    }

    fn append(&mut self, at: isize, steps: &[Step]) {
        for step in steps {
            self.push(Step { at: at + step.at, ..step.clone() });
        }
    }

    fn push(&mut self, step: Step) {
        if let (1, Body::Block(len)) = (step.count, &step.body)
            && let Some(Step { at, count: 1, body: Body::Block(before), .. }) = self.steps.last_mut()
            && *at + *before as isize == step.at
        {
            *before += len;
            return;
        }
        self.steps.push(step);
    }

    fn finish(self) -> Arc<[Step]> {
        let mut out: Vec<Step> = Vec::new();
        let mut rest = &self.steps[..];
        while let Some((first, others)) = rest.split_first() {
            let mut run = first.clone();
            let mut used = 1 + others.iter().take_while(|next| extend_run(&mut run, next)).count();
            if used < LEAST_RUN
                && let Some(list) = list_of(rest)
            {
                used = list.1;
                run = list.0;
            } else if used < LEAST_RUN && first.count == 1 {
                (run, used) = (first.clone(), 1);
            }
            out.push(run);
            rest = &rest[used..];
        }
        let mut start = 0;
        for step in &mut out {
            step.start = start;
            start += step.bytes();
        }
        out.into()
    }
}

/// Fewer single blocks than this at equal distances are not worth a run, nor fewer than this many at any distances a list.
const LEAST_RUN: usize = 4;

/// As many blocks at equal distances end a list, to become a run.
const ENDS_LIST: usize = 16;

/// The single blocks of one length at the beginning of `steps` as a list, and how many they are.
fn list_of(steps: &[Step]) -> Option<(Step, usize)> {
    let Body::Block(len) = steps.first()?.body else {
        return None;
    };
    let same = |step: &&Step| step.count == 1 && matches!(step.body, Body::Block(l) if l == len);
    let mut offsets: Vec<isize> = Vec::new();
    let (mut distance, mut regular) = (0, 0);
    for step in steps.iter().take_while(same) {
        let last = offsets.last().copied().unwrap_or(step.at);
        let now = step.at.wrapping_sub(last);
        regular = if now == distance { regular + 1 } else { 2 };
        distance = now;
        offsets.push(step.at);
        if regular == ENDS_LIST {
            offsets.truncate(offsets.len() - ENDS_LIST);
            break;
        }
    }
    let count = offsets.len();
    let list = Step { at: 0, count: 1, stride: 0, body: Body::List(len, offsets.into()), start: 0 };
    (count >= LEAST_RUN).then_some((list, count))
}

/// Makes `next` part of the run `last` if it continues it.
fn extend_run(last: &mut Step, next: &Step) -> bool {
    let (Body::Block(a), Body::Block(b)) = (&last.body, &next.body) else {
        return false;
    };
    if a != b {
        return false;
    }
    let distance = next.at.wrapping_sub(last.at);
    let continues = match (last.count, next.count) {
        (1, 1) => true,
        (1, _) => distance == next.stride,
        (n, m) => (last.stride.checked_mul(n as isize) == Some(distance)) && (m == 1 || next.stride == last.stride),
    };
    if continues {
        if last.count == 1 {
            last.stride = distance;
        }
        last.count += next.count;
    }
    continues
}
