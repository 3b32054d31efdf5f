//! Frames: what is planned is what is read, and no bytes make a reader look outside the blocks.
//!
//! The file is compiled into this test, so that it needs no Python and runs under Miri.

#[path = "../src/frame.rs"]
#[expect(unreachable_pub, reason = "public in the crate it belongs to")]
mod frame;

use frame::{ALIGNMENT, Plan, Rule, number, parse};
use proptest::prelude::*;

const MESSAGE: Rule = Rule { inline: 0, head: 16, own: usize::MAX, most: 0 };
const BLOCKS: Rule = Rule { inline: 4096, head: 0, own: 256 << 10, most: 64 };

/// Checks that the parts of a plan are inside their blocks, aligned, and apart from each other.
fn check(stream: usize, lengths: &[usize], rule: Rule) {
    let Some(plan) = Plan::new(stream, lengths, rule) else { return };
    let shared = plan.shared.unwrap_or(0);
    let mut end = if plan.inline { 0 } else { rule.head + plan.frame };
    let mut blocks = usize::from(plan.shared.is_some());
    for (place, length) in plan.places.iter().zip(lengths) {
        assert_eq!(place.length, *length);
        if plan.shared.is_some() && place.block == 0 {
            assert!(place.offset >= end && place.offset % ALIGNMENT == 0);
            end = place.offset + place.length;
        } else {
            assert_eq!((place.block, place.offset), (blocks, 0));
            blocks += 1;
        }
    }
    assert!(end <= shared || plan.shared.is_none());
    let mut frame = plan.table();
    assert_eq!(frame.len() + stream, plan.frame);
    frame.extend(std::iter::repeat_n(7, stream.min(1 << 16)));
    let size = |block| {
        let own = plan.places.iter().find(|place| place.block == block).map(|place| place.length);
        if block == 0 && plan.shared.is_some() { plan.shared } else { own }
    };
    let (places, rest) = parse(&frame, size).expect("a frame that was just written");
    assert_eq!(places, plan.places);
    assert_eq!(rest.len(), stream.min(1 << 16));
}

#[test]
fn buffers_that_no_memory_can_hold_have_no_plan() {
    assert!(Plan::new(usize::MAX, &[1], MESSAGE).is_none());
    assert!(Plan::new(1, &[usize::MAX, usize::MAX], MESSAGE).is_none());
    assert!(Plan::new(1, &[isize::MAX as usize], MESSAGE).is_none());
}

#[test]
fn a_frame_that_is_cut_short_is_none() {
    let plan = Plan::new(10, &[100, 200], MESSAGE).expect("a small plan");
    let table = plan.table();
    let shared = plan.shared;
    assert!(parse(&table, |block| shared.filter(|_| block == 0)).is_some());
    for length in 0..table.len() {
        assert!(parse(&table[..length], |_| Some(1 << 20)).is_none());
    }
}

#[test]
fn a_buffer_outside_the_blocks_is_refused() {
    let plan = Plan::new(10, &[100], MESSAGE).expect("a small plan");
    let table = plan.table();
    let end = plan.places[0].offset + plan.places[0].length;
    assert!(parse(&table, |_| Some(end)).is_some());
    assert!(parse(&table, |_| Some(end - 1)).is_none());
    assert!(parse(&table, |_| None).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_planned_is_what_is_read(
        stream in 0_usize..20_000,
        lengths in prop::collection::vec(prop_oneof![0_usize..10_000, 200_000_usize..400_000], 0..80),
    ) {
        check(stream, &lengths, MESSAGE);
        check(stream, &lengths, BLOCKS);
    }

    #[test]
    fn hostile_bytes_never_name_memory_outside_the_blocks(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400),
        count in 0_u64..20,
        sizes in prop::collection::vec(0_usize..1000, 0..4),
    ) {
        // With a plausible count in front, so that the places behind it are looked at too.
        if count < 16 && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(&count.to_le_bytes());
            for number in bytes[8..].chunks_mut(8) {
                if number[0] % 3 != 0 && number.len() == 8 {
                    number[2..].fill(0);
                }
            }
        }
        if let Some((places, stream)) = parse(&bytes, |block| sizes.get(block).copied()) {
            prop_assert!(stream.len() <= bytes.len());
            for place in places {
                prop_assert!(place.offset + place.length <= sizes[place.block]);
            }
        }
        prop_assert_eq!(number(&bytes).is_some(), bytes.len() >= 8);
    }
}
