//! The service behind the API: its state, and what it decides about each request. No I/O.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::arrivals::Arrival;
use super::certificate::Certificate;
use super::fault::{Fault, Mixture, Order, ReadFault, Script};
use super::issuance::Issuance;
use super::options::Options;
use super::reply::{Delivery, error, set, whole};
use super::request::{Account, Incoming, Operation};
use crate::clock::Now;
use crate::submission::{CertificateStatus, Standing};

const SECOND: Duration = Duration::from_secs(1);
/// One byte over 1 MiB, even without the envelope.
const HUGE: usize = 1024 * 1024 + 1;

/// What happens to one request.
#[derive(Debug)]
pub(super) struct Plan {
    /// How long the reply takes.
    pub(super) wait: Duration,
    pub(super) delivery: Delivery,
    /// A certificate whose order is placed this much later.
    pub(super) late_order: Option<(String, Duration)>,
}

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) options: Options,
    pub(super) account: Account,
    random: fastrand::Rng,
    /// The error code that answers every request during an outage.
    pub(super) outage: Option<String>,
    pub(super) mixture: Mixture,
    /// What the CA makes of the orders.
    pub(super) issuance: Option<Issuance>,
    pub(super) certificates: HashMap<String, Certificate>,
    pub(super) commit_scripts: HashMap<String, Script<Fault>>,
    pub(super) read_scripts: HashMap<String, Script<ReadFault>>,
    /// A certificate with which no list succeeds, and the error code.
    pub(super) unlistable: Option<(String, String)>,
    pub(super) arrivals: Vec<Arrival>,
    /// When the requests of the last second arrived that were within the rate limit, by action.
    granted: HashMap<String, VecDeque<Instant>>,
    pub(super) orders: usize,
}

impl Service {
    pub(super) fn new(options: Options) -> Self {
        let (secret_id, secret_key) = (options.secret_id.clone(), options.secret_key.clone());
        Self {
            account: Account { secret_id, secret_key, temporary: Vec::new() },
            random: fastrand::Rng::with_seed(options.seed),
            options,
            outage: None,
            mixture: Mixture::default(),
            issuance: None,
            certificates: HashMap::new(),
            commit_scripts: HashMap::new(),
            read_scripts: HashMap::new(),
            unlistable: None,
            arrivals: Vec::new(),
            granted: HashMap::new(),
            orders: 0,
        }
    }

    /// Records a request's arrival, and decides what happens to it.
    pub(super) fn receive(&mut self, request: &Incoming<'_>, connection: u64, now: Now) -> Plan {
        let request_id = format!("00000000-0000-4000-8000-{:012x}", self.arrivals.len() + 1);
        let wait = self.options.latency + self.options.jitter.mul_f64(self.random.f64());
        let (answer, mut plan) = match self.admit(request, now) {
            Err(code) => refused(&code, &request_id),
            Ok((Operation::Describe, id)) => self.read(&id, &request_id, now.instant),
            Ok((Operation::List, _)) => self.list(&request.listed(), &request_id, now.instant),
            Ok((operation @ (Operation::Commit | Operation::OrderSubmit), id)) => {
                self.commit(operation, &id, &request_id, now.instant)
            }
        };
        plan.wait += wait;
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

    /// Places an order for the certificate, if its status allows it.
    ///
    /// # Errors
    /// The error code of the refusal.
    pub(super) fn place_order(&mut self, id: &str, at: Instant) -> Result<(), &'static str> {
        let order_id = format!("SO{:06}", self.orders + 1);
        self.certificates.entry(id.to_owned()).or_default().commit(order_id, at)?;
        self.orders += 1;
        Ok(())
    }

