//! How series are told from each other: by colour, and where there are more of them than colours by a pattern too.

/// Colours of a page: `s0` to `s7` in its style.
const COLOURS: usize = 8;

/// Patterns of each colour: the plain one, and `t1` to `t3` in the page's style.
const PATTERNS: usize = 4;

/// How one series looks. Those with a pattern have stripes across their bars and shapes along their lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    colour: usize,
    pattern: usize,
}

impl Look {
    /// That of the series with this number; the patterns begin when the colours are used up.
    pub(super) fn of(series: usize) -> Self {
        Self { colour: series % COLOURS, pattern: series / COLOURS % PATTERNS }
    }

    /// The class of its colour.
    pub(super) fn class(self) -> String {
        format!("s{}", self.colour)
    }

    /// Whether its lines need shapes.
    pub(super) fn has_shapes(self) -> bool {
        self.pattern > 0
    }

    /// The stripes over a bar, from its foot upwards; nothing where it is plain.
    pub(super) fn stripes(self, middle: f64, foot: f64, top: f64, width: f64) -> String {
        match self.pattern {
            0 => String::new(),
            pattern => format!(
                r#"<path class="stripes t{pattern}" stroke-width="{width:.1}" d="M{middle:.1} {foot:.1}V{top:.1}"/>"#
            ),
        }
    }

    /// The shape of a point: a dot, a square, a triangle or a diamond.
    pub(super) fn shape(self, x: f64, y: f64) -> String {
        let class = format!("mark {}", self.class());
        let outline = match self.pattern {
            0 => return format!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#),
            1 => "m-3.5 -3.5h7v7h-7z",
            2 => "m0 -4.5l4.5 8h-9z",
            _ => "m0 -5l4 5l-4 5l-4 -5z",
        };
        format!(r#"<path class="{class}" d="M{x:.1} {y:.1}{outline}"/>"#)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::contender::CONTENDERS_MAX;
    use crate::report::figure::{Key, Sign, key};

    #[test]
    fn as_many_series_look_different_as_a_legal_run_has() {
        for sign in [Sign::Bar, Sign::Curve] {
            let look = |series| key(&Key { label: String::new(), sign: sign(series) });
            let looks: BTreeSet<String> = (0..CONTENDERS_MAX).map(look).collect();
            assert_eq!(looks.len(), CONTENDERS_MAX);
        }
    }

    /// How eyes see colours: matrices over linear red, green and blue.
    const EYES: [(&str, [[f64; 3]; 3]); 4] = [
        ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        ("no long cones", [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.052]]),
        ("no middle cones", [[0.3673, 0.8606, -0.228], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
        ("no short cones", [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
    ];

    fn times(matrix: &[[f64; 3]; 3], colour: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(colour).map(|(factor, value)| factor * value).sum())
    }

    /// Red, green and blue of `#rrggbb`, each from 0 to 1 and linear in light.
    fn linear(hex: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// Its place in Oklab, where equal distances look equally different.
    fn seen(matrix: &[[f64; 3]; 3], hex: &str) -> [f64; 3] {
        const CONES: [[f64; 3]; 3] =
            [[0.41222, 0.53633, 0.05145], [0.2119, 0.6807, 0.1074], [0.0883, 0.28172, 0.62998]];
        const LAB: [[f64; 3]; 3] =
            [[0.21045, 0.79362, -0.00407], [1.978, -2.42859, 0.45059], [0.0259, 0.78277, -0.80868]];
        times(&LAB, times(&CONES, times(matrix, linear(hex)).map(|value| value.clamp(0.0, 1.0))).map(f64::cbrt))
    }

    /// The values of a variable of the page's style: for light, then for dark.
    fn values(name: &str) -> Vec<&'static str> {
        let name = format!("{name}: ");
        let values = include_str!("page.css").split(&name).skip(1);
        values.map(|rest| rest.split_once(';').expect("an end").0).collect()
    }

    #[test]
    fn colours_differ_for_every_kind_of_eye_in_light_and_dark() {
        let colours: Vec<Vec<&str>> = (0..COLOURS).map(|at| values(&format!("--s{at}"))).collect();
        for (scheme, (kind, matrix)) in (0..2).flat_map(|scheme| EYES.iter().map(move |eye| (scheme, eye))) {
            for (at, one) in colours.iter().enumerate() {
                for other in &colours[..at] {
                    let (a, b) = (seen(matrix, one[scheme]), seen(matrix, other[scheme]));
                    let apart = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                    assert!(apart > 0.12, "{kind}: {} and {} are {apart:.3} apart", one[scheme], other[scheme]);
                }
            }
        }
    }

    #[test]
    fn colours_stand_out_from_the_ground() {
        let light =
            |hex| linear(hex).iter().zip([0.2126, 0.7152, 0.0722]).map(|(value, part)| value * part).sum::<f64>();
        for (scheme, ground) in values("--soft").into_iter().enumerate() {
            for colour in (0..COLOURS).map(|at| values(&format!("--s{at}"))[scheme]) {
                let (low, high) = (light(ground).min(light(colour)), light(ground).max(light(colour)));
                assert!((high + 0.05) / (low + 0.05) > 2.4, "{colour} on {ground}");
            }
        }
    }
}
