//! Formats durations as kubectl does.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Formats a number of seconds in its largest unit, and the next smaller unit if the number is small:
/// `45s`, `9m30s`, `80m`, `7h59m`, `3d`. Negative numbers count as zero.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let two = |large: i64, unit: &str, small: i64, rest: &str| {
        let (count, left) = (seconds / large, seconds % large / small);
        match left {
            0 => format!("{count}{unit}"),
            left => format!("{count}{unit}{left}{rest}"),
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}

/// Returns the seconds from `now` until a time in RFC 3339; `None` if it cannot be parsed.
pub(super) fn seconds_until(time: &str, now: Timestamp) -> Option<i64> {
    let time: Timestamp = time.parse().ok()?;
    Some(time.duration_since(now).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_as_exact_as_it_is_short() {
        for (seconds, shown) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (7200, "120m"),
            (10_800, "3h"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
        ] {
            assert_eq!(span(seconds), shown, "{seconds}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_no_number_of_seconds() {
        let now: Timestamp = "2026-11-23T02:06:38Z".parse().expect("a time");
        assert_eq!(seconds_until("2026-11-23T02:07:38Z", now), Some(60));
        assert_eq!(seconds_until("2026-11-23T02:05:38Z", now), Some(-60));
        assert_eq!(seconds_until("soon", now), None);
    }
}
