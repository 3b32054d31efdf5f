//! What `--check` has found, in words: one block for all ranks.

use std::collections::BTreeMap;
use std::fmt::Write;

use phalanx_shm::{ProcId, Universe};

use crate::finding::{Class, Finding, Found, Key};
use crate::report::{Names, located, ranks, tame, wrapped};

/// Places that are told of one class; the others are counted.
const MOST_OF_A_CLASS: usize = 20;

/// What some ranks have found at one place.
#[derive(Clone, Debug)]
struct Entry {
    /// As the first of them says it.
    finding: Finding,
    /// Whether others say it in other words: of another rank, another tag.
    differs: bool,
    /// Who has found it.
    slots: Vec<u32>,
    times: u64,
}

/// What has been found, of all ranks.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    all: BTreeMap<Key, Entry>,
    /// Findings for which there was no room.
    untold: u64,
}

impl Findings {
    /// Reads what the processes of a universe have found.
    #[must_use]
    pub fn of(universe: &Universe) -> Findings {
        let mut findings = Findings::default();
        for slot in 0..universe.claimed() {
            if let Some(found) = universe.findings(ProcId(slot)) {
                findings.add(slot, &found.all());
            }
        }
        findings
    }

    pub(crate) fn add(&mut self, slot: u32, records: &[Vec<u8>]) {
        let mut own: Vec<Key> = Vec::new();
        for record in records {
            match Found::decode(record) {
                Some(Found::First(finding)) => {
                    let key = finding.key();
                    let entry = self.all.entry(key.clone()).or_insert_with(|| Entry {
                        finding: finding.clone(),
                        differs: false,
                        slots: Vec::new(),
                        times: 0,
                    });
                    entry.differs |= entry.finding.what != finding.what;
                    entry.slots.push(slot);
                    entry.times += 1;
                    own.push(key);
                }
                Some(Found::Again(number, more)) => {
                    if let Some(entry) = own.get(number as usize).and_then(|key| self.all.get_mut(key)) {
                        entry.times = entry.times.saturating_add(more);
                    }
                }
                Some(Found::More(more)) => self.untold = self.untold.saturating_add(more),
                None => {}
            }
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.untold == 0
    }

    /// How many mistakes there are, remarks left out.
    #[must_use]
    pub fn mistakes(&self) -> usize {
        let mistakes = self.all.values().filter(|entry| !entry.finding.class.is_remark()).count();
        mistakes + usize::try_from(self.untold).unwrap_or(usize::MAX)
    }

    /// The words for all of it; empty where nothing was found.
    #[must_use]
    pub fn told(&self, names: &dyn Names) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        let remarks = self.all.values().filter(|entry| entry.finding.class.is_remark()).count();
        let counted = match (self.mistakes(), remarks) {
            (0, remarks) => count(remarks, "remark"),
            (mistakes, 0) => count(mistakes, "mistake"),
            (mistakes, remarks) => format!("{} and {}", count(mistakes, "mistake"), count(remarks, "remark")),
        };
        let _ = writeln!(text, "phalanx: --check: {counted}");
        let mut of_class: BTreeMap<Class, usize> = BTreeMap::new();
        for Entry { finding, differs, slots, times } in self.all.values() {
            let number = of_class.entry(finding.class).or_default();
            *number += 1;
            if *number > MOST_OF_A_CLASS {
                continue;
            }
            let often = if *times > slots.len() as u64 { format!(" ({times} times)") } else { String::new() };
            let often = if *differs { format!(", for example{often}") } else { often };
            let remark = if finding.class.is_remark() { "remark: " } else { "" };
            let (class, what) = (finding.class.name(), &finding.what);
            wrapped(&mut text, "  ", &format!("[{class}] {remark}{}: {what}{often}", ranks(slots, names)));
            if let Some(place) = &finding.place {
                located(&mut text, "at", place, names);
            }
            if let Some((what, place)) = &finding.other {
                located(&mut text, what, place, names);
            }
        }
        for (class, number) in of_class.into_iter().filter(|(_, number)| *number > MOST_OF_A_CLASS) {
            let _ = writeln!(text, "  [{}] and {} more places", class.name(), number - MOST_OF_A_CLASS);
        }
        if self.all.values().any(|entry| entry.finding.class == Class::RacingReceive) {
            let hint = "phalanx run --record FILE keeps which message such a receive takes, and --replay FILE lets it take the same again.";
            wrapped(&mut text, "  hint: ", hint);
        }
        if self.untold > 0 {
            let _ = writeln!(text, "  and {} more for which there was no room", self.untold);
        }
        tame(text)
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Numbers;
    use crate::wait::Frame;

    fn finding(class: Class, line: u32) -> Finding {
        let place = Frame { file: "a.py".into(), line, function: "main".into() };
        Finding { class, what: "something".into(), place: Some(place), other: None }
    }

    #[test]
    fn ranks_and_repetitions_are_one_entry() {
        let mut findings = Findings::default();
        let leak = Found::First(finding(Class::LeakedHandle, 3)).encode();
        findings.add(0, &[leak.clone(), Found::Again(0, 4).encode(), b"nonsense".to_vec()]);
        findings.add(1, &[Found::First(finding(Class::RacingReceive, 5)).encode(), leak]);
        let text = findings.told(&Numbers);
        assert_eq!(findings.mistakes(), 1);
        assert_eq!(
            text,
            "phalanx: --check: 1 mistake and 1 remark\n  [leaked-handle] ranks 0, 1: something (6 times)\n      at a.py:3, in main\n         \
             line 3\n  [racing-receive] remark: rank 1: something\n      at a.py:5, in main\n         line 5\n  \
             hint: phalanx run --record FILE keeps which message such a receive takes, and\n      --replay FILE lets it take the same again.\n"
        );
    }

    #[test]
    fn many_of_a_class_are_counted() {
        let mut findings = Findings::default();
        let many: Vec<_> = (0..50).map(|line| Found::First(finding(Class::OpenRequest, line)).encode()).collect();
        findings.add(0, &many);
        let text = findings.told(&Numbers);
        assert_eq!(text.matches("[open-request] rank 0").count(), MOST_OF_A_CLASS);
        assert!(text.contains("[open-request] and 30 more places"), "{text}");
        assert_eq!(Findings::default().told(&Numbers), "");
    }
}
