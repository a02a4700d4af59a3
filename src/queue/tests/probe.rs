//! Probes: which row one claims while commits are paused by a fault.

use super::*;

impl Site {
    /// Claims the commit of a probe, and completes it as refused for the account.
    async fn probe(&mut self, seconds: u64, number: u32) -> String {
        let limits = ClaimLimits { commits: 1, probe: Some(number), ..ClaimLimits::default() };
        let request = BatchRequest { limits, ..claiming(1, 0) };
        let [claim] = <[Claim; 1]>::try_from(self.batch(seconds, &request).await.unwrap().commits()).unwrap();
        let result = self.ended(seconds, &claim, refused_with(OutcomeClass::Account));
        self.complete(seconds, result).await;
        claim.certificate_id.to_string()
    }
}

#[tokio::test]
async fn probes_rotate_through_the_priorities_and_each_claims_another_row() {
    let mut site = Site::new().await;
    for (name, priority) in [("u1", 3), ("u2", 3), ("u3", 3), ("high", 2), ("l1", 0), ("l2", 0)] {
        site.enqueue(NewSubmission { priority, ..new(name) }).await;
    }
    let mut probed = Vec::new();
    for number in 0..8 {
        probed.push(site.probe(60 * u64::from(number), number).await);
    }
    // The third one finds no row of its own priority, and takes one of the next.
    assert_eq!(probed, ["u1", "high", "l1", "l2", "u2", "high", "l1", "l2"]);
}

#[tokio::test]
async fn every_probe_claims_a_row_if_there_is_only_one_priority() {
    let mut site = Site::new().await;
    site.enqueue(NewSubmission { priority: 2, ..new("a") }).await;
    for number in [0, 1, 2, 3, u32::MAX] {
        assert_eq!(site.probe(u64::from(number % 7), number).await, "a");
    }
}
