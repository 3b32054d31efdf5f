//! The time as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time now, in UTC: `2026-02-28T08:07:20.123Z`.
pub(crate) fn now() -> String {
    text(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn text(since_epoch: Duration) -> String {
    let (seconds, milliseconds) = (since_epoch.as_secs(), since_epoch.subsec_millis());
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z", month + 1, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let of = |seconds: u64| text(Duration::from_millis(seconds * 1000 + 7));
        assert_eq!(of(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(of(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(of(1_735_689_599), "2024-12-31T23:59:59.007Z");
        assert_eq!(of(1_735_689_600), "2025-01-01T00:00:00.007Z");
    }
}
