//! Floating-point numbers as Python's `repr` spells them.

use std::fmt::{LowerExp, Write};

/// Appends the shortest digits that read back as the same number: a point always, an exponent (signed, two
/// digits at least) below 1e-4 and from 1e16 on. `value` is a finite `f32` or `f64`.
pub(super) fn push_finite(value: impl LowerExp, out: &mut String) {
    // The standard library gives the shortest digits as d.ddde±x; only the layout differs.
    let scientific = format!("{value:e}");
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

/// The spelling of a number that is not finite.
pub(super) fn not_finite(nan: bool, negative: bool) -> &'static str {
    match (nan, negative) {
        (true, _) => "NaN",
        (false, true) => "-Infinity",
        (false, false) => "Infinity",
    }
}
