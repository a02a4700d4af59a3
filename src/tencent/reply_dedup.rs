//! The request IDs of the last answers, and the connections that brought them. The server gives each request an ID of its
//! own, so a second copy of an answer is known by its ID.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

/// More than can be on the way at once, so that the copied answer is among them.
const REMEMBERED: usize = 1024;

/// The memory: hashes, since it is looked through with every answer. Two IDs with the same one, once in ten thousand
/// million million answers, would make one more answer count as lost, which is read back.
#[derive(Debug, Default)]
pub(super) struct Answers {
    hasher: RandomState,
    known: VecDeque<(u64, u64)>,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// No other one had its request ID.
    New,
    /// This connection brought one with its request ID.
    Earlier(u64),
}

impl Answers {
    /// Takes note of an answer's request ID and of the connection that brought it.
    pub(super) fn origin(&mut self, request_id: &str, connection: u64) -> Origin {
        let hash = self.hasher.hash_one(request_id);
        if let Some((_, earlier)) = self.known.iter().find(|(known, _)| *known == hash) {
            return Origin::Earlier(*earlier);
        }
        if self.known.len() == REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back((hash, connection));
        Origin::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_id_and_so_is_the_connection_that_brought_it() {
        let mut answers = Answers::default();
        assert_eq!([answers.origin("a", 1), answers.origin("b", 2)], [Origin::New; 2]);
        assert_eq!(answers.origin("a", 3), Origin::Earlier(1));
        assert_eq!(answers.origin("b", 2), Origin::Earlier(2));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut answers = Answers::default();
        assert!((0..=REMEMBERED).all(|number| answers.origin(&number.to_string(), 1) == Origin::New));
        assert_eq!(answers.origin(&REMEMBERED.to_string(), 1), Origin::Earlier(1));
        assert_eq!(answers.origin("0", 1), Origin::New, "the oldest is forgotten");
        assert_eq!(answers.known.len(), REMEMBERED);
    }
}
