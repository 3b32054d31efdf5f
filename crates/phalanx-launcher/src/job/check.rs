//! What ranks have found in their program, with `--check`: told once, when all have ended.

use phalanx_waits::Findings;

use super::Job;
use super::waits::RankNames;
use crate::cli::Check;

impl Job {
    /// Says what was found. The status that follows from it, if nothing else has gone wrong.
    pub(super) fn say_findings(&mut self) -> Option<u8> {
        if self.manner.check == Check::Off || self.manner.foreign {
            return None;
        }
        let findings = Findings::of(self.universe.universe());
        if findings.is_empty() {
            return None;
        }
        let text = findings.told(&RankNames(&self.ranks));
        self.say(text.trim_end());
        (self.manner.check == Check::Fail && findings.mistakes() > 0).then_some(1)
    }
}
