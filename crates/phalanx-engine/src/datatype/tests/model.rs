//! The datatype machinery against a naive model: a type map written out as a list, and a packer that goes byte by byte.

use proptest::prelude::*;

use super::super::*;

/// A type map in full: each basic element and its displacement, and the bounds the standard's formulas give.
#[derive(Clone, Debug)]
struct Model {
    map: Vec<(Basic, i64)>,
    lb: i64,
    ub: i64,
    marked: bool,
}

impl Model {
    fn basic(basic: Basic) -> Model {
        Model { map: vec![(basic, 0)], lb: 0, ub: basic.extent() as i64, marked: false }
    }

    /// The type maps placed at displacements: bounds are those of the parts, markers first.
    fn placed(parts: &[(i64, &Model)]) -> Model {
        let map: Vec<(Basic, i64)> =
            parts.iter().flat_map(|(at, model)| model.map.iter().map(move |&(b, d)| (b, d + at))).collect();
        let marked = parts.iter().any(|(_, model)| model.marked);
        let counts = |model: &Model| {
            if marked { model.marked } else { !model.map.is_empty() }
        };
        let bounds = || parts.iter().filter(|(_, model)| counts(model));
        let lb = bounds().map(|(at, model)| at + model.lb).min().unwrap_or(0);
        let ub = bounds().map(|(at, model)| at + model.ub).max().unwrap_or(0);
        Model { map, lb, ub, marked }
    }

    /// The same with the epsilon of a structure.
    fn padded(mut self) -> Model {
        if !self.marked {
            let align = self.map.iter().map(|(b, _)| b.align() as i64).max();
            let align = align.unwrap_or(1);
            self.ub = self.lb + (self.ub - self.lb + align - 1) / align * align;
        }
        self
    }

    fn repeated(&self, positions: impl IntoIterator<Item = i64>) -> Model {
        let parts: Vec<(i64, &Model)> = positions.into_iter().map(|at| (at, self)).collect();
        Model::placed(&parts)
    }

    fn extent(&self) -> i64 {
        self.ub - self.lb
    }

    /// The bytes of the packed stream of `count` elements, as offsets from the base.
    fn stream(&self, count: usize) -> Vec<i64> {
        let one = |i: i64| {
            self.map.iter().flat_map(move |&(basic, d)| bytes_of(basic).map(move |b| i * self.extent() + d + b))
        };
        (0..count as i64).flat_map(one).collect()
    }
}

/// Offsets of the data bytes of a basic element.
fn bytes_of(basic: Basic) -> Box<dyn Iterator<Item = i64>> {
    match basic.kind() {
        Kind::Pair { value_size, index_at, .. } => {
            Box::new((0..value_size as i64).chain(index_at as i64..basic.true_extent() as i64))
        }
        _ => Box::new(0..basic.size() as i64),
    }
}

/// A type and its model.
#[derive(Clone, Debug)]
struct Both {
    ty: Datatype,
    model: Model,
}

fn basics() -> impl Strategy<Value = Both> {
    prop::sample::select(vec![
        Basic::Byte,
        Basic::Short,
        Basic::Int,
        Basic::Double,
        Basic::LongDouble,
        Basic::CFloatComplex,
        Basic::DoubleInt,
        Basic::ShortInt,
    ])
    .prop_map(|basic| Both { ty: Datatype::predefined(basic).clone(), model: Model::basic(basic) })
}

/// Positions of `block` elements from `at` on.
fn block(model: &Model, at: i64, len: i64) -> impl Iterator<Item = i64> + use<> {
    let extent = model.extent();
    (0..len).map(move |i| at + i * extent)
}

