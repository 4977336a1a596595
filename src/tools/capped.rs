//! Results within bounds: what enters a conversation stays in it for good.

/// The most characters of one result.
pub const MAX_CHARACTERS: usize = 30_000;

/// `text`, or its beginning and end with a line that says where the whole can be read.
pub fn capped(text: &str, place: &str) -> (String, bool) {
    if text.len() <= MAX_CHARACTERS {
        return (text.to_owned(), false);
    }
    let half = MAX_CHARACTERS / 2;
    let mut head_end = half;
    while !text.is_char_boundary(head_end) {
        head_end -= 1;
    }
    let mut tail_start = text.len() - half;
    while !text.is_char_boundary(tail_start) {
        tail_start += 1;
    }
    let cut = tail_start - head_end;
    let note =
        format!("\n[… {cut} bytes left out; view {place} with a view_range to read the whole …]\n");
    (format!("{}{note}{}", &text[..head_end], &text[tail_start..]), true)
}
