//! How large the messages were.

use crate::Trace;

/// Messages of `least` to `most` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// The messages by powers of two of their size, from the smallest to the largest that occurs, those between them
/// included; none where there were no messages. Empty messages are a bucket of their own.
pub(crate) fn histogram(trace: &Trace) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = (0..=64).map(empty).collect();
    for m in &trace.messages {
        let bucket = &mut buckets[power(m.bytes)];
        bucket.messages += 1;
        bucket.bytes = bucket.bytes.saturating_add(m.bytes);
    }
    let Some(first) = buckets.iter().position(|b| b.messages > 0) else { return Vec::new() };
    let last = buckets.iter().rposition(|b| b.messages > 0).unwrap_or(first);
    buckets[first..=last].to_vec()
}

/// 0 for nothing, else one more than the highest bit.
fn power(bytes: u64) -> usize {
    (64 - bytes.leading_zeros()) as usize
}

fn empty(power: u32) -> Bucket {
    let least = if power == 0 { 0 } else { 1 << (power - 1) };
    Bucket { least, most: if power == 0 { 0 } else { least + (least - 1) }, messages: 0, bytes: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{message, ranks};

    #[test]
    fn sizes_are_counted_by_powers_of_two_without_holes() {
        let mut trace = ranks(2);
        trace.messages = [0, 8, 15, 16, 40].map(|bytes| message(0, 1, bytes, 0, 1)).to_vec();
        let found: Vec<_> = histogram(&trace).iter().map(|b| (b.least, b.most, b.messages, b.bytes)).collect();
        assert_eq!(
            found,
            [(0, 0, 1, 0), (1, 1, 0, 0), (2, 3, 0, 0), (4, 7, 0, 0), (8, 15, 2, 23), (16, 31, 1, 16), (32, 63, 1, 40)]
        );
    }

    #[test]
    fn the_largest_size_has_a_bucket_and_no_messages_have_none() {
        let mut trace = ranks(2);
        assert_eq!(histogram(&trace), []);
        trace.messages = vec![message(0, 1, u64::MAX, 0, 1)];
        assert_eq!(histogram(&trace)[0].most, u64::MAX);
    }
}