    /// The gateway: authentication, parameters and rate limit.
    ///
    /// # Errors
    /// The error code of the refusal.
    fn admit(&mut self, request: &Incoming<'_>, now: Now) -> Result<(Operation, String), String> {
        if let Some(code) = &self.outage {
            return Err(code.clone());
        }
        let operation = request.check(&self.account, now.unix.seconds())?;
        let options = &self.options;
        let limit = match operation {
            Operation::Describe | Operation::List => options.read_rate_limit,
            Operation::Commit | Operation::OrderSubmit => options.rate_limit,
        };
        let granted = self.granted.entry(request.action().to_owned()).or_default();
        while granted.front().is_some_and(|at| now.instant.duration_since(*at) >= SECOND) {
            granted.pop_front();
        }
        if limit.is_some_and(|limit| u32::try_from(granted.len()).unwrap_or(u32::MAX) >= limit) {
            return Err("RequestLimitExceeded".to_owned());
        }
        granted.push_back(now.instant);
        self.account.mark_used(request.secret_id().unwrap_or_default());
        let id = request.certificate_id().unwrap_or_default().to_owned();
        if self.options.strict && operation != Operation::List && !self.certificates.contains_key(&id) {
            return Err("FailedOperation.CertificateNotFound".to_owned());
        }
        Ok((operation, id))
    }

    /// A certificate's present status, and the server's words about it.
    fn status(&self, id: &str, certificate: &Certificate, now: Instant) -> (i64, Option<&'static str>) {
        match (&self.issuance, certificate.ordered_at) {
            (Some(issuance), Some(at)) => issuance.status(self.options.seed, id, now.saturating_duration_since(at)),
            _ => (certificate.status, None),
        }
    }

    /// How many orders stand how; none, while the CA may still decide about one.
    pub(super) fn decided(&self, now: Instant) -> Option<Vec<(Standing, i64)>> {
        let takes = self.issuance.as_ref().map_or(Duration::ZERO, |issuance| issuance.takes.end);
        let ordered = || self.certificates.iter().filter(|(_, one)| one.order_id.is_some());
        let is_decided = |at: Instant| now >= at + takes;
        if !ordered().all(|(_, one)| one.ordered_at.is_none_or(is_decided)) {
            return None;
        }
        let count = |standing| {
            let alike = ordered().filter(|(id, one)| Standing::of(self.status(id, one, now).0) == standing);
            (standing, i64::try_from(alike.count()).unwrap_or(i64::MAX))
        };
        Some(Standing::ALL.into_iter().map(count).collect())
    }

    /// Describes the certificates that it knows, without their orders.
    fn list(&self, ids: &[&str], request_id: &str, now: Instant) -> (String, Plan) {
        if let Some((id, code)) = &self.unlistable
            && ids.contains(&id.as_str())
        {
            return refused(code, request_id);
        }
        let describe = |id: &&str| {
            let (status, message) = self.status(id, self.certificates.get(*id)?, now);
            let name = CertificateStatus::of_code(status).map(|status| status.text);
            Some(json!({ "CertificateId": id, "Status": status, "StatusName": name, "StatusMsg": message }))
        };
        let certificates: Vec<Value> = ids.iter().filter_map(describe).collect();
        let response = json!({ "TotalCount": certificates.len(), "Certificates": certificates });
        ("ok".to_owned(), Plan::now(Delivery::json(response, request_id)))
    }

    fn read(&mut self, id: &str, request_id: &str, now: Instant) -> (String, Plan) {
        let certificate = self.certificates.entry(id.to_owned()).or_default().clone();
        let (status, message) = self.status(id, &certificate, now);
        let fault = self.read_scripts.get_mut(id).and_then(Script::take).unwrap_or(ReadFault::Behave);
        let answer = fault.name();
        let delivery = match fault {
            ReadFault::Behave => readback(certificate.order_id, Some(status), message, request_id),
            ReadFault::Shows { order_id, status } => readback(order_id, status, None, request_id),
            ReadFault::Error(code) => Delivery::json(error(&code), request_id),
            ReadFault::Cut => Delivery::Cut,
            ReadFault::Hang => Delivery::Hang,
            ReadFault::Html => Delivery::Html,
            ReadFault::Raw(body) => Delivery::Whole(body),
        };
        (answer, Plan::now(delivery))
    }

