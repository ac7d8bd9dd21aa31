//! Points in time as text, in UTC. In is taken only what the Engine and programs write into logs;
//! there are no leap seconds (POSIX time has none).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MILLIS_PER_DAY: i128 = 86_400_000;
/// The years that have four digits, which both text forms require: 0000-01-01 to 9999-12-31.
const FIRST_MILLI: i128 = -62_167_219_200_000;
const LAST_MILLI: i128 = 253_402_300_799_999;

/// A point in time as the civil calendar (proleptic Gregorian) names it.
///
/// Invariant: the year has at most four digits; a clock beyond is shown at the nearest end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub millisecond: u16,
}

impl From<SystemTime> for Civil {
    fn from(time: SystemTime) -> Civil {
        // Milliseconds are rounded down, also before 1970, so that time never runs ahead.
        let millis = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i128::from(after.as_secs()) * 1000 + i128::from(after.subsec_millis()),
            Err(before) => {
                let before = before.duration();
                -i128::from(before.as_secs()) * 1000
                    - i128::from(before.subsec_nanos().div_ceil(1_000_000))
            }
        };
        let millis = millis.clamp(FIRST_MILLI, LAST_MILLI);
        let (year, month, day) = date(millis.div_euclid(MILLIS_PER_DAY));
        let in_day = millis.rem_euclid(MILLIS_PER_DAY);
        Civil {
            year: small(year),
            month: small(month),
            day: small(day),
            hour: small(in_day / 3_600_000),
            minute: small(in_day / 60_000 % 60),
            second: small(in_day / 1000 % 60),
            millisecond: small(in_day % 1000),
        }
    }
}

impl fmt::Display for Civil {
    /// `2026-11-23T09:02:51.123`, without a zone: each text form has its own way to say UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}",
            self.year, self.month, self.day, self.hour, self.minute, self.second, self.millisecond
        )
    }
}

/// RFC 3339 section 5.6, always with milliseconds: `2026-11-23T09:02:51.123Z`.
pub fn rfc3339_millis(time: SystemTime) -> String {
    format!("{}Z", Civil::from(time))
}

/// As Lambda writes `LastModified`: `2026-11-23T09:02:51.123+0000`.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html>
pub fn last_modified(time: SystemTime) -> String {
    format!("{}+0000", Civil::from(time))
}

/// IMF-fixdate, the form of HTTP's `Date` (RFC 9110 section 5.6.7).
pub fn imf_fixdate(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let civil = Civil::from(time);
    let days = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    let day = DAYS[usize::try_from(days % 7).unwrap_or_default()]; // 1970-01-01 was a Thursday
    let month = MONTHS.get(usize::from(civil.month) - 1).copied().unwrap_or_default();
    format!(
        "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        civil.day, civil.year, civil.hour, civil.minute, civil.second
    )
}

/// Days since 1970-01-01 -> year, month, day.
///
/// Counted from 0000-03-01: with the leap day at the end of the year the months' lengths follow one
/// linear rule, (153 m + 2) / 5, and 400 years (146,097 days) repeat exactly.
pub(crate) fn date(days_since_1970: i128) -> (i128, i128, i128) {
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    // Without the leap days of 4 and 400 years, and with those left out every 100, 365 divides.
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i128::from(month <= 2), month, day)
}

/// The days from 1970-01-01 to a date: the other way round.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

/// A point in time from 1970 on in the form of RFC 3339, to the nanosecond. None for anything else.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize, low: i64, high: i64| {
        let digits = bytes.get(from..to)?;
        let number = digits.iter().try_fold(0_i64, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })?;
        (low..=high).contains(&number).then_some(number)
    };
    let is = |at: usize, among: &[u8]| bytes.get(at).is_some_and(|byte| among.contains(byte));
    let shape = [4, 7].iter().all(|&at| is(at, b"-")) && [13, 16].iter().all(|&at| is(at, b":"));
    if !shape || !is(10, b"Tt ") {
        return None;
    }
    let days = days(number(0, 4, 1970, 9999)?, number(5, 7, 1, 12)?, number(8, 10, 1, 31)?);
    let (hour, minute) = (number(11, 13, 0, 23)?, number(14, 16, 0, 59)?);
    let second = number(17, 19, 0, 60)?;
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".") {
        let digits = bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let counted = digits.min(9);
        nanos = number(20, 20 + counted, 0, 999_999_999)?
            * 10_i64.pow(9 - u32::try_from(counted).ok()?);
        if digits == 0 {
            return None;
        }
        at = 20 + digits;
    }
    let offset = match bytes.get(at..)? {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = number(at + 1, at + 3, 0, 23)? * 60 + number(at + 4, at + 6, 0, 59)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
    Some(UNIX_EPOCH + since)
}

/// The parts of a clamped time fit by construction.
fn small<T: TryFrom<i128> + Default>(value: i128) -> T {
    T::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: i64) -> SystemTime {
        let distance = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }

    #[test]
    fn known_points_are_written_as_date_1_writes_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_704_067_199_000, "2023-12-31T23:59:59.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_795_424_571_123, "2026-11-23T09:02:51.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_001, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339_millis(at(millis)), text, "{millis}");
        }
        assert_eq!(last_modified(at(1_795_424_571_123)), "2026-11-23T09:02:51.123+0000");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for millis in [0, 951_782_399_999, 1_795_424_571_123, 253_402_300_799_999] {
            let time = at(millis);
            assert_eq!(parse_rfc3339(&rfc3339_millis(time)), Some(time));
        }
        let same = [
            "2026-11-23T09:02:51.000000042Z",
            "2026-11-23t09:02:51.0000000429z",
            "2026-11-23 10:32:51.000000042+01:30",
            "2026-11-23T04:02:51.000000042-05:00",
        ];
        let time = UNIX_EPOCH + Duration::new(1_795_424_571, 42);
        for text in same {
            assert_eq!(parse_rfc3339(text), Some(time), "{text}");
        }
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T09:02:51",
            "2026-11-23T09:02:51.Z",
            "2026-13-23T09:02:51Z",
            "2026-11-23T09:02:61Z",
            "2026-11-23T09:02:51+0000",
            "1969-11-23T09:02:51Z",
            "1970-01-01T00:00:00+01:00",
            "20é6-11-23T09:02:51Z",
            "2026-11-23T09:02:51Zx",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn http_dates_name_the_day() {
        assert_eq!(imf_fixdate(at(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(imf_fixdate(at(1_795_424_571_123)), "Mon, 23 Nov 2026 09:02:51 GMT");
        assert_eq!(imf_fixdate(at(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn part_of_a_millisecond_is_rounded_down() {
        let nanos = Duration::from_nanos(1_999_999);
        assert_eq!(rfc3339_millis(UNIX_EPOCH + nanos), "1970-01-01T00:00:00.001Z");
        assert_eq!(rfc3339_millis(UNIX_EPOCH - nanos), "1969-12-31T23:59:59.998Z");
    }

    /// The other way round, day by day, by counting: every day of 1600 to 2400.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for days in -135_140..157_054 {
            assert_eq!(date(days), (year, month, day), "{days}");
            let parts = [year, month, day].map(|part| i64::try_from(part).unwrap());
            assert_eq!(i128::from(super::days(parts[0], parts[1], parts[2])), days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (2400, 1, 1));
    }
}
