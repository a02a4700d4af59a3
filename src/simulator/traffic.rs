//! What the simulator has received and done, and ways to wait for it without sleeping.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::arrivals::Arrival;
use super::server::Simulator;
use crate::submission::Standing;

impl Simulator {
    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.service().arrivals.clone()
    }

    /// The commits so far, by either action.
    #[must_use]
    pub fn commits(&self) -> Vec<Arrival> {
        self.select(Arrival::is_commit)
    }

    /// The commits of one certificate so far.
    #[must_use]
    pub fn commits_of(&self, id: &str) -> Vec<Arrival> {
        self.select(|arrival| arrival.is_commit() && arrival.certificate_id.as_deref() == Some(id))
    }

    /// The reads so far.
    #[must_use]
    pub fn reads(&self) -> Vec<Arrival> {
        self.select(Arrival::is_read)
    }

    /// The reads of one certificate so far.
    #[must_use]
    pub fn reads_of(&self, id: &str) -> Vec<Arrival> {
        self.select(|arrival| arrival.is_read() && arrival.certificate_id.as_deref() == Some(id))
    }

    /// The requests for the statuses of several certificates so far.
    #[must_use]
    pub fn lists(&self) -> Vec<Arrival> {
        self.select(Arrival::is_list)
    }

    /// When the commits so far arrived.
    #[must_use]
    pub fn commit_times(&self) -> Vec<Instant> {
        self.commits().iter().map(|arrival| arrival.at).collect()
    }

    /// How many orders were placed for one certificate.
    #[must_use]
    pub fn orders_placed(&self, id: &str) -> usize {
        self.shared.service().certificates.get(id).map_or(0, |certificate| certificate.orders)
    }

    /// How many orders were placed for all certificates.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.shared.service().orders
    }

    /// The order ID that the service holds for a certificate.
    #[must_use]
    pub fn order_id(&self, id: &str) -> Option<String> {
        self.shared.service().certificates.get(id)?.order_id.clone()
    }

    /// How many orders stand how; none, while the CA may still decide about one.
    #[must_use]
    pub fn decided(&self, now: Instant) -> Option<Vec<(Standing, i64)>> {
        self.shared.service().decided(now)
    }

    /// How many connections were opened so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Waits until the condition holds. It is checked at each arrival and each order.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits for the arrival of the `n`th commit.
    pub async fn until_commits(&self, n: usize) {
        self.until(|simulator| simulator.count(Arrival::is_commit) >= n).await;
    }

    /// Waits for the arrival of the `n`th read.
    pub async fn until_reads(&self, n: usize) {
        self.until(|simulator| simulator.count(Arrival::is_read) >= n).await;
    }

    /// Waits for the `n`th order.
    pub async fn until_orders(&self, n: usize) {
        self.until(|simulator| simulator.orders() >= n).await;
    }

    fn select(&self, of: impl Fn(&Arrival) -> bool) -> Vec<Arrival> {
        self.shared.service().arrivals.iter().filter(|arrival| of(arrival)).cloned().collect()
    }

    fn count(&self, of: impl Fn(&Arrival) -> bool) -> usize {
        self.shared.service().arrivals.iter().filter(|arrival| of(arrival)).count()
    }
}
