//! Functions of civil time, in UTC: the Gregorian calendar, carried on without end in both directions as Go carries it.

const SECONDS_OF_DAY: u64 = 86_400;

/// Days of four centuries, after which the calendar repeats.
const DAYS_OF_ERA: i128 = 146_097;

/// Go counts seconds without sign from a first of March this long before the epoch.
const BEFORE_EPOCH: u64 = 9_223_372_028_741_760_000;

struct Civil {
    year: i128,
    /// From 1.
    month: u32,
    day: u32,
    /// From 1.
    day_of_year: u32,
    /// 0 is Sunday.
    weekday: u32,
    second_of_day: u64,
}

fn is_leap(year: i128) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i128, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What is no 64-bit number of seconds counts as the least one: so does Go on the machines that most run on.
fn civil(seconds: f64) -> Civil {
    let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&seconds);
    // Parts of a second are cut off.
    let unix = if in_range { seconds as i64 } else { i64::MIN };
    let absolute = unix.cast_unsigned().wrapping_add(BEFORE_EPOCH);
    let days = i128::from(absolute / SECONDS_OF_DAY) - i128::from(BEFORE_EPOCH / SECONDS_OF_DAY);

    // Years begin in March, so that the leap day is a year's last.
    let from_march = days + 719_468;
    let era = from_march.div_euclid(DAYS_OF_ERA);
    let day_of_era = from_march.rem_euclid(DAYS_OF_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_march_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_march_year + 2) / 153;
    let small = |n: i128| u32::try_from(n).unwrap_or(0);
    let day = small(day_of_march_year - (153 * march_month + 2) / 5 + 1);
    let month = small(if march_month < 10 { march_month + 3 } else { march_month - 9 });
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    let day_of_year = (1..month).map(|m| days_of(year, m)).sum::<u32>() + day;
    // The epoch was a Thursday.
    let weekday = small((days + 4).rem_euclid(7));
    Civil { year, month, day, day_of_year, weekday, second_of_day: absolute % SECONDS_OF_DAY }
}

pub fn day_of_month(seconds: f64) -> f64 {
    civil(seconds).day.into()
}

/// 0 is Sunday.
pub fn day_of_week(seconds: f64) -> f64 {
    civil(seconds).weekday.into()
}

pub fn day_of_year(seconds: f64) -> f64 {
    civil(seconds).day_of_year.into()
}

pub fn days_in_month(seconds: f64) -> f64 {
    let civil = civil(seconds);
    days_of(civil.year, civil.month).into()
}

pub fn hour(seconds: f64) -> f64 {
    (civil(seconds).second_of_day / 3600) as f64
}

pub fn minute(seconds: f64) -> f64 {
    (civil(seconds).second_of_day % 3600 / 60) as f64
}

pub fn month(seconds: f64) -> f64 {
    civil(seconds).month.into()
}

pub fn year(seconds: f64) -> f64 {
    civil(seconds).year as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds, and what Go makes of them: year, month, day, weekday, day of the year, hour, minute, days in the month.
    const OF_GO: &[(f64, [f64; 8])] = &[
        (0.0, [1970.0, 1.0, 1.0, 4.0, 1.0, 0.0, 0.0, 31.0]),
        (-1.0, [1969.0, 12.0, 31.0, 3.0, 365.0, 23.0, 59.0, 31.0]),
        (1e9, [2001.0, 9.0, 9.0, 0.0, 252.0, 1.0, 46.0, 30.0]),
        (951_782_400.0, [2000.0, 2.0, 29.0, 2.0, 60.0, 0.0, 0.0, 29.0]),
        (-6.213_559_680_1e10, [0.0, 12.0, 31.0, 0.0, 366.0, 23.0, 59.0, 31.0]),
        (-1e11, [-1199.0, 2.0, 15.0, 4.0, 46.0, 14.0, 13.0, 28.0]),
        (1e15, [31_690_708.0, 7.0, 5.0, 0.0, 187.0, 1.0, 46.0, 31.0]),
        (9e18, [285_198_648_531.0, 4.0, 21.0, 6.0, 111.0, 16.0, 0.0, 30.0]),
        (-9e18, [-285_198_644_592.0, 9.0, 12.0, 1.0, 256.0, 8.0, 0.0, 30.0]),
        (f64::NAN, [292_277_026_596.0, 12.0, 4.0, 0.0, 339.0, 15.0, 30.0, 31.0]),
        (1e300, [292_277_026_596.0, 12.0, 4.0, 0.0, 339.0, 15.0, 30.0, 31.0]),
        (9_223_372_036_854_774_784.0, [292_277_026_596.0, 12.0, 4.0, 0.0, 339.0, 15.0, 13.0, 31.0]),
    ];

    #[test]
    fn any_number_of_seconds_is_the_time_that_go_takes_it_for() {
        for (seconds, wanted) in OF_GO {
            let parts = [year, month, day_of_month, day_of_week, day_of_year, hour, minute, days_in_month];
            assert_eq!(parts.map(|f| f(*seconds)), *wanted, "{seconds}");
        }
    }
}