fn derived(inner: impl Strategy<Value = Both> + Clone + 'static) -> impl Strategy<Value = Both> {
    let blocks = || prop::collection::vec((0i64..4, -6i64..12), 0..5);
    prop_oneof![
        (inner.clone(), 0i64..5).prop_map(|(old, count)| Both {
            ty: Datatype::contiguous(count, &old.ty).unwrap(),
            model: old.model.repeated(block(&old.model, 0, count)),
        }),
        (inner.clone(), 0i64..4, 0i64..4, -5i64..7).prop_map(|(old, count, len, stride)| {
            let e = old.model.extent();
            Both {
                ty: Datatype::vector(count, len, stride, &old.ty).unwrap(),
                model: old.model.repeated((0..count).flat_map(|i| block(&old.model, i * stride * e, len))),
            }
        }),
        (inner.clone(), 0i64..4, 0i64..4, -40i64..90).prop_map(|(old, count, len, stride)| Both {
            ty: Datatype::hvector(count, len, stride, &old.ty).unwrap(),
            model: old.model.repeated((0..count).flat_map(|i| block(&old.model, i * stride, len))),
        }),
        (inner.clone(), blocks()).prop_map(|(old, blocks)| {
            let (lens, displs): (Vec<i64>, Vec<i64>) = blocks.iter().copied().unzip();
            let e = old.model.extent();
            Both {
                ty: Datatype::indexed(&lens, &displs, &old.ty).unwrap(),
                model: old.model.repeated(blocks.iter().flat_map(|&(len, d)| block(&old.model, d * e, len))),
            }
        }),
        (inner.clone(), blocks()).prop_map(|(old, blocks)| {
            let (lens, displs): (Vec<i64>, Vec<i64>) = blocks.iter().copied().unzip();
            Both {
                ty: Datatype::hindexed(&lens, &displs, &old.ty).unwrap(),
                model: old.model.repeated(blocks.iter().flat_map(|&(len, d)| block(&old.model, d, len))),
            }
        }),
        (inner.clone(), 0i64..4, prop::collection::vec(-9i64..20, 0..12)).prop_map(|(old, len, displs)| {
            let e = old.model.extent();
            let by_bytes: Vec<i64> = displs.iter().map(|d| d * e).collect();
            let ty = Datatype::indexed_block(len, &displs, &old.ty).unwrap();
            let same = Datatype::hindexed_block(len, &by_bytes, &old.ty).unwrap();
            assert_eq!(ty.segments(1).collect::<Vec<_>>(), same.segments(1).collect::<Vec<_>>());
            let model = old.model.repeated(displs.iter().flat_map(|&d| block(&old.model, d * e, len)));
            Both { ty, model }
        }),
        prop::collection::vec((inner.clone(), 0i64..3, -30i64..100), 0..4).prop_map(|members| {
            let lens: Vec<i64> = members.iter().map(|m| m.1).collect();
            let displs: Vec<i64> = members.iter().map(|m| m.2).collect();
            let types: Vec<Datatype> = members.iter().map(|m| m.0.ty.clone()).collect();
            let parts: Vec<(i64, &Model)> = members
                .iter()
                .flat_map(|(old, len, d)| block(&old.model, *d, *len).map(|at| (at, &old.model)))
                .collect();
            Both { ty: Datatype::structure(&lens, &displs, &types).unwrap(), model: Model::placed(&parts).padded() }
        }),
        (inner.clone(), -20i64..20, 0i64..80).prop_map(|(old, lb, extent)| Both {
            ty: Datatype::resized(&old.ty, lb, extent).unwrap(),
            model: Model { lb, ub: lb + extent, marked: true, ..old.model },
        }),
        (inner, 1i64..4, 1i64..4, 0i64..3, 0i64..3).prop_map(|(old, sub0, sub1, start0, start1)| {
            let sizes = [sub0 + start0 + 1, sub1 + start1];
            let ty = Datatype::subarray(&sizes, &[sub0, sub1], &[start0, start1], Order::C, &old.ty).unwrap();
            let transposed =
                Datatype::subarray(&[sizes[1], sizes[0]], &[sub1, sub0], &[start1, start0], Order::Fortran, &old.ty)
                    .unwrap();
            assert_eq!(ty.segments(2).collect::<Vec<_>>(), transposed.segments(2).collect::<Vec<_>>());
            let e = old.model.extent();
            let positions = (0..sub0).flat_map(|i| (0..sub1).map(move |j| ((start0 + i) * sizes[1] + start1 + j) * e));
            let model = old.model.repeated(positions);
            Both { ty, model: Model { lb: 0, ub: sizes[0] * sizes[1] * e, marked: true, ..model } }
        }),
    ]
}

fn types() -> impl Strategy<Value = Both> {
    let one = derived(basics().boxed()).boxed();
    let two = derived(one.clone()).boxed();
    let three = derived(two.clone()).boxed();
    prop_oneof![basics().boxed(), one, two, three]
        .prop_filter("small enough to list", |both| both.model.map.len() < 400)
}

