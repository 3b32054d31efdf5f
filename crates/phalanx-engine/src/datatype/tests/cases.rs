//! Single cases of constructors, contents, names, signatures and counts.

use super::super::*;

/// The elements that each process of a grid owns, by the definition: element `i` of a dimension belongs to process
/// `i / block % processes`.
#[test]
fn distributed_arrays_deal_out_every_element_once() {
    use Distribution::*;
    let int = Datatype::predefined(Basic::Int);
    type Case = (&'static [i64], &'static [Distribution], &'static [Option<i64>], &'static [i64]);
    let cases: [Case; 7] = [
        (&[10], &[Block], &[Option::None], &[3]),
        (&[10], &[Block], &[Some(6)], &[3]),
        (&[10], &[Cyclic], &[Option::None], &[3]),
        (&[11], &[Cyclic], &[Some(2)], &[3]),
        (&[5, 7], &[Block, Cyclic], &[Option::None, Some(2)], &[2, 2]),
        (&[4, 6, 5], &[Cyclic, None, Block], &[Option::None, Option::None, Some(3)], &[2, 1, 2]),
        (&[2, 3], &[Cyclic, Cyclic], &[Some(1), Some(5)], &[4, 2]),
    ];
    for (gsizes, distribs, dargs, psizes) in cases {
        for order in [Order::C, Order::Fortran] {
            let size: i64 = psizes.iter().product();
            let total: i64 = gsizes.iter().product();
            let mut owners = vec![-1; total as usize];
            for rank in 0..size {
                let ty = Datatype::darray(size, rank, gsizes, distribs, dargs, psizes, order, int).unwrap();
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
                        (_, Some(darg)) => darg,
                        (Block, _) => (gsizes[d] + psizes[d] - 1) / psizes[d],
                        (Cyclic, _) => 1,
                    };
                    rank * psizes[d] + index[d] / block % psizes[d]
                });
                assert_eq!(owner, expected, "element {element} of {gsizes:?} {distribs:?} {order:?}");
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
    assert_eq!(class(Datatype::indexed(&[1, -2], &[0, 0], int)), ErrorClass::Arg);
    assert_eq!(class(Datatype::indexed(&[1], &[0, 0], int)), ErrorClass::Arg);
    assert_eq!(class(Datatype::indexed_block(-1, &[0], int)), ErrorClass::Arg);
    assert_eq!(class(Datatype::structure(&[1], &[0], &[])), ErrorClass::Arg);
    assert_eq!(class(Datatype::subarray(&[4], &[5], &[0], Order::C, int)), ErrorClass::Arg);
    assert_eq!(class(Datatype::subarray(&[4], &[2], &[3], Order::C, int)), ErrorClass::Arg);
    assert_eq!(class(Datatype::subarray(&[], &[], &[], Order::C, int)), ErrorClass::Arg);
    assert_eq!(
        class(Datatype::darray(4, 4, &[8], &[Distribution::Block], &[None], &[4], Order::C, int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::darray(4, 0, &[8], &[Distribution::Block], &[None], &[3], Order::C, int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::darray(4, 0, &[8], &[Distribution::Block], &[Some(1)], &[4], Order::C, int)),
        ErrorClass::Arg
    );
    assert_eq!(
        class(Datatype::darray(2, 0, &[8], &[Distribution::None], &[None], &[2], Order::C, int)),
        ErrorClass::Arg
    );
    let text = Datatype::indexed(&[1, -2], &[0, 0], int).unwrap_err().to_string();
    assert!(text.contains("block length 1") && text.contains("-2"), "{text}");
}

#[test]
fn sizes_beyond_an_address_space_are_errors() {
    let double = Datatype::predefined(Basic::Double);
    let large = Datatype::contiguous(1 << 40, double).unwrap();
    assert_eq!(large.size(), 1 << 43);
    let class = |result: Result<Datatype>| result.unwrap_err().class();
    assert_eq!(class(Datatype::contiguous(1 << 40, &large)), ErrorClass::ValueTooLarge);
    assert_eq!(class(Datatype::vector(2, 1, i64::MAX, double)), ErrorClass::ValueTooLarge);
    assert_eq!(class(Datatype::hvector(3, 1, i64::MAX, double)), ErrorClass::ValueTooLarge);
    assert_eq!(class(Datatype::hindexed(&[1, 1], &[i64::MIN, i64::MAX], double)), ErrorClass::ValueTooLarge);
    assert_eq!(class(Datatype::resized(double, i64::MAX, 1)), ErrorClass::ValueTooLarge);
    assert_eq!(
        class(Datatype::subarray(&[1 << 40, 1 << 40], &[1, 1], &[0, 0], Order::C, double)),
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
    assert_eq!(ty.segments(1).collect::<Vec<_>>(), [(at as isize, 8), (at as isize - 64, 4)]);
    assert_eq!(ty.span(1).unwrap(), (at as isize - 64, at as isize + 8));
}

#[test]
fn struct_extent_is_padded_to_the_alignment() {
    let types = [Datatype::predefined(Basic::Double).clone(), Datatype::predefined(Basic::Char).clone()];
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
    let face = Datatype::subarray(&[20, 30, 40], &[20, 30, 1], &[0, 0, 7], Order::C, double).unwrap();
    assert_eq!(steps(&face), 1);
    assert_eq!(face.segments(1).count(), 600);
    let inner = Datatype::subarray(&[20, 30, 40], &[18, 28, 38], &[1, 1, 1], Order::C, double).unwrap();
    assert_eq!(steps(&inner), 1);
    let rows = Datatype::indexed(&[3, 3, 3], &[0, 3, 6], double).unwrap();
    assert!(rows.is_contiguous());
    let regular: Vec<i64> = (0..1000).map(|i| i * 3).collect();
    let irregular: Vec<i64> = (0..1000).map(|i| i * i).collect();
    assert_eq!(steps(&Datatype::indexed_block(1, &irregular, double).unwrap()), 2);
    // An irregular part, a regular one, and again an irregular one.
    let mixed: Vec<i64> = irregular[2..20].iter().copied().chain((0..100).map(|i| 1000 + 2 * i)).collect();
    let mixed: Vec<i64> = mixed.iter().copied().chain(irregular[40..60].iter().copied()).collect();
    let mixed = Datatype::indexed_block(1, &mixed, double).unwrap();
    assert_eq!(steps(&mixed), 3);
    assert_eq!(mixed.segments(1).count(), 138);
    assert_eq!(steps(&Datatype::indexed_block(1, &regular, double).unwrap()), 1);
}

#[test]
fn contents_tell_the_constructor_call() {
    let int = Datatype::predefined(Basic::Int);
    let check = |ty: Datatype, combiner, integers: &[i32], addresses: &[i64], large: &[i64]| {
        let integers: Vec<Integer> = integers.iter().map(|&number| Integer::Number(number)).collect();
        let contents = ty.contents().unwrap();
        assert_eq!(
            (contents.combiner, &contents.integers[..], &contents.addresses[..]),
            (combiner, &integers[..], addresses)
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
        assert_eq!((contents.combiner, &contents.large_counts[..]), (combiner, large));
        assert!(contents.addresses.is_empty());
    };
    check(int.dup().unwrap(), Combiner::Dup, &[], &[], &[]);
    check(Datatype::contiguous(3, int).unwrap(), Combiner::Contiguous, &[3], &[], &[3]);
    check(Datatype::vector(3, 2, -1, int).unwrap(), Combiner::Vector, &[3, 2, -1], &[], &[3, 2, -1]);
    check(Datatype::hvector(3, 2, 9, int).unwrap(), Combiner::Hvector, &[3, 2], &[9], &[3, 2, 9]);
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
    check(Datatype::indexed_block(7, &[3, 4], int).unwrap(), Combiner::IndexedBlock, &[2, 7, 3, 4], &[], &[2, 7, 3, 4]);
    check(Datatype::hindexed_block(7, &[3, 4], int).unwrap(), Combiner::HindexedBlock, &[2, 7], &[3, 4], &[2, 7, 3, 4]);
    let types = [int.clone(), int.clone()];
    check(
        Datatype::structure(&[1, 2], &[3, 4], &types).unwrap(),
        Combiner::Struct,
        &[2, 1, 2],
        &[3, 4],
        &[2, 1, 2, 3, 4],
    );
    check(Datatype::resized(int, -1, 9).unwrap(), Combiner::Resized, &[], &[-1, 9], &[-1, 9]);
    let sub = Datatype::subarray(&[4, 5], &[2, 3], &[1, 0], Order::C, int).unwrap();
    let contents = sub.contents().unwrap();
    let integers = [2, 4, 5, 2, 3, 1, 0].map(Integer::Number);
    assert_eq!((contents.combiner, &contents.integers[..7]), (Combiner::Subarray, &integers[..]));
    assert_eq!(contents.integers[7..], [Integer::Order(Order::C)]);
    let contents = sub.into_large().contents().unwrap();
    assert_eq!(contents.large_counts, [4, 5, 2, 3, 1, 0]);
    assert_eq!(contents.integers, [Integer::Number(2), Integer::Order(Order::C)]);
    let distribs = [Distribution::Cyclic, Distribution::Block];
    let dar = Datatype::darray(2, 1, &[4, 5], &distribs, &[Some(2), None], &[2, 1], Order::Fortran, int).unwrap();
    let contents = dar.contents().unwrap();
    let integers = [
        Integer::Number(2),
        Integer::Number(1),
        Integer::Number(2),
        Integer::Number(4),
        Integer::Number(5),
        Integer::Distribution(Distribution::Cyclic),
        Integer::Distribution(Distribution::Block),
        Integer::Number(2),
        Integer::DefaultArgument,
        Integer::Number(2),
        Integer::Number(1),
        Integer::Order(Order::Fortran),
    ];
    assert_eq!((contents.combiner, &contents.integers[..]), (Combiner::Darray, &integers[..]));
    assert_eq!((dar.envelope().integers, dar.into_large().contents().unwrap().large_counts), (12, vec![4, 5]));
    assert_eq!(int.contents().unwrap_err().class(), ErrorClass::Type);
    assert_eq!(int.envelope().combiner, Combiner::Named);
    // Counts beyond int are reported as large counts even when made by the small constructor.
    let big = Datatype::contiguous(1 << 33, int).unwrap();
    assert_eq!((big.envelope().integers, big.contents().unwrap().large_counts), (0, vec![1 << 33]));
}

#[test]
fn types_outlive_what_they_were_made_of() {
    let ty = {
        let inner = Datatype::vector(2, 1, 2, Datatype::predefined(Basic::Short)).unwrap();
        inner.set_name("inner");
        Datatype::contiguous(2, &inner).unwrap()
    };
    assert_eq!(ty.segments(1).collect::<Vec<_>>(), [(0, 2), (4, 4), (10, 2)]);
    assert_eq!(ty.contents().unwrap().datatypes[0].name(), "inner");
}

#[test]
fn names_commit_state_and_identity_belong_to_the_object() {
    let int = Datatype::predefined(Basic::Int);
    assert_eq!((int.name().as_str(), int.is_committed(), int.is_predefined()), ("MPI_INT", true, true));
    let ty = Datatype::contiguous(2, int).unwrap();
    assert_eq!((ty.name().as_str(), ty.is_committed()), ("", false));
    assert_eq!(ty.check_committed().unwrap_err().class(), ErrorClass::Type);
    assert!(ty.to_string().contains("CONTIGUOUS of MPI_INT"), "{ty}");
    assert!(!ty.dup().unwrap().is_committed());
    ty.commit();
    ty.set_name("pair");
    let dup = ty.dup().unwrap();
    assert_eq!((dup.name().as_str(), dup.is_committed(), ty.to_string().as_str()), ("", true, "pair"));
    assert!(!dup.is_same(&ty) && ty.clone().is_same(&ty));
    assert_eq!((int.named(), int.dup().unwrap().named()), (Some(Basic::Int), None));
}

#[test]
fn signatures_ignore_arrangement() {
    let int = Datatype::predefined(Basic::Int);
    let double = Datatype::predefined(Basic::Double);
    let vector = Datatype::vector(3, 2, 5, int).unwrap();
    assert_eq!(vector.signature(), int.signature());
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
    assert_eq!(Datatype::f90_real(34, 0).unwrap_err().class(), ErrorClass::Arg);
    assert_eq!(Datatype::f90_real(-32766, -32766).unwrap_err().class(), ErrorClass::Arg);
    assert_eq!(Datatype::f90_integer(39).unwrap_err().class(), ErrorClass::Arg);
    let ty = Datatype::f90_real(6, 30).unwrap();
    assert!(ty.is_same(&Datatype::f90_real(6, 30).unwrap()) && ty.is_predefined() && ty.named().is_none());
    assert_eq!(
        (ty.envelope().combiner, ty.contents().unwrap().integers),
        (Combiner::F90Real, vec![Integer::Number(6), Integer::Number(30)])
    );
    assert_eq!(Datatype::match_size(TypeClass::Complex, 16).unwrap().name(), "MPI_COMPLEX16");
    assert_eq!(Datatype::match_size(TypeClass::Integer, 3).unwrap_err().class(), ErrorClass::Arg);
}

#[test]
fn value_and_index_make_the_predefined_pairs() {
    let of = |v, i| Datatype::value_index(Datatype::predefined(v), Datatype::predefined(i)).map(|ty| ty.name());
    assert_eq!(of(Basic::LongDouble, Basic::Int).as_deref(), Some("MPI_LONG_DOUBLE_INT"));
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
    assert_eq!((empty.count_in(0), empty.count_in(4)), (ElementCount::Whole(0), ElementCount::Partial));
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
