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
    /// A beat, or a part of one.
    every: Duration,
    /// So many of them are a beat.
    parts: u32,
    due: Instant,
    missed: u32,
    /// The other end has said that it will be silent.
    suspended: bool,
}

impl Pulse {
    /// Begins to count.
    #[must_use]
    pub fn new(now: Instant, every: Duration) -> Self {
        Self::finely(now, every, 1)
    }

    /// Begins to count parts of beats: the other end is lost four beats after its last word, or up to a part of one before.
    #[must_use]
    pub fn finely(now: Instant, every: Duration, parts: u32) -> Self {
        let parts = parts.max(1);
        let every = every / parts;
        Self { every, parts, due: now + every, missed: 0, suspended: false }
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

    /// Whether more than a beat has passed without a word. Who speaks on then has it lie in the network, and of a connection with
    /// four messages under way the system doubles the pauses before it sends them again.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.missed > self.parts
    }

    /// How long the other end has been silent when it is lost.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.every * self.parts * (MISSED + 1)
    }

    /// Whether the other end is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.missed >= (MISSED + 1) * self.parts
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
    fn parts_of_beats_are_counted_as_well() {
        let (start, half) = (Instant::now(), EVERY / 2);
        let mut pulse = Pulse::finely(start, EVERY, 2);
        for n in 1..=7 {
            assert!(pulse.beat(start + half * n) && !pulse.is_lost(), "{n}");
            assert_eq!(pulse.is_silent(), n > 2, "{n}");
        }
        assert!(pulse.beat(start + half * 8) && pulse.is_lost());
        pulse.heard();
        assert!(!pulse.is_lost() && !pulse.is_silent());
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
