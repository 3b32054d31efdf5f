//! Heartbeats: when the other end of a channel counts as lost.
//!
//! Each end says something at every beat, and counts the beats at which it has heard nothing since the last one. A beat
//! counts once however late it comes: a process that was stopped, or a machine that slept, for minutes finds one missed
//! beat when it goes on, and not the end of its peer.

use std::time::{Duration, Instant};

/// From one beat to the next, if nobody says otherwise.
pub const EVERY: Duration = Duration::from_secs(1);
/// After more missed beats than these, the other end is lost: between three and four beats after its last word.
pub const MISSED: u32 = 3;

/// What one end knows of the other.
#[derive(Debug, Clone)]
pub struct Pulse {
    every: Duration,
    due: Instant,
    missed: u32,
    /// The other end has said that it will be silent.
    suspended: bool,
}

impl Pulse {
    /// Begins to count.
    #[must_use]
    pub fn new(now: Instant, every: Duration) -> Self {
        Self { every, due: now + every, missed: 0, suspended: false }
    }

    /// The other end has said something.
    pub fn heard(&mut self) {
        self.missed = 0;
        self.suspended = false;
    }

    /// The other end will be silent, until it is heard again.
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// When the next beat is.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether it is time for a beat: then something is to be said, and one more is missed.
    pub fn beat(&mut self, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + self.every;
        self.missed += u32::from(!self.suspended);
        true
    }

    /// Whether the other end is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.missed > MISSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_in_beats() {
        let (start, beat) = (Instant::now(), EVERY);
        let mut pulse = Pulse::new(start, beat);
        assert!(!pulse.beat(start));
        for n in 1..=3 {
            assert!(pulse.beat(start + beat * n) && !pulse.is_lost(), "{n}");
        }
        pulse.heard();
        // A pause of minutes is one beat.
        assert!(pulse.beat(start + beat * 500) && !pulse.is_lost());
        for n in 501..=503 {
            assert!(pulse.beat(start + beat * n));
        }
        assert!(pulse.is_lost());
    }

    #[test]
    fn an_announced_silence_lasts_until_a_word() {
        let (start, beat) = (Instant::now(), EVERY);
        let mut pulse = Pulse::new(start, beat);
        pulse.suspend();
        assert!((1..=10).all(|n| pulse.beat(start + beat * n)) && !pulse.is_lost());
        pulse.heard();
        assert!((11..=14).all(|n| pulse.beat(start + beat * n)) && pulse.is_lost());
    }
}
