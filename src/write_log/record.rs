//! Records as bytes: RESP arrays of bulk strings, as a client would send them.

/// Writes the head of a request with this many words.
#[inline]
pub fn encode_head(out: &mut Vec<u8>, words: usize) {
    encode_number(out, b'*', words);
}

/// Writes one word of a request.
#[inline]
pub fn encode_word(out: &mut Vec<u8>, word: &[u8]) {
    encode_number(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole request.
pub fn encode_request(out: &mut Vec<u8>, words: &[&[u8]]) {
    encode_head(out, words.len());
    for word in words {
        encode_word(out, word);
    }
}

pub(super) fn encode_select(out: &mut Vec<u8>, database: usize) {
    encode_request(out, &[b"SELECT", itoa::Buffer::new().format(database).as_bytes()]);
}

#[inline]
fn encode_number(out: &mut Vec<u8>, mark: u8, number: usize) {
    out.push(mark);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}
