//! Which files the ranking reads, in which order, and how much of each.

use super::super::ScanLimits;
use super::super::languages::{self, Role};
use super::super::listing::{File, Listing};
use super::super::sorts::Sort;
use super::marks::Marks;

/// The files to read and the bytes of each.
#[derive(Debug)]
pub struct Plan {
    /// Indexes into the listing.
    pub order: Vec<usize>,
    /// Own files that did not fit.
    pub not_reached: u64,
    bytes_each: u64,
}

impl Plan {
    /// While all own text fits into the budget, files are read whole; else their heads, first of
    /// those that the prompt or its words name by path, then code before the rest, one file of
    /// each folder before the second of any: so a part stands for the whole.
    pub fn new(listing: &Listing<'_>, marks: &Marks, limits: &ScanLimits) -> Self {
        let own = |file: &File<'_>| file.sort == Sort::Own && file.is_listable() && file.size > 0;
        let whole = |file: &File<'_>| file.size.min(limits.whole_file_bytes);
        let text_bytes = listing.files().iter().filter(|file| own(file)).map(whole).sum::<u64>();
        let fits = text_bytes <= limits.ranking_bytes;
        let bytes_each = if fits { limits.whole_file_bytes } else { limits.head_bytes };

        let mut folder = None;
        let mut place_in_folder = 0u32;
        let mut keyed = Vec::new();
        for (index, file) in listing.files().iter().enumerate() {
            if folder != Some(file.folder()) {
                folder = Some(file.folder());
                place_in_folder = 0;
            }
            if !own(file) {
                continue;
            }
            let mark = &marks.files[index];
            let hits = u32::MAX - mark.terms.count_ones();
            let is_code = matches!(
                languages::by_path(file.path.as_bytes()),
                Some((_, Role::Code | Role::Markup))
            );
            keyed.push((mark.mention.is_none(), hits, !is_code, place_in_folder, index));
            place_in_folder += 1;
        }
        keyed.sort_unstable();

        let mut left = limits.ranking_bytes;
        let mut order = Vec::new();
        let mut not_reached = 0;
        for (.., index) in keyed {
            let cost = listing.files()[index].size.min(bytes_each);
            if cost <= left {
                left -= cost;
                order.push(index);
            } else {
                not_reached += 1;
            }
        }
        Self { order, not_reached, bytes_each }
    }

    /// How many bytes of `file` are read.
    pub fn bytes_of(&self, file: &File<'_>) -> usize {
        usize::try_from(file.size.min(self.bytes_each)).unwrap_or(usize::MAX)
    }
}
