//! Recognizes a copy of an earlier reply. The server gives each request a `RequestId` of its own, so two replies with
//! the same one are copies.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

/// More than can be in flight at once, so that the original of a copy is among them.
const CAPACITY: usize = 1024;

/// The request IDs of the last replies, and the connection that received each.
///
/// IDs are kept as hashes, since each reply is compared with all of them. A collision, one in 10^16 replies, makes a reply
/// count as lost; its certificate is then read back.
#[derive(Debug, Default)]
pub(super) struct SeenReplies {
    hasher: RandomState,
    seen: VecDeque<(u64, u64)>,
}

impl SeenReplies {
    /// Records a reply. Returns the connection that received an earlier one with the same ID, if any.
    pub(super) fn record(&mut self, request_id: &str, connection: u64) -> Option<u64> {
        let hash = self.hasher.hash_one(request_id);
        if let Some((_, earlier)) = self.seen.iter().find(|(seen, _)| *seen == hash) {
            return Some(*earlier);
        }
        if self.seen.len() == CAPACITY {
            self.seen.pop_front();
        }
        self.seen.push_back((hash, connection));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_recognized_with_the_connection_that_received_the_original() {
        let mut replies = SeenReplies::default();
        assert_eq!([replies.record("a", 1), replies.record("b", 2)], [None; 2]);
        assert_eq!(replies.record("a", 3), Some(1));
        assert_eq!(replies.record("b", 2), Some(2));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut replies = SeenReplies::default();
        assert!((0..=CAPACITY).all(|number| replies.record(&number.to_string(), 1).is_none()));
        assert_eq!(replies.record(&CAPACITY.to_string(), 1), Some(1));
        assert_eq!(replies.record("0", 1), None, "the oldest is forgotten");
        assert_eq!(replies.seen.len(), CAPACITY);
    }
}
