//! Times of the log, RFC 3339 with any offset, to and from nanoseconds since 1970 UTC; exact, without floats.
//!
//! Days are counted with Howard Hinnant's `days_from_civil` and `civil_from_days` (chrono-compatible
//! low-level date algorithms), shifted to years that begin in March so that a leap day is a year's last.

use std::io::{self, Write};

const NS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// The first year whose nanoseconds do not fit into 63 bits.
const YEAR_END: i64 = 2262;

/// `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`: up to nine digits of fraction; `t`, `z` and a space for the `T`
/// are taken too, as RFC 3339 allows. A leap second is refused: it has no place on this scale.
pub(super) fn parse(text: &str) -> Result<u64, &'static str> {
    let bytes = text.as_bytes();
    let (date_time, rest) = bytes.split_at_checked(19).ok_or("too short")?;
    let separated = date_time[4] == b'-'
        && date_time[7] == b'-'
        && matches!(date_time[10], b'T' | b't' | b' ')
        && date_time[13] == b':'
        && date_time[16] == b':';
    if !separated {
        return Err("not of the form YYYY-MM-DDThh:mm:ss");
    }
    let year = digits(&date_time[..4])?;
    let month = digits(&date_time[5..7])?;
    let day = digits(&date_time[8..10])?;
    let second_of_day = second_of_day(&date_time[11..])?;
    if !(1..=12).contains(&month) {
        return Err("no such month");
    }
    if !(1..=days_in(year, month)).contains(&day) {
        return Err("no such day");
    }
    let (nanos, rest) = fraction(rest)?;
    let offset = offset(rest)?;
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + second_of_day - offset;
    let latest = days_from_civil(YEAR_END, 1, 1) * SECONDS_PER_DAY;
    if seconds >= latest {
        return Err("after 2261");
    }
    let seconds = u64::try_from(seconds).map_err(|_| "before 1970")?;
    Ok(seconds * NS_PER_SECOND + nanos)
}

/// Writes a time in UTC with as many digits of fraction as it needs: none, three, six or nine.
///
/// # Errors
///
/// Those of the writer.
pub(crate) fn write_utc(out: &mut impl Write, time_ns: u64) -> io::Result<()> {
    let seconds = (time_ns / NS_PER_SECOND).cast_signed();
    let nanos = time_ns % NS_PER_SECOND;
    let (year, month, day) = civil_from_days(seconds / SECONDS_PER_DAY);
    let second = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
    match nanos {
        0 => write!(out, "Z"),
        _ if nanos.is_multiple_of(1_000_000) => write!(out, ".{:03}Z", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => write!(out, ".{:06}Z", nanos / 1_000),
        _ => write!(out, ".{nanos:09}Z"),
    }
}

fn digits(bytes: &[u8]) -> Result<i64, &'static str> {
    bytes.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Ok(number * 10 + i64::from(byte - b'0')),
        _ => Err("not a digit where one should be"),
    })
}

fn second_of_day(time: &[u8]) -> Result<i64, &'static str> {
    let (hour, minute, second) = (digits(&time[..2])?, digits(&time[3..5])?, digits(&time[6..8])?);
    match (hour, minute, second) {
        (24.., _, _) => Err("no such hour"),
        (_, 60.., _) => Err("no such minute"),
        (_, _, 60..) => Err("no such second"),
        _ => Ok((hour * 60 + minute) * 60 + second),
    }
}

fn fraction(rest: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let Some(rest) = rest.strip_prefix(b".") else { return Ok((0, rest)) };
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&len) {
        return Err("a fraction of no or more than nine digits");
    }
    let (fraction, rest) = rest.split_at(len);
    let number = fraction.iter().fold(0, |number, byte| number * 10 + u64::from(byte - b'0'));
    let scale = (len..9).fold(1, |scale, _| scale * 10);
    Ok((number * scale, rest))
}

/// The seconds by which the clock that was read is ahead of UTC.
fn offset(rest: &[u8]) -> Result<i64, &'static str> {
    let sign = match rest {
        b"Z" | b"z" => return Ok(0),
        [] => return Err("no offset from UTC"),
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return Err("not Z or an offset of the form +hh:mm at the end"),
    };
    match (digits(&rest[1..3])?, digits(&rest[4..6])?) {
        (24.., _) | (_, 60..) => Err("no such offset"),
        (hours, minutes) => Ok(sign * (hours * 60 + minutes) * 60),
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date from year 0 on.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date of a day from 1970-01-01 on.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(time_ns: u64) -> String {
        let mut out = Vec::new();
        write_utc(&mut out, time_ns).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_first_event_of_the_real_log_is_exact() {
        assert_eq!(parse("2011-10-01T00:38:44.546+02:00"), Ok(1_317_422_324_546_000_000));
        assert_eq!(written(1_317_422_324_546_000_000), "2011-09-30T22:38:44.546Z");
    }

    #[test]
    fn what_is_not_a_time_says_why() {
        for (text, problem) in [
            ("", "too short"),
            ("2011-10-01", "too short"),
            ("2011/10/01T00:38:44Z", "not of the form YYYY-MM-DDThh:mm:ss"),
            ("2011-1a-01T00:38:44Z", "not a digit where one should be"),
            ("2011-13-01T00:38:44Z", "no such month"),
            ("2011-02-29T00:38:44Z", "no such day"),
            ("2011-10-01T24:00:00Z", "no such hour"),
            ("2011-10-01T00:60:00Z", "no such minute"),
            ("2016-12-31T23:59:60Z", "no such second"),
            ("2011-10-01T00:38:44", "no offset from UTC"),
            ("2011-10-01T00:38:44.Z", "a fraction of no or more than nine digits"),
            ("2011-10-01T00:38:44.0123456789Z", "a fraction of no or more than nine digits"),
            ("2011-10-01T00:38:44+0200", "not Z or an offset of the form +hh:mm at the end"),
            ("2011-10-01T00:38:44+24:00", "no such offset"),
            ("2011-10-01T00:38:44Zz", "not Z or an offset of the form +hh:mm at the end"),
            ("1970-01-01T00:00:00+00:01", "before 1970"),
            ("0000-01-01T00:00:00Z", "before 1970"),
            ("2262-01-01T00:00:00Z", "after 2261"),
            ("2011-10-01T00:38:4é", "not a digit where one should be"),
        ] {
            assert_eq!(parse(text), Err(problem), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_time_reads_back_and_agrees_with_jiff(time_ns in 0..9_214_646_400_000_000_000_u64) {
            let text = written(time_ns);
            prop_assert_eq!(parse(&text), Ok(time_ns));
            let timestamp: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(timestamp.as_nanosecond(), i128::from(time_ns));
        }

        #[test]
        fn any_offset_agrees_with_jiff(seconds in 100_000..9_000_000_000_i64, hours in 0..24, minutes in 0..60, ahead: bool) {
            let sign = if ahead { '+' } else { '-' };
            let local = written(seconds.cast_unsigned() * NS_PER_SECOND);
            let text = format!("{}.25{sign}{hours:02}:{minutes:02}", &local[..19]);
            let timestamp: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(parse(&text).map(i128::from), Ok(timestamp.as_nanosecond()));
        }

        #[test]
        fn no_text_panics(text in "[-0-9TZz:.+ é]{0,40}") {
            let _ = parse(&text);
        }
    }
}
