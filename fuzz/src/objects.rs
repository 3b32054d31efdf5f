//! How the parts of an object's message lie in memory. The crate itself links in an interpreter only.

#[path = "../../crates/phalanx-object/src/frame.rs"]
#[expect(unreachable_pub, dead_code, reason = "public in the crate it belongs to")]
mod frame;

use frame::{Plan, Rule, number, parse};

phalanx_fuzz::targets! {
    frames("frame", "where the parts of an object are, in a message", cost 1, seeds());
}

/// Blocks of a message: so many bytes each.
const BLOCKS: [usize; 4] = [20_000, 4096, 0, 300_000];

fn seeds() -> Vec<Vec<u8>> {
    let message = Rule { inline: 0, head: 16, own: usize::MAX, most: 0 };
    let arena = Rule { inline: 4096, head: 0, own: 256 << 10, most: 64 };
    let plans = [(message, &[100, 200][..]), (arena, &[10, 300_000]), (message, &[])];
    let table = |(rule, lengths): (Rule, &[usize])| {
        let mut table = Plan::new(8, lengths, rule).map(|plan| plan.table()).unwrap_or_default();
        table.extend_from_slice(b"\x80\x05stream");
        table
    };
    plans.map(table).to_vec()
}

/// Nothing that is accepted lies outside the blocks.
fn frames(bytes: &[u8]) {
    assert_eq!(number(bytes).is_some(), bytes.len() >= 8);
    let Some((places, stream)) = parse(bytes, |block| BLOCKS.get(block).copied()) else { return };
    assert!(bytes.ends_with(stream));
    for place in places {
        assert!(place.offset.checked_add(place.length).is_some_and(|end| end <= BLOCKS[place.block]));
    }
}
