//! The request IDs of the last answers. HTTP/1.1 tells answers apart by their order alone: when something on the way
//! sends one twice, the second copy looks like the answer to the next request on that connection. The server gives each
//! request an ID of its own, so a copy is known by its ID.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// More than can be on the way at once, so that the copied answer is among them.
const REMEMBERED: usize = 1024;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<VecDeque<String>>);

impl Answers {
    /// Takes note of an answer's request ID. False: an earlier answer had the same.
    pub(super) fn is_first(&self, request_id: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|id| id == request_id) {
            return false;
        }
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back(request_id.to_owned());
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
        assert_eq!(answers.0.lock().unwrap().len(), REMEMBERED);
    }
}