    fn commit(&mut self, operation: Operation, id: &str, request_id: &str, now: Instant) -> (String, Plan) {
        let certificate = self.certificates.entry(id.to_owned()).or_default();
        certificate.commits += 1;
        let fault = match self.commit_scripts.get_mut(id) {
            Some(script) => script.take(),
            None => self.mixture.draw(self.options.seed, id, certificate.commits),
        };
        let fault = fault.unwrap_or(Fault::Behave);
        let mut answer = fault.name();
        let response = match fault.order() {
            Order::None => json!({}),
            Order::After(wait) => {
                return (answer, Plan { late_order: Some((id.to_owned(), wait)), ..Plan::now(Delivery::Cut) });
            }
            Order::First => match self.place_order(id, now) {
                Ok(()) => self.receipt(&fault, operation, id),
                Err(code) => {
                    if fault.is_intact() {
                        answer = code.to_owned();
                    }
                    error(code)
                }
            },
        };
        (answer, Plan { wait: fault.delay(), ..Plan::now(deliver(fault, response, request_id)) })
    }

    /// The response to a commit that has just placed its order.
    fn receipt(&mut self, fault: &Fault, operation: Operation, id: &str) -> Value {
        let certificate = self.certificates.entry(id.to_owned()).or_default();
        if let Fault::Status(status) = fault {
            certificate.status = *status;
        }
        let (order_id, status) = (&certificate.order_id, certificate.status);
        match operation {
            Operation::OrderSubmit => json!({ "OrderId": order_id, "Status": status, "IsAudited": false }),
            Operation::Commit | Operation::Describe | Operation::List => {
                json!({ "OrderId": order_id, "Status": status })
            }
        }
    }
}

impl Plan {
    fn now(delivery: Delivery) -> Self {
        Self { wait: Duration::ZERO, delivery, late_order: None }
    }
}

fn refused(code: &str, request_id: &str) -> (String, Plan) {
    (code.to_owned(), Plan::now(Delivery::json(error(code), request_id)))
}

fn readback(order_id: Option<String>, status: Option<i64>, message: Option<&str>, request_id: &str) -> Delivery {
    let name = status.and_then(CertificateStatus::of_code).map(|status| status.text);
    let response = json!({ "OrderId": order_id, "Status": status, "StatusName": name, "StatusMsg": message });
    Delivery::json(response, request_id)
}

/// The reply to a commit, with the fault applied.
fn deliver(fault: Fault, mut response: Value, request_id: &str) -> Delivery {
    match fault {
        Fault::Behave | Fault::Delay(_) | Fault::Status(_) => {}
        Fault::Error(code) | Fault::ErrorAfter(code) => response = error(&code),
        Fault::CutBefore | Fault::CutAfter | Fault::LateAfter(_) => return Delivery::Cut,
        Fault::HangBefore | Fault::HangAfter => return Delivery::Hang,
        Fault::HalfBody => return Delivery::Half(whole(response, request_id)),
        Fault::Html => return Delivery::Html,
        Fault::NullResponse => return Delivery::Whole(r#"{"Response":null}"#.into()),
        Fault::NotUtf8 => {
            let mut body = whole(response, request_id);
            body.push(0xff);
            return Delivery::Whole(body);
        }
        Fault::WrongTypeStatus => {
            if let Some(status) = response.get_mut("Status") {
                *status = Value::String(status.to_string());
            }
        }
        Fault::NoOrderId => {
            if let Some(fields) = response.as_object_mut() {
                fields.remove("OrderId");
            }
        }
        Fault::HugeBody => set(&mut response, "Padding", "x".repeat(HUGE)),
        Fault::Redirect(location) => return Delivery::Redirect(location),
        Fault::Raw(body) => return Delivery::Whole(body),
    }
    Delivery::json(response, request_id)
}
