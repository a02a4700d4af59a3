//! The service's state, and what it decides about each request. No I/O.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Options;
use super::arrivals::Arrival;
use super::certificate::Certificate;
use super::fault::{Fault, Mixture, ReadFault, Script};
use super::reply::{Delivery, error, padded, submitted, success};
use super::request::{Account, Ask, Incoming};
use crate::clock::Now;
use crate::submission::status_text;

const SECOND: Duration = Duration::from_secs(1);

/// What becomes of one request.
#[derive(Debug)]
pub(super) struct Plan {
    /// How long the answer takes.
    pub(super) wait: Duration,
    pub(super) delivery: Delivery,
    /// A certificate whose order is placed only after this long.
    pub(super) late_order: Option<(String, Duration)>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) account: Account,
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) rate_limit: Option<u32>,
    pub(super) read_rate_limit: Option<u32>,
    strict: bool,
    seed: u64,
    random: fastrand::Rng,
    pub(super) outage: Option<String>,
    pub(super) mixture: Mixture,
    pub(super) certificates: HashMap<String, Certificate>,
    pub(super) commit_scripts: HashMap<String, Script<Fault>>,
    pub(super) read_scripts: HashMap<String, Script<ReadFault>>,
    pub(super) arrivals: Vec<Arrival>,
    /// When the requests of the last second that weren't refused for their rate arrived, by action.
    granted: HashMap<String, VecDeque<Instant>>,
    orders: usize,
}

impl State {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            account: Account { secret_id: options.secret_id.clone(), secret_key: options.secret_key.clone() },
            latency: options.latency,
            jitter: options.jitter,
            rate_limit: options.rate_limit,
            read_rate_limit: options.read_rate_limit,
            strict: options.strict,
            seed: options.seed,
            random: fastrand::Rng::with_seed(options.seed),
            outage: None,
            mixture: Mixture::default(),
            certificates: HashMap::new(),
            commit_scripts: HashMap::new(),
            read_scripts: HashMap::new(),
            arrivals: Vec::new(),
            granted: HashMap::new(),
            orders: 0,
        }
    }

    /// Records a request's arrival and decides what becomes of it.
    pub(super) fn receive(&mut self, request: &Incoming<'_>, connection: u64, now: Now) -> Plan {
        let request_id = format!("00000000-0000-4000-8000-{:012x}", self.arrivals.len() + 1);
        let mut plan = Plan { wait: self.latency + self.jitter.mul_f64(self.random.f64()), ..Plan::refusal("", "") };
        let answer = match self.admit(request, now) {
            Err(code) => {
                plan.delivery = Delivery::Json(error(&code, &request_id));
                code
            }
            Ok((Ask::Describe, id)) => self.read(&id, &request_id, &mut plan),
            Ok((Ask::Commit | Ask::OrderSubmit, id)) => self.commit(&id, &request_id, &mut plan),
        };
        self.arrivals.push(Arrival {
            at: now.instant,
            action: request.action().to_owned(),
            certificate_id: request.certificate_id().map(str::to_owned),
            verify_type: request.verify_type().map(str::to_owned),
            answer,
            connection,
        });
        plan
    }

    /// Lets a request through to the service, or not.
    fn admit(&mut self, request: &Incoming<'_>, now: Now) -> Result<(Ask, String), String> {
        if let Some(code) = &self.outage {
            return Err(code.clone());
        }
        let ask = request.check(&self.account, now.unix.seconds())?;
        let limit = if ask == Ask::Describe { self.read_rate_limit } else { self.rate_limit };
        let granted = self.granted.entry(request.action().to_owned()).or_default();
        while granted.front().is_some_and(|at| now.instant.duration_since(*at) >= SECOND) {
            granted.pop_front();
        }
        if limit.is_some_and(|limit| u32::try_from(granted.len()).unwrap_or(u32::MAX) >= limit) {
            return Err("RequestLimitExceeded".to_owned());
        }
        granted.push_back(now.instant);
        let id = request.certificate_id().unwrap_or_default().to_owned();
        if self.strict && !self.certificates.contains_key(&id) {
            return Err("FailedOperation.CertificateNotFound".to_owned());
        }
        Ok((ask, id))
    }
}
