//! Numbers as a person reads them.

/// `1.24 s`, `340 ms`, `12.0 us`, `80 ns`: three digits.
pub(crate) fn duration(ns: u64) -> String {
    // From here on three digits would be rounded up to the next unit.
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_500 => format!("{} us", three(ns as f64 / 1e3)),
        999_500..999_500_000 => format!("{} ms", three(ns as f64 / 1e6)),
        999_500_000..600_000_000_000 => format!("{} s", three(ns as f64 / 1e9)),
        _ => format!("{} min", three(ns as f64 / 60e9)),
    }
}

/// `8 B`, `64 KiB`, `1.50 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = if value.fract() == 0.0 { format!("{value}") } else { three(value) };
    format!("{text} {}", UNITS[unit])
}

/// `4,000`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12 %`; `0.4 %` below one.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    if share > 0.0 && share < 0.95 { format!("{share:.1} %") } else { format!("{share:.0} %") }
}

/// `one`, `one and two`, `one, two and three`.
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `2026-11-29 15:04:05 UTC`, from nanoseconds since 1970.
pub(crate) fn date(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days that begin in March, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Three digits of a number below a thousand.
fn three(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_nearest_unit() {
        let texts =
            [0, 999, 1_000, 12_345, 999_499, 999_500, 1_240_000_000, 599_000_000_000, 600_000_000_000, u64::MAX]
                .map(duration);
        assert_eq!(
            texts[..9],
            ["0 ns", "999 ns", "1.00 us", "12.3 us", "999 us", "1.00 ms", "1.24 s", "599 s", "10.0 min"]
        );
        assert!(texts[9].ends_with(" min"));
    }

    #[test]
    fn bytes_are_exact_where_they_are_round() {
        assert_eq!(
            [0, 8, 1023, 1024, 65536, 1_572_864, 1_048_575, 1 << 40].map(bytes),
            ["0 B", "8 B", "1023 B", "1 KiB", "64 KiB", "1.50 MiB", "1.00 MiB", "1 TiB"]
        );
        assert_eq!(bytes(u64::MAX), "16 EiB");
    }

    #[test]
    fn dates_know_leap_years_and_ends_of_years() {
        let seconds = [0, 951_782_399, 951_782_400, 1_798_761_599, 1_795_964_645];
        assert_eq!(
            seconds.map(|s| date(s * 1_000_000_000)),
            [
                "1970-01-01 00:00:00 UTC",
                "2000-02-28 23:59:59 UTC",
                "2000-02-29 00:00:00 UTC",
                "2026-12-31 23:59:59 UTC",
                "2026-11-29 15:04:05 UTC"
            ]
        );
    }

    #[test]
    fn counts_have_commas_and_lists_an_and() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([(1, 3), (1, 1000), (0, 0), (5, 5)].map(|(a, b)| percent(a, b)), ["33 %", "0.1 %", "0 %", "100 %"]);
        let words = ["a", "b", "c"].map(String::from);
        assert_eq!([list(&words), list(&words[..2]), list(&words[..1])], ["a, b and c", "a and b", "a"]);
    }
}