/// Memory of distinct bytes that covers `count` elements, and where its origin lies.
fn memory(model: &Model, count: usize) -> (Vec<u8>, isize) {
    let stream = model.stream(count);
    let low = stream.iter().copied().min().unwrap_or(0).min(0);
    let high = stream.iter().copied().max().unwrap_or(0).max(0) + 1;
    let bytes = (0..(high - low) as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    (bytes, -low as isize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 5 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bounds_and_sizes_follow_the_standard(both in types(), count in 0usize..4) {
        let Both { ty, model } = both;
        let stream = model.stream(1);
        prop_assert_eq!(ty.size(), stream.len());
        prop_assert_eq!((ty.lb() as i64, ty.ub() as i64), (model.lb, model.ub));
        prop_assert_eq!(ty.basic_elements(), model.map.iter().map(|(b, _)| b.elements()).sum::<usize>());
        if !stream.is_empty() {
            let (low, high) = (stream.iter().min().unwrap(), stream.iter().max().unwrap() + 1);
            prop_assert_eq!((ty.true_lb() as i64, ty.true_extent() as i64), (*low, high - low));
        }
        let all = model.stream(count);
        let span = (all.iter().min().copied().unwrap_or(0), all.iter().max().map_or(0, |m| m + 1));
        let (low, high) = ty.span(count).unwrap();
        prop_assert_eq!((low as i64, high as i64), span);
        prop_assert_eq!(ty.is_contiguous(), model.stream(3) == (0..3 * stream.len() as i64).collect::<Vec<_>>());
    }

    #[test]
    fn segments_are_the_type_map_with_touching_pieces_merged(both in types(), count in 0usize..4, from in 0usize..200, len in 0usize..300, most in 1usize..12) {
        let Both { ty, model } = both;
        let stream = model.stream(count);
        let merged = |bytes: &[i64]| {
            let mut out: Vec<(isize, usize)> = Vec::new();
            for &byte in bytes {
                match out.last_mut() {
                    Some((at, len)) if *at as i64 + *len as i64 == byte => *len += 1,
                    _ => out.push((byte as isize, 1)),
                }
            }
            out
        };
        prop_assert_eq!(ty.segments(count).collect::<Vec<_>>(), merged(&stream));
        let from = from.min(stream.len());
        let to = (from + len).min(stream.len());
        prop_assert_eq!(ty.segments_of(count, from, len).collect::<Vec<_>>(), merged(&stream[from..to]));
        let (mut pieces, mut listed) = (ty.segments_of(count, from, len), Vec::new());
        loop {
            let before = listed.len();
            pieces.list(most, |at, len| listed.push((at, len)));
            prop_assert!(listed.len() <= before + most);
            if listed.len() < before + most {
                break;
            }
        }
        prop_assert_eq!(listed, merged(&stream[from..to]));
    }

    #[test]
    fn any_piece_packs_and_unpacks(both in types(), count in 0usize..4, cuts in prop::collection::vec(1usize..60, 1..20)) {
        let Both { ty, model } = both;
        let stream = model.stream(count);
        let (bytes, origin) = memory(&model, count);
        let packed: Vec<u8> = stream.iter().map(|&at| bytes[(at + origin as i64) as usize]).collect();
        let source = Around { bytes: &bytes, origin };

        let mut whole = vec![0; packed.len() + 5];
        prop_assert_eq!(ty.pack(count, &source, 0, &mut whole), packed.len());
        prop_assert_eq!(&whole[..packed.len()], &packed[..]);

        let mut target = vec![0u8; bytes.len()];
        let mut pieces = Vec::new();
        let mut cuts = cuts.iter().cycle();
        while pieces.len() < packed.len() {
            let mut piece = vec![0; *cuts.next().unwrap()];
            let n = ty.pack(count, &source, pieces.len(), &mut piece);
            prop_assert!(n == piece.len() || pieces.len() + n == packed.len());
            let stored = ty.unpack(count, &mut AroundMut { bytes: &mut target, origin }, pieces.len(), &piece[..n]);
            prop_assert_eq!(stored, n);
            pieces.extend_from_slice(&piece[..n]);
        }
        prop_assert_eq!(&pieces, &packed);
        for &at in &stream {
            let at = (at + origin as i64) as usize;
            prop_assert_eq!(target[at], bytes[at]);
        }
        let touched: std::collections::HashSet<i64> = stream.iter().copied().collect();
        for (i, &byte) in target.iter().enumerate() {
            prop_assert!(byte == 0 || touched.contains(&(i as i64 - origin as i64)));
        }
    }

    #[test]
    fn elements_are_counted_in_any_number_of_bytes(both in types(), bytes in 0usize..200) {
        let Both { ty, model } = both;
        let words: Vec<usize> = model.map.iter().flat_map(|(basic, _)| match basic.kind() {
            Kind::Pair { value_size, .. } => vec![value_size, basic.size() - value_size],
            _ => vec![basic.size()],
        }).collect();
        let mut left = bytes;
        let mut elements = 0;
        if !words.is_empty() {
            for &word in words.iter().cycle() {
                if left < word { break; }
                left -= word;
                elements += 1;
            }
        }
        let want = if left == 0 { ElementCount::Whole(elements) } else { ElementCount::Partial };
        prop_assert_eq!(ty.elements_in(bytes as u64), want);
        if left == 0 && !words.is_empty() {
            prop_assert_eq!(ty.bytes_of_elements(elements), bytes);
        }
    }

    #[test]
    fn external32_goes_there_and_back(both in types(), count in 0usize..3) {
        let Both { ty, model } = both;
        let (mut bytes, origin) = memory(&model, count);
        // Valid and small values in every element: one significant byte each.
        for i in 0..count as i64 {
            for &(basic, d) in &model.map {
                for b in bytes_of(basic) {
                    bytes[(i * model.extent() + d + b + origin as i64) as usize] = 0;
                }
            }
        }
        let size = ty.external32_size(count).unwrap();
        let mut packed = vec![0; size];
        prop_assert_eq!(ty.pack_external32(count, &Around { bytes: &bytes, origin }, &mut packed, 0).unwrap(), size);
        let mut back = bytes.clone();
        prop_assert_eq!(ty.unpack_external32(count, &mut AroundMut { bytes: &mut back, origin }, &packed, 0).unwrap(), size);
        prop_assert_eq!(back, bytes);
    }
}
