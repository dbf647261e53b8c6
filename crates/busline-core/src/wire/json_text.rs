//! Text between the quotes of JSON.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

/// How many bytes stand before the first `"`, `\` or control character: those that are written as they are.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|&&byte| !is_special(byte)).count()
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of each byte that is special.
///
/// A borrow may set the bit of a byte behind a special one, never of one before it, so the lowest bit is right.
fn special_bytes(word: u64) -> u64 {
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH_BITS
}

/// Appends the text as it stands between the quotes of JSON.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else { return };
        write_escape(byte, out);
        rest = behind;
    }
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a member of which `lead` is all that stands before the text, its opening quote included.
pub(super) fn write_member(lead: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(lead.as_bytes());
    write_text(text, out);
    out.push(b'"');
}

/// The same for a member that is left out if there is no text.
pub(super) fn write_optional(lead: &str, text: Option<&str>, out: &mut Vec<u8>) {
    if let Some(text) = text {
        write_member(lead, text, out);
    }
}

/// Appends the number with leading zeros, 20 digits in all.
pub(super) fn write_padded(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&padded(number));
}

/// Appends the number without leading zeros.
pub(super) fn write_number(number: u64, out: &mut Vec<u8>) {
    let digits = padded(number);
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count().min(19);
    out.extend_from_slice(&digits[zeros..]);
}

fn padded(mut number: u64) -> [u8; 20] {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = vec![b'"'];
        write_text(text, &mut out);
        out.push(b'"');
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_character_is_written_as_serde_writes_it() {
        for character in '\0'..=char::MAX {
            let text = format!("ab{character}");
            assert_eq!(written(&text), serde_json::to_string(&text).expect("JSON"));
        }
    }

    #[test]
    fn the_first_special_byte_is_found_at_every_place_and_among_all_neighbours() {
        for special in (0..=0x1f).chain([b'"', b'\\']) {
            for at in 0..20 {
                for neighbour in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff, b'"', 0] {
                    let mut bytes = vec![b'a'; 20];
                    bytes[at] = special;
                    bytes[at + 1..].fill(neighbour);
                    assert_eq!(plain_prefix(&bytes), at);
                }
            }
        }
        let plain: Vec<u8> = (0x20..=0xff).filter(|byte| !is_special(*byte)).collect();
        assert_eq!(plain_prefix(&plain), plain.len());
    }

    #[test]
    fn numbers_are_written_at_both_ends_of_their_range() {
        for number in [0, 1, 9, 10, u64::MAX] {
            let (mut bare, mut full) = (Vec::new(), Vec::new());
            write_number(number, &mut bare);
            write_padded(number, &mut full);
            assert_eq!(bare, number.to_string().into_bytes());
            assert_eq!(full, format!("{number:020}").into_bytes());
        }
    }
}
