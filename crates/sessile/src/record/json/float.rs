//! Floating-point numbers as Python's `repr` spells them.

use std::fmt::{LowerExp, Write};
use std::str::FromStr;

/// Appends the shortest digits that read back as the same number: a point always, an exponent (signed, two
/// digits at least) below 1e-4 and from 1e16 on. `value` is a finite `f32` or `f64`.
pub(super) fn push_finite<F: LowerExp + FromStr + PartialEq + Copy>(value: F, out: &mut String) {
    let scientific = shortest(value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (first, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    out.push_str(sign);
    match exponent {
        -4..0 => {
            out.push_str("0.");
            (1..-exponent).for_each(|_| out.push('0'));
            out.push_str(first);
            out.push_str(fraction);
        }
        0..16 => {
            let whole = exponent.unsigned_abs() as usize;
            out.push_str(first);
            out.push_str(fraction.get(..whole).unwrap_or(fraction));
            (fraction.len()..whole).for_each(|_| out.push('0'));
            out.push('.');
            out.push_str(fraction.get(whole..).filter(|rest| !rest.is_empty()).unwrap_or("0"));
        }
        _ => {
            out.push_str(mantissa);
            let sign = if exponent < 0 { '-' } else { '+' };
            // Writing to a String cannot fail.
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        }
    }
}

/// The shortest digits, as `d.ddde±x`.
fn shortest<F: LowerExp + FromStr + PartialEq + Copy>(value: F) -> String {
    let shortest = format!("{value:e}");
    // Where two such texts are equally near, the standard library takes the upper one and Python the one that
    // ends in an even digit: as does the standard library when it is told how many digits to write.
    let decimals = shortest.bytes().take_while(|&byte| byte != b'e').filter(u8::is_ascii_digit).count() - 1;
    let nearest = format!("{value:.decimals$e}");
    if nearest.parse().is_ok_and(|read: F| read == value) { nearest } else { shortest }
}

/// The spelling of a number that is not finite.
pub(super) fn not_finite(nan: bool, negative: bool) -> &'static str {
    match (nan, negative) {
        (true, _) => "NaN",
        (false, true) => "-Infinity",
        (false, false) => "Infinity",
    }
}
