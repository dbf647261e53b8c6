//! Student's distribution, by the incomplete beta function.
//!
//! Source: Abramowitz and Stegun, 26.5.8 (continued fraction) and 26.7.1; the gamma function by Lanczos.

/// The chance that a value of this many degrees of freedom is above `t`.
pub(super) fn above(t: f64, freedom: f64) -> f64 {
    let tail = incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5) / 2.0;
    if t >= 0.0 { tail } else { 1.0 - tail }
}

/// The value that is exceeded with this chance, which lies in (0, 0.5].
pub(super) fn exceeded_with(chance: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while above(high, freedom) > chance {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if above(middle, freedom) > chance { low = middle } else { high = middle }
    }
    high
}

/// The regularized incomplete beta function, for `x` in [0, 1].
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    // The fraction converges fast on this side of the middle only.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

/// The continued fraction, by Lentz.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut sum) = (1.0, d);
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = sum;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            sum *= d * c;
        }
        if (sum / before - 1.0).abs() < 1e-14 {
            break;
        }
    }
    sum
}

fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.001_208_650_973_866_179,
        -0.000_005_395_239_384_953,
    ];
    let shifted = x + 5.5;
    let sum = (1..).zip(TERMS).fold(1.000_000_000_190_015, |sum, (n, term)| sum + term / (x + f64::from(n)));
    (x + 0.5) * shifted.ln() - shifted + (2.506_628_274_631_000_5 * sum / x).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_those_of_the_printed_tables() {
        for (freedom, chance, wanted) in [
            (1.0, 0.05, 6.3138),
            (2.0, 0.025, 4.3027),
            (4.0, 0.05, 2.1318),
            (8.0, 0.01, 2.8965),
            (8.0, 0.001, 4.5008),
            (30.0, 0.005, 2.7500),
            (120.0, 0.05, 1.6577),
        ] {
            let found = exceeded_with(chance, freedom);
            assert!((found - wanted).abs() < 1e-4, "{freedom}, {chance}: {found} is not {wanted}");
            assert!((above(found, freedom) - chance).abs() < 1e-9);
        }
    }

    #[test]
    fn both_sides_are_alike() {
        for t in [0.0, 0.3, 1.0, 5.0, 40.0] {
            assert!((above(t, 7.3) + above(-t, 7.3) - 1.0).abs() < 1e-12);
        }
        assert!((above(0.0, 3.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn one_degree_of_freedom_is_the_cauchy_distribution() {
        for t in [0.1_f64, 1.0, 3.0, 100.0] {
            let wanted = 0.5 - t.atan() / std::f64::consts::PI;
            assert!((above(t, 1.0) - wanted).abs() < 1e-9, "{t}");
        }
    }
}
