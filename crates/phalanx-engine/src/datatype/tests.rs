//! The datatype machinery against a naive model: a type map written out as a list, and a packer that goes element by element.

use proptest::prelude::*;

use super::*;

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
        Model {
            map: vec![(basic, 0)],
            lb: 0,
            ub: basic.extent() as i64,
            marked: false,
        }
    }

    /// The standard's definition, from the type maps placed at displacements.
    fn placed(parts: &[(i64, &Model)]) -> Model {
        let map: Vec<(Basic, i64)> = parts
            .iter()
            .flat_map(|(at, model)| model.map.iter().map(move |&(b, d)| (b, d + at)))
            .collect();
        let marks = || parts.iter().filter(|(_, model)| model.marked);
        let (lb, ub, marked) = if marks().count() > 0 {
            let lb = marks().map(|(at, model)| at + model.lb).min().unwrap_or(0);
            (
                lb,
                marks().map(|(at, model)| at + model.ub).max().unwrap_or(0),
                true,
            )
        } else if map.is_empty() {
            (0, 0, false)
        } else {
            let lb = map.iter().map(|(_, d)| *d).min().unwrap_or(0);
            let end = map
                .iter()
                .map(|(b, d)| d + b.true_extent() as i64)
                .max()
                .unwrap_or(0);
            let align = map.iter().map(|(b, _)| b.align() as i64).max().unwrap_or(1);
            (lb, lb + (end - lb + align - 1) / align * align, false)
        };
        Model {
            map,
            lb,
            ub,
            marked,
        }
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
            self.map.iter().flat_map(move |&(basic, d)| {
                bytes_of(basic).map(move |b| i * self.extent() + d + b)
            })
        };
        (0..count as i64).flat_map(one).collect()
    }
}

