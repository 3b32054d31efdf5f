//! Element by element: visiting the basic elements of a type, counting elements in a number of bytes.

use super::layout::{Block, Layout, Shape};
use super::{Basic, Datatype, Kind};

/// What `MPI_Get_count` or `MPI_Get_elements` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementCount {
    /// That many whole elements.
    Whole(usize),
    /// The bytes end inside an element (`MPI_UNDEFINED`).
    Partial,
}

impl Layout {
    /// Calls `visit` with each basic element and its offset, in the order of the type map, until it answers false.
    fn visit(&self, base: isize, visit: &mut dyn FnMut(Basic, isize) -> bool) -> bool {
        let mut copies = |at: isize, len: usize, child: &Layout| {
            let extent = child.ub - child.lb;
            (0..len).all(|i| child.visit(at + i as isize * extent, visit))
        };
        match &self.shape {
            Shape::Basic(basic) => visit(*basic, base),
            Shape::Same(child) => child.visit(base, visit),
            Shape::Strided { count, block, stride, child } => {
                (0..*count).all(|i| copies(base + i as isize * stride, *block, child))
            }
            Shape::Blocks { blocks, child } => blocks.iter().all(|b| copies(base + b.at, b.len, child)),
            Shape::Struct { members } => members.iter().all(|(b, child)| copies(base + b.at, b.len, child)),
        }
    }

    /// Whole basic elements in the first `bytes` packed bytes (fewer than `size`), and the bytes left over.
    fn elements_in(&self, bytes: usize) -> (usize, usize) {
        if let Some(basic) = self.uniform
            && !matches!(basic.kind(), Kind::Pair { .. })
        {
            return (bytes / basic.size(), bytes % basic.size());
        }
        match &self.shape {
            Shape::Basic(basic) => match basic.kind() {
                Kind::Pair { value_size, .. } if bytes >= value_size => (1, bytes - value_size),
                _ => (0, bytes),
            },
            Shape::Same(child) => child.elements_in(bytes),
            Shape::Strided { count, block, child, .. } => repeated(child, count * block, bytes),
            Shape::Blocks { blocks, child } => repeated(child, blocks.iter().map(|b| b.len).sum(), bytes),
            Shape::Struct { members } => {
                let (mut elements, mut rest) = (0, bytes);
                for (Block { len, .. }, child) in members {
                    let whole = child.size * len;
                    if rest < whole {
                        let (inside, left) = repeated(child, *len, rest);
                        return (elements + inside, left);
                    }
                    rest -= whole;
                    elements += child.elements * len;
                }
                (elements, rest)
            }
        }
    }
}

/// Whole basic elements in the first `bytes` packed bytes of `copies` children.
fn repeated(child: &Layout, copies: usize, bytes: usize) -> (usize, usize) {
    if child.size == 0 || copies == 0 {
        return (0, bytes);
    }
    let (inside, left) = child.elements_in(bytes % child.size);
    (bytes / child.size * child.elements + inside, left)
}

impl Datatype {
    /// Whole elements of this type in `bytes` received bytes (`MPI_Get_count`).
    pub fn count_in(&self, bytes: u64) -> ElementCount {
        let size = self.size() as u64;
        match bytes {
            0 => ElementCount::Whole(0),
            _ if size == 0 || !bytes.is_multiple_of(size) => ElementCount::Partial,
            _ => ElementCount::Whole((bytes / size) as usize),
        }
    }

    /// Basic elements in `bytes` received bytes (`MPI_Get_elements`). A pair type has two.
    pub fn elements_in(&self, bytes: u64) -> ElementCount {
        let bytes = bytes as usize;
        if bytes == 0 {
            return ElementCount::Whole(0);
        }
        if self.size() == 0 {
            return ElementCount::Partial;
        }
        let (inside, left) = self.layout().elements_in(bytes % self.size());
        match left {
            0 => ElementCount::Whole(bytes / self.size() * self.layout().elements + inside),
            _ => ElementCount::Partial,
        }
    }

    /// Number of basic elements in one element of this type.
    pub fn basic_elements(&self) -> usize {
        self.layout().elements
    }

    /// Packed bytes of the first `elements` basic elements of a stream of this type (`MPI_Status_set_elements`).
    pub fn bytes_of_elements(&self, elements: usize) -> usize {
        let each = self.layout().elements;
        if each == 0 {
            return 0;
        }
        let mut bytes = elements / each * self.size();
        let mut left = elements % each;
        if left > 0 {
            self.visit_basics(&mut |basic, _| {
                let parts = basic.elements().min(left);
                bytes += match basic.kind() {
                    Kind::Pair { value_size, .. } if parts == 1 => value_size,
                    _ => basic.size(),
                };
                left -= parts;
                left > 0
            });
        }
        bytes
    }

    /// Calls `visit` with each basic element and its offset, in the order of the type map, until it answers false.
    pub fn visit_basics(&self, visit: &mut dyn FnMut(Basic, isize) -> bool) {
        self.layout().visit(0, visit);
    }
}
