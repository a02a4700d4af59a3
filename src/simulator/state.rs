//! The service's state, and what it decides about each request. No I/O.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Options;
use super::arrivals::Arrival;
use super::certificate::Certificate;
use super::fault::{Fault, Mixture, Order, ReadFault, Script};
use super::reply::{Delivery, error, set, whole};
use super::request::{Account, Ask, Incoming};
use crate::clock::Now;
use crate::submission::status_text;

const SECOND: Duration = Duration::from_secs(1);
/// One byte over 1 MiB, without what stands around it.
const HUGE: usize = 1024 * 1024 + 1;

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
    pub(super) orders: usize,
}

impl State {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            account: Account {
                secret_id: options.secret_id.clone(),
                secret_key: options.secret_key.clone(),
                temporary: Vec::new(),
            },
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
        let wait = self.latency + self.jitter.mul_f64(self.random.f64());
        let (answer, mut plan) = match self.admit(request, now) {
            Err(code) => refused(&code, &request_id),
            Ok((Ask::Describe, id)) => self.read(&id, &request_id),
            Ok((ask @ (Ask::Commit | Ask::OrderSubmit), id)) => self.commit(ask, &id, &request_id),
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
    pub(super) fn place_order(&mut self, id: &str) -> Result<(), &'static str> {
        let order_id = format!("SO{:06}", self.orders + 1);
        self.certificates.entry(id.to_owned()).or_default().commit(order_id)?;
        self.orders += 1;
        Ok(())
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
        self.account.used(request.secret_id().unwrap_or_default());
        let id = request.certificate_id().unwrap_or_default().to_owned();
        if self.strict && !self.certificates.contains_key(&id) {
            return Err("FailedOperation.CertificateNotFound".to_owned());
        }
        Ok((ask, id))
    }

    fn read(&mut self, id: &str, request_id: &str) -> (String, Plan) {
        let certificate = self.certificates.entry(id.to_owned()).or_default().clone();
        let script = self.read_scripts.get_mut(id);
        match script.and_then(Script::take).unwrap_or(ReadFault::Behave) {
            ReadFault::Behave => shown(certificate.order_id, Some(certificate.status), request_id),
            ReadFault::Shows { order_id, status } => shown(order_id, status, request_id),
            ReadFault::Error(code) => refused(&code, request_id),
            ReadFault::Cut => ("cut".to_owned(), Plan::now(Delivery::Cut)),
            ReadFault::Hang => ("no answer".to_owned(), Plan::now(Delivery::Hang)),
            ReadFault::Html => ("HTTP 502".to_owned(), Plan::now(Delivery::Html)),
            ReadFault::Raw(body) => ("raw bytes".to_owned(), Plan::now(Delivery::Whole(body))),
        }
    }

    fn commit(&mut self, ask: Ask, id: &str, request_id: &str) -> (String, Plan) {
        let certificate = self.certificates.entry(id.to_owned()).or_default();
        certificate.commits += 1;
        let fault = match self.commit_scripts.get_mut(id) {
            Some(script) => script.take(),
            None => self.mixture.draw(self.seed, id, certificate.commits),
        };
        let fault = fault.unwrap_or(Fault::Behave);
        let answer = fault.name().to_owned();
        match fault.order() {
            Order::None => (answer, Plan::now(deliver(fault, json!({}), request_id))),
            Order::After(wait) => {
                (answer, Plan { late_order: Some((id.to_owned(), wait)), ..Plan::now(Delivery::Cut) })
            }
            Order::First => match self.place_order(id) {
                Ok(()) => {
                    let receipt = self.receipt(&fault, ask, id);
                    (answer, Plan { wait: fault.delay(), ..Plan::now(deliver(fault, receipt, request_id)) })
                }
                Err(code) => {
                    let answer = if fault.is_intact() { code.to_owned() } else { answer };
                    let refusal = error(code);
                    (answer, Plan { wait: fault.delay(), ..Plan::now(deliver(fault, refusal, request_id)) })
                }
            },
        }
    }

    /// What a commit that has just placed its order is told.
    fn receipt(&mut self, fault: &Fault, ask: Ask, id: &str) -> Value {
        let certificate = self.certificates.entry(id.to_owned()).or_default();
        if let Fault::Status(status) = fault {
            certificate.status = *status;
        }
        let (order_id, status) = (&certificate.order_id, certificate.status);
        match ask {
            Ask::OrderSubmit => json!({ "OrderId": order_id, "Status": status, "IsAudited": false }),
            Ask::Commit | Ask::Describe => json!({ "OrderId": order_id, "Status": status }),
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

fn shown(order_id: Option<String>, status: Option<i64>, request_id: &str) -> (String, Plan) {
    let name = status.and_then(status_text);
    let response = json!({ "OrderId": order_id, "Status": status, "StatusName": name, "StatusMsg": null });
    ("ok".to_owned(), Plan::now(Delivery::json(response, request_id)))
}

/// The reply to a commit, spoilt as the fault wants it.
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
