//! Control characters, which keys, ids and content types do not have.

/// The first one of a text, and at which byte it stands.
pub(crate) fn control_character(text: &str) -> Option<(usize, char)> {
    // Most texts are ASCII: one look at each byte settles them without decoding.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return None;
    }
    text.char_indices().find(|(_, character)| character.is_control())
}