/// Offsets of the data bytes of a basic element.
fn bytes_of(basic: Basic) -> Box<dyn Iterator<Item = i64>> {
    match basic.kind() {
        Kind::Pair {
            value_size,
            index_at,
            ..
        } => Box::new((0..value_size as i64).chain(index_at as i64..basic.true_extent() as i64)),
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
    .prop_map(|basic| Both {
        ty: Datatype::predefined(basic).clone(),
        model: Model::basic(basic),
    })
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
                model: old
                    .model
                    .repeated((0..count).flat_map(|i| block(&old.model, i * stride * e, len))),
            }
        }),
        (inner.clone(), 0i64..4, 0i64..4, -40i64..90).prop_map(|(old, count, len, stride)| Both {
            ty: Datatype::hvector(count, len, stride, &old.ty).unwrap(),
            model: old
                .model
                .repeated((0..count).flat_map(|i| block(&old.model, i * stride, len))),
        }),
        (inner.clone(), blocks()).prop_map(|(old, blocks)| {
            let (lens, displs): (Vec<i64>, Vec<i64>) = blocks.iter().copied().unzip();
            let e = old.model.extent();
            Both {
                ty: Datatype::indexed(&lens, &displs, &old.ty).unwrap(),
                model: old.model.repeated(
                    blocks
                        .iter()
                        .flat_map(|&(len, d)| block(&old.model, d * e, len)),
                ),
            }
        }),
        (inner.clone(), blocks()).prop_map(|(old, blocks)| {
            let (lens, displs): (Vec<i64>, Vec<i64>) = blocks.iter().copied().unzip();
            Both {
                ty: Datatype::hindexed(&lens, &displs, &old.ty).unwrap(),
                model: old.model.repeated(
                    blocks
                        .iter()
                        .flat_map(|&(len, d)| block(&old.model, d, len)),
                ),
            }
        }),
        (
            inner.clone(),
            0i64..4,
            prop::collection::vec(-9i64..20, 0..12)
        )
            .prop_map(|(old, len, displs)| {
                let e = old.model.extent();
                let by_bytes: Vec<i64> = displs.iter().map(|d| d * e).collect();
                let ty = Datatype::indexed_block(len, &displs, &old.ty).unwrap();
                let same = Datatype::hindexed_block(len, &by_bytes, &old.ty).unwrap();
                assert_eq!(
                    ty.segments(1).collect::<Vec<_>>(),
                    same.segments(1).collect::<Vec<_>>()
                );
                let model = old
                    .model
                    .repeated(displs.iter().flat_map(|&d| block(&old.model, d * e, len)));
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
            Both {
                ty: Datatype::structure(&lens, &displs, &types).unwrap(),
                model: Model::placed(&parts),
            }
        }),
        (inner.clone(), -20i64..20, 0i64..80).prop_map(|(old, lb, extent)| Both {
            ty: Datatype::resized(&old.ty, lb, extent).unwrap(),
            model: Model {
                lb,
                ub: lb + extent,
                marked: true,
                ..old.model
            },
        }),
        (inner, 1i64..4, 1i64..4, 0i64..3, 0i64..3).prop_map(
            |(old, sub0, sub1, start0, start1)| {
                let sizes = [sub0 + start0 + 1, sub1 + start1];
                let ty =
                    Datatype::subarray(&sizes, &[sub0, sub1], &[start0, start1], Order::C, &old.ty)
                        .unwrap();
                let transposed = Datatype::subarray(
                    &[sizes[1], sizes[0]],
                    &[sub1, sub0],
                    &[start1, start0],
                    Order::Fortran,
                    &old.ty,
                )
                .unwrap();
                assert_eq!(
                    ty.segments(2).collect::<Vec<_>>(),
                    transposed.segments(2).collect::<Vec<_>>()
                );
                let e = old.model.extent();
                let positions = (0..sub0).flat_map(|i| {
                    (0..sub1).map(move |j| ((start0 + i) * sizes[1] + start1 + j) * e)
                });
                let model = old.model.repeated(positions);
                Both {
                    ty,
                    model: Model {
                        lb: 0,
                        ub: sizes[0] * sizes[1] * e,
                        marked: true,
                        ..model
                    },
                }
            }
        ),
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
    let bytes = (0..(high - low) as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
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
    fn segments_are_the_type_map_with_touching_pieces_merged(both in types(), count in 0usize..4, from in 0usize..200, len in 0usize..300) {
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

/// The elements that each process of a grid owns, by the definition: element `i` of a dimension belongs to process
/// `i / block % processes`.
#[test]
fn distributed_arrays_deal_out_every_element_once() {
    use Distribution::*;
    let int = Datatype::predefined(Basic::Int);
    type Case = (
        &'static [i64],
        &'static [Distribution],
        &'static [i64],
        &'static [i64],
    );
    let cases: [Case; 7] = [
        (&[10], &[Block], &[19], &[3]),
        (&[10], &[Block], &[6], &[3]),
        (&[10], &[Cyclic], &[19], &[3]),
        (&[11], &[Cyclic], &[2], &[3]),
        (&[5, 7], &[Block, Cyclic], &[19, 2], &[2, 2]),
        (&[4, 6, 5], &[Cyclic, None, Block], &[19, 19, 3], &[2, 1, 2]),
        (&[2, 3], &[Cyclic, Cyclic], &[1, 5], &[4, 2]),
    ];
    for (gsizes, distribs, dargs, psizes) in cases {
        for order in [Order::C, Order::Fortran] {
            let size: i64 = psizes.iter().product();
            let total: i64 = gsizes.iter().product();
            let mut owners = vec![-1; total as usize];
            for rank in 0..size {
                let ty = Datatype::darray(size, rank, gsizes, distribs, dargs, psizes, order, int)
                    .unwrap();
                assert_eq!((ty.lb(), ty.extent()), (0, total as isize * 4));
                let mut last = -1;
                ty.visit_basics(&mut |_, at| {
                    let element = at as usize / 4;
                    assert_eq!(owners[element], -1, "element {element} dealt out twice");
                    assert!(at as i64 > last, "elements in storage order");
                    last = at as i64;
                    owners[element] = rank;
                    true
                });
            }
            for (element, &owner) in owners.iter().enumerate() {
                let mut rest = element as i64;
                let mut index = vec![0; gsizes.len()];
                let dims: Vec<usize> = match order {
                    Order::C => (0..gsizes.len()).rev().collect(),
                    Order::Fortran => (0..gsizes.len()).collect(),
                };
                for d in dims {
                    index[d] = rest % gsizes[d];
                    rest /= gsizes[d];
                }
                let expected = (0..gsizes.len()).fold(0, |rank, d| {
                    let block = match (distribs[d], dargs[d]) {
                        (None, _) => gsizes[d],
                        (Block, 19) => (gsizes[d] + psizes[d] - 1) / psizes[d],
                        (Cyclic, 19) => 1,
                        (_, darg) => darg,
                    };
                    rank * psizes[d] + index[d] / block % psizes[d]
                });
                assert_eq!(
                    owner, expected,
                    "element {element} of {gsizes:?} {distribs:?} {order:?}"
                );
            }
        }
    }
}

#[test]
fn wrong_arguments_are_named() {
    let int = Datatype::predefined(Basic::Int);
    let class = |result: Result<Datatype>| result.unwrap_err().class();
    assert_eq!(class(Datatype::contiguous(-1, int)), ErrorClass::Count);
    assert_eq!(class(Datatype::vector(-1, 1, 1, int)), ErrorClass::Count);
    assert_eq!(class(Datatype::vector(1, -1, 1, int)), ErrorClass::Arg);
    assert_eq!(class(Datatype::hvector(1, -1, 1, int)), ErrorClass::Arg);
    assert_eq!(
        class(Datatype::indexed(&[1, -2], &[0, 0], int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::indexed(&[1], &[0, 0], int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::indexed_block(-1, &[0], int)),
        ErrorClass::Arg
    );
    assert_eq!(class(Datatype::structure(&[1], &[0], &[])), ErrorClass::Arg);
    assert_eq!(
        class(Datatype::subarray(&[4], &[5], &[0], Order::C, int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::subarray(&[4], &[2], &[3], Order::C, int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::subarray(&[], &[], &[], Order::C, int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::darray(
            4,
            4,
            &[8],
            &[Distribution::Block],
            &[19],
            &[4],
            Order::C,
            int
        )),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::darray(
            4,
            0,
            &[8],
            &[Distribution::Block],
            &[19],
            &[3],
            Order::C,
            int
        )),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::darray(
            4,
            0,
            &[8],
            &[Distribution::Block],
            &[1],
            &[4],
            Order::C,
            int
        )),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::darray(
            2,
            0,
            &[8],
            &[Distribution::None],
            &[19],
            &[2],
            Order::C,
            int
        )),
        ErrorClass::Arg
    );
    let text = Datatype::indexed(&[1, -2], &[0, 0], int)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("block length 1") && text.contains("-2"),
        "{text}"
    );
}

#[test]
fn sizes_beyond_an_address_space_are_errors() {
    let double = Datatype::predefined(Basic::Double);
    let large = Datatype::contiguous(1 << 40, double).unwrap();
    assert_eq!(large.size(), 1 << 43);
    let class = |result: Result<Datatype>| result.unwrap_err().class();
    assert_eq!(
        class(Datatype::contiguous(1 << 40, &large)),
        ErrorClass::ValueTooLarge
    );
    assert_eq!(
        class(Datatype::vector(2, 1, i64::MAX, double)),
        ErrorClass::ValueTooLarge
    );
    assert_eq!(
        class(Datatype::hvector(3, 1, i64::MAX, double)),
        ErrorClass::ValueTooLarge
    );
    assert_eq!(
        class(Datatype::hindexed(&[1, 1], &[i64::MIN, i64::MAX], double)),
        ErrorClass::ValueTooLarge
    );
    assert_eq!(
        class(Datatype::resized(double, i64::MAX, 1)),
        ErrorClass::ValueTooLarge
    );
    assert_eq!(
        class(Datatype::subarray(
            &[1 << 40, 1 << 40],
            &[1, 1],
            &[0, 0],
            Order::C,
            double
        )),
        ErrorClass::ValueTooLarge
    );
    assert_eq!(large.bytes(1 << 30).unwrap_err().class(), ErrorClass::Count);
    assert_eq!(large.span(1 << 30).unwrap_err().class(), ErrorClass::Count);
    // A type of no data may be repeated at will.
    let empty = Datatype::contiguous(0, double).unwrap();
    assert_eq!(Datatype::contiguous(i64::MAX, &empty).unwrap().size(), 0);
}

#[test]
fn absolute_addresses_are_fine_as_displacements() {
    let at = 0x7fff_1234_5678;
    let ty = Datatype::hindexed(&[2, 1], &[at, at - 64], Datatype::predefined(Basic::Int)).unwrap();
    assert_eq!(
        ty.segments(1).collect::<Vec<_>>(),
        [(at as isize, 8), (at as isize - 64, 4)]
    );
    assert_eq!(ty.span(1).unwrap(), (at as isize - 64, at as isize + 8));
}

#[test]
fn struct_extent_is_padded_to_the_alignment() {
    let types = [
        Datatype::predefined(Basic::Double).clone(),
        Datatype::predefined(Basic::Char).clone(),
    ];
    let ty = Datatype::structure(&[1, 1], &[0, 8], &types).unwrap();
    assert_eq!((ty.size(), ty.extent(), ty.true_extent()), (9, 16, 9));
    let resized = Datatype::resized(&ty, 0, 9).unwrap();
    assert_eq!(resized.extent(), 9);
    assert!(resized.is_contiguous() && !ty.is_contiguous());
}

#[test]
fn common_shapes_become_one_step() {
    let double = Datatype::predefined(Basic::Double);
    let steps = |ty: &Datatype| ty.layout().program().steps.len();
    let column = Datatype::vector(1000, 1, 50, double).unwrap();
    assert_eq!(steps(&column), 1);
    let face =
        Datatype::subarray(&[20, 30, 40], &[20, 30, 1], &[0, 0, 7], Order::C, double).unwrap();
    assert_eq!(steps(&face), 1);
    assert_eq!(face.segments(1).count(), 600);
    let inner =
        Datatype::subarray(&[20, 30, 40], &[18, 28, 38], &[1, 1, 1], Order::C, double).unwrap();
    assert_eq!(steps(&inner), 1);
    let rows = Datatype::indexed(&[3, 3, 3], &[0, 3, 6], double).unwrap();
    assert!(rows.is_contiguous());
    let regular: Vec<i64> = (0..1000).map(|i| i * 3).collect();
    let irregular: Vec<i64> = (0..1000).map(|i| i * i).collect();
    assert_eq!(
        steps(&Datatype::indexed_block(1, &irregular, double).unwrap()),
        2
    );
    // An irregular part, a regular one, and again an irregular one.
    let mixed: Vec<i64> = irregular[2..20]
        .iter()
        .copied()
        .chain((0..100).map(|i| 1000 + 2 * i))
        .collect();
    let mixed: Vec<i64> = mixed
        .iter()
        .copied()
        .chain(irregular[40..60].iter().copied())
        .collect();
    let mixed = Datatype::indexed_block(1, &mixed, double).unwrap();
    assert_eq!(steps(&mixed), 3);
    assert_eq!(mixed.segments(1).count(), 138);
    assert_eq!(
        steps(&Datatype::indexed_block(1, &regular, double).unwrap()),
        1
    );
}

#[test]
fn contents_tell_the_constructor_call() {
    let int = Datatype::predefined(Basic::Int);
    let check = |ty: Datatype, combiner, integers: &[i32], addresses: &[i64], large: &[i64]| {
        let contents = ty.contents().unwrap();
        assert_eq!(
            (
                contents.combiner,
                &contents.integers[..],
                &contents.addresses[..]
            ),
            (combiner, integers, addresses)
        );
        assert!(contents.large_counts.is_empty());
        let envelope = ty.envelope();
        assert_eq!(
            (envelope.integers, envelope.addresses, envelope.large_counts),
            (integers.len(), addresses.len(), 0)
        );
        assert_eq!(envelope.datatypes, contents.datatypes.len());
        assert!(contents.datatypes.iter().all(|t| t.is_same(int)));
        let ty = ty.into_large();
        let contents = ty.contents().unwrap();
        assert_eq!(
            (contents.combiner, &contents.large_counts[..]),
            (combiner, large)
        );
        assert!(contents.addresses.is_empty());
    };
    check(int.dup().unwrap(), Combiner::Dup, &[], &[], &[]);
    check(
        Datatype::contiguous(3, int).unwrap(),
        Combiner::Contiguous,
        &[3],
        &[],
        &[3],
    );
    check(
        Datatype::vector(3, 2, -1, int).unwrap(),
        Combiner::Vector,
        &[3, 2, -1],
        &[],
        &[3, 2, -1],
    );
    check(
        Datatype::hvector(3, 2, 9, int).unwrap(),
        Combiner::Hvector,
        &[3, 2],
        &[9],
        &[3, 2, 9],
    );
    check(
        Datatype::indexed(&[1, 2], &[3, 4], int).unwrap(),
        Combiner::Indexed,
        &[2, 1, 2, 3, 4],
        &[],
        &[2, 1, 2, 3, 4],
    );
    check(
        Datatype::hindexed(&[1, 2], &[3, 4], int).unwrap(),
        Combiner::Hindexed,
        &[2, 1, 2],
        &[3, 4],
        &[2, 1, 2, 3, 4],
    );
    check(
        Datatype::indexed_block(7, &[3, 4], int).unwrap(),
        Combiner::IndexedBlock,
        &[2, 7, 3, 4],
        &[],
        &[2, 7, 3, 4],
    );
    check(
        Datatype::hindexed_block(7, &[3, 4], int).unwrap(),
        Combiner::HindexedBlock,
        &[2, 7],
        &[3, 4],
        &[2, 7, 3, 4],
    );
    let types = [int.clone(), int.clone()];
    check(
        Datatype::structure(&[1, 2], &[3, 4], &types).unwrap(),
        Combiner::Struct,
        &[2, 1, 2],
        &[3, 4],
        &[2, 1, 2, 3, 4],
    );
    check(
        Datatype::resized(int, -1, 9).unwrap(),
        Combiner::Resized,
        &[],
        &[-1, 9],
        &[-1, 9],
    );
    let sub = Datatype::subarray(&[4, 5], &[2, 3], &[1, 0], Order::C, int).unwrap();
    check(
        sub,
        Combiner::Subarray,
        &[2, 4, 5, 2, 3, 1, 0, 12],
        &[],
        &[4, 5, 2, 3, 1, 0],
    );
    let distribs = [Distribution::Cyclic, Distribution::Block];
    let dar = Datatype::darray(
        2,
        1,
        &[4, 5],
        &distribs,
        &[2, 19],
        &[2, 1],
        Order::Fortran,
        int,
    )
    .unwrap();
    check(
        dar,
        Combiner::Darray,
        &[2, 1, 2, 4, 5, 18, 17, 2, 19, 2, 1, 15],
        &[],
        &[4, 5],
    );
    assert_eq!(int.contents().unwrap_err().class(), ErrorClass::Type);
    assert_eq!(int.envelope().combiner, Combiner::Named);
    // Counts beyond int are reported as large counts even when made by the small constructor.
    let big = Datatype::contiguous(1 << 33, int).unwrap();
    assert_eq!(
        (
            big.envelope().integers,
            big.contents().unwrap().large_counts
        ),
        (0, vec![1 << 33])
    );
}

#[test]
fn combiners_are_those_of_the_abi() {
    for combiner in Combiner::ALL {
        let name = format!("MPI_COMBINER_{}", combiner.name());
        let row = crate::abi_table::rows().find(|row| row.0 == name);
        assert_eq!(row.map(|row| row.2), Some(*combiner as i64), "{name}");
    }
}

#[test]
fn types_outlive_what_they_were_made_of() {
    let ty = {
        let inner = Datatype::vector(2, 1, 2, Datatype::predefined(Basic::Short)).unwrap();
        inner.set_name("inner");
        Datatype::contiguous(2, &inner).unwrap()
    };
    assert_eq!(
        ty.segments(1).collect::<Vec<_>>(),
        [(0, 2), (4, 4), (10, 2)]
    );
    assert_eq!(ty.contents().unwrap().datatypes[0].name(), "inner");
}

#[test]
fn names_commit_state_and_identity_belong_to_the_object() {
    let int = Datatype::predefined(Basic::Int);
    assert_eq!(
        (int.name().as_str(), int.is_committed(), int.is_predefined()),
        ("MPI_INT", true, true)
    );
    let ty = Datatype::contiguous(2, int).unwrap();
    assert_eq!((ty.name().as_str(), ty.is_committed()), ("", false));
    assert_eq!(ty.check_committed().unwrap_err().class(), ErrorClass::Type);
    assert!(ty.to_string().contains("CONTIGUOUS of MPI_INT"), "{ty}");
    assert!(!ty.dup().unwrap().is_committed());
    ty.commit();
    ty.set_name("pair");
    let dup = ty.dup().unwrap();
    assert_eq!(
        (
            dup.name().as_str(),
            dup.is_committed(),
            ty.to_string().as_str()
        ),
        ("", true, "pair")
    );
    assert!(!dup.is_same(&ty) && ty.clone().is_same(&ty));
    ty.set_name(&"é".repeat(100));
    assert_eq!(ty.name().len(), 126);
    assert!(Datatype::from_handle(521).unwrap().is_same(int));
    assert!(Datatype::from_handle(512).is_none());
}

#[test]
fn signatures_ignore_arrangement() {
    let int = Datatype::predefined(Basic::Int);
    let double = Datatype::predefined(Basic::Double);
    let vector = Datatype::vector(3, 2, 5, int).unwrap();
    assert_eq!(vector.signature(), 521);
    assert_eq!(vector.uniform_basic(), Some(Basic::Int));
    let mixed = Datatype::structure(&[1, 1], &[0, 8], &[int.clone(), double.clone()]).unwrap();
    let twice = Datatype::contiguous(2, &mixed).unwrap();
    assert!(mixed.signature() & 0x8000_0000 != 0);
    assert_eq!(mixed.signature(), twice.signature());
    assert_eq!(mixed.uniform_basic(), None);
    assert_eq!(Datatype::contiguous(0, int).unwrap().signature(), 0);
}

#[test]
fn types_by_precision_and_size() {
    let size = |ty: Result<Datatype>| ty.unwrap().size();
    assert_eq!(size(Datatype::f90_real(6, 30)), 4);
    assert_eq!(size(Datatype::f90_real(15, 300)), 8);
    assert_eq!(size(Datatype::f90_real(-32766, 308)), 16);
    assert_eq!(size(Datatype::f90_complex(15, -32766)), 16);
    assert_eq!(size(Datatype::f90_integer(9)), 4);
    assert_eq!(
        Datatype::f90_real(34, 0).unwrap_err().class(),
        ErrorClass::Arg
    );
    assert_eq!(
        Datatype::f90_real(-32766, -32766).unwrap_err().class(),
        ErrorClass::Arg
    );
    assert_eq!(
        Datatype::f90_integer(39).unwrap_err().class(),
        ErrorClass::Arg
    );
    let ty = Datatype::f90_real(6, 30).unwrap();
    assert!(
        ty.is_same(&Datatype::f90_real(6, 30).unwrap())
            && ty.is_predefined()
            && ty.predefined_handle().is_none()
    );
    assert_eq!(
        (ty.envelope().combiner, ty.contents().unwrap().integers),
        (Combiner::F90Real, vec![6, 30])
    );
    assert_eq!(
        Datatype::match_size(TypeClass::Complex, 16).unwrap().name(),
        "MPI_COMPLEX16"
    );
    assert_eq!(
        Datatype::match_size(TypeClass::Integer, 3)
            .unwrap_err()
            .class(),
        ErrorClass::Arg
    );
}

#[test]
fn value_and_index_make_the_predefined_pairs() {
    let of = |v, i| {
        Datatype::value_index(Datatype::predefined(v), Datatype::predefined(i)).map(|ty| ty.name())
    };
    assert_eq!(
        of(Basic::LongDouble, Basic::Int).as_deref(),
        Some("MPI_LONG_DOUBLE_INT")
    );
    assert_eq!(of(Basic::Int, Basic::Int).as_deref(), Some("MPI_2INT"));
    assert_eq!(of(Basic::Int, Basic::Float), None);
}

#[test]
fn counts_in_received_bytes() {
    let ty = Datatype::contiguous(3, Datatype::predefined(Basic::Short)).unwrap();
    assert_eq!(ty.count_in(12), ElementCount::Whole(2));
    assert_eq!(ty.count_in(8), ElementCount::Partial);
    assert_eq!(ty.elements_in(8), ElementCount::Whole(4));
    assert_eq!(ty.elements_in(9), ElementCount::Partial);
    let empty = Datatype::contiguous(0, &ty).unwrap();
    assert_eq!(
        (empty.count_in(0), empty.count_in(4)),
        (ElementCount::Whole(0), ElementCount::Partial)
    );
}

#[test]
fn nesting_has_a_limit_instead_of_an_overflow() {
    let mut ty = Datatype::predefined(Basic::Int).clone();
    let error = loop {
        match Datatype::resized(&ty, 0, 8) {
            Ok(next) => ty = next,
            Err(error) => break error,
        }
    };
    assert_eq!(error.class(), ErrorClass::Type);
    ty.commit();
    assert_eq!(ty.segments(2).collect::<Vec<_>>(), [(0, 4), (8, 4)]);
}
