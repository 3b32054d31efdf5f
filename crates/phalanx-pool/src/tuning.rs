//! How many items make a chunk, and how many chunks are handed out ahead of the workers.
//!
//! A chunk costs some microseconds to hand out, so it should hold a millisecond or two of work; towards the end of a job
//! chunks shrink, so that the workers end together (guided self-scheduling).

/// Work in a chunk, in nanoseconds.
const CHUNK: u64 = 1_500_000;

/// Work that waits on the board for each worker, in nanoseconds: the longest the supervisor may be away.
const AHEAD: u64 = 4_000_000;

/// What is known of the time that an item of one function takes.
///
/// ```
/// use phalanx_pool::tuning::Pace;
///
/// let mut pace = Pace::default();
/// // Before anything is known, items go out one by one.
/// assert_eq!(pace.chunk(1_000_000, 4), 1);
/// (0..100).for_each(|_| pace.add(1_000));
/// assert_eq!(pace.item(), Some(1_000));
/// assert!(pace.chunk(1_000_000, 4) > 100);
/// // Towards the end chunks shrink, so that the workers end together.
/// assert!(pace.chunk(80, 4) <= 10);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Nanoseconds, a moving average.
    mean: u64,
    seen: u32,
}

impl Pace {
    /// An item took this long.
    #[inline]
    pub fn add(&mut self, nanos: u64) {
        // The first ones count alike; later the average follows with a weight of 1/16.
        self.seen = self.seen.saturating_add(1);
        let weight = i64::from(self.seen.min(16));
        let mean = self.mean as i64;
        self.mean = (mean + (nanos.min(1 << 60) as i64 - mean) / weight).max(1) as u64;
    }

    /// Nanoseconds per item, when some were seen.
    pub fn item(&self) -> Option<u64> {
        (self.seen > 0).then_some(self.mean)
    }

    /// Items for the next chunk, when `left` of the job (as far as it is known) are not handed out yet.
    pub fn chunk(&self, left: u64, workers: u32) -> u32 {
        let Some(item) = self.item() else { return 1 };
        // Few measurements may all be of the quick ones.
        let trusted = if self.seen < 16 { 4 } else { 1 << 16 };
        let share = left / (2 * u64::from(workers.max(1)));
        (CHUNK / item).min(share).min(trusted).max(1) as u32
    }

    /// How many chunks of `items` may wait on the board.
    pub fn ahead(&self, items: u32, workers: u32) -> usize {
        let most = match self.item() {
            None => 2,
            Some(item) => (AHEAD / (item * u64::from(items.max(1))).max(1)).clamp(2, 256),
        };
        most as usize * workers as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(nanos: u64) -> Pace {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.add(nanos));
        pace
    }

    #[test]
    fn chunks_hold_about_a_millisecond_and_shrink_at_the_end() {
        assert_eq!(Pace::default().chunk(1_000_000, 2), 1);
        assert_eq!(pace(1000).chunk(1_000_000, 2), 1500);
        assert_eq!(pace(1000).chunk(1000, 2), 250);
        assert_eq!(pace(1000).chunk(3, 2), 1);
        assert_eq!(pace(1_000_000_000).chunk(1000, 2), 1);
    }

    #[test]
    fn slow_tasks_do_not_pile_up() {
        assert_eq!(pace(1_000_000_000).ahead(1, 4), 8);
        assert_eq!(pace(500).ahead(1, 4), 1024);
    }
}
