//! Time as values. There is no clock here: every function that needs the time takes it.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored (POSIX). Range 1 to 2^53 in statements.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixMillis(pub u64);

/// A span of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DurationMillis(pub u64);

impl UnixMillis {
    /// This time plus `span`; stops at the largest value instead of wrapping.
    pub const fn after(self, span: DurationMillis) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// This time minus `span`; stops at zero.
    pub const fn before(self, span: DurationMillis) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl UnixMillis {
    /// Reads exactly the form that `Display` writes; years 1970 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<u64> {
            let digits = text.get(range)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Day count of a civil date, the inverse of `Display`.
        let shifted_year = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (shifted_year / 400, shifted_year % 400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
        let seconds = days.checked_sub(719_468)? * 86_400
            + number(11..13)? * 3600
            + number(14..16)? * 60
            + number(17..19)?;
        let time = Self(seconds * 1000 + number(20..23)?);
        (time.to_string() == text).then_some(time)
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-20T02:53:43.290Z`.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // Civil date from a day count, after Howard Hinnant's `civil_from_days`; days counted from 0000-03-01.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339_as_gnu_date_does() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(UnixMillis(millis).to_string(), text);
            assert_eq!(UnixMillis::parse(text), Some(UnixMillis(millis)));
        }
        for day in 0..60_000 {
            let time = UnixMillis(day * 86_400_000 + day);
            assert_eq!(UnixMillis::parse(&time.to_string()), Some(time));
        }
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00Z",
            "2023-02-29T00:00:00.000Z",
            "1970-01-01T24:00:00.000Z",
            "1970-13-01T00:00:00.000Z",
            "1970-00-01T00:00:00.000Z",
            "1970-03-00T00:00:00.000Z",
            "1970-01-32T00:00:00.000Z",
            "0000-01-01T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00.000z",
            "1970-01-01T00:00:60.000Z",
            "éééééééééééé",
        ] {
            assert_eq!(UnixMillis::parse(bad), None, "{bad}");
        }
    }
}
