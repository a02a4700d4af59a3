//! The request IDs of the last answers. HTTP/1.1 tells answers apart by their order alone: when something on the way
//! sends one twice, the second copy looks like the answer to the next request on that connection. The server gives each
//! request an ID of its own, so a copy is known by its ID.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

/// More than can be on the way at once, so that the copied answer is among them.
const REMEMBERED: usize = 1024;

/// The memory: hashes, since it is looked through with every answer. Two IDs with the same one, once in ten thousand
/// million million answers, would make one more answer count as lost, which is read back.
#[derive(Debug, Default)]
pub(super) struct Answers {
    hasher: RandomState,
    known: Mutex<VecDeque<u64>>,
}

impl Answers {
    /// Takes note of an answer's request ID. False: an earlier answer had the same.
    pub(super) fn is_first(&self, request_id: &str) -> bool {
        let hash = self.hasher.hash_one(request_id);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&hash) {
            return false;
        }
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back(hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_id() {
        let answers = Answers::default();
        assert!(answers.is_first("a") && answers.is_first("b"));
        assert!(!answers.is_first("a") && !answers.is_first("b"));
    }

    #[test]
    fn the_memory_is_bounded() {
        let answers = Answers::default();
        assert!((0..=REMEMBERED).all(|number| answers.is_first(&number.to_string())));
        assert!(!answers.is_first(&REMEMBERED.to_string()));
        assert!(answers.is_first("0"), "the oldest is forgotten");
        assert_eq!(answers.known.lock().unwrap().len(), REMEMBERED);
    }
}
