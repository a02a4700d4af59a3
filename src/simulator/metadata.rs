//! A stand-in for the machine's metadata service, as far as it gives out the role's temporary keys, which the API's
//! stand-in then accepts for as long as they are good.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Simulator;
use super::request::Temporary;
use super::server::Shared;
use crate::clock;

const PATH: &str = "/latest/meta-data/cam/security-credentials/";
/// How long the vendor's keys are good, more or less.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// The running stand-in. Dropping it closes its socket.
#[derive(Debug)]
pub struct MetadataService {
    served: Arc<Served>,
    address: SocketAddr,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Served {
    api: Arc<Shared>,
    /// None for a machine that has no role.
    role: Option<String>,
    lifetime: Mutex<Duration>,
}

impl Simulator {
    /// Starts a metadata service on loopback, for a machine that has this role, or none. Each time it is asked for the
    /// role's keys, it makes new ones.
    ///
    /// # Errors
    /// When no address can be bound.
    pub async fn metadata(&self, role: Option<&str>) -> io::Result<MetadataService> {
        let served =
            Served { api: Arc::clone(&self.shared), role: role.map(str::to_owned), lifetime: Mutex::new(LIFETIME) };
        let served = Arc::new(served);
        let (task, address) = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &served).await?;
        Ok(MetadataService { served, address, task: Mutex::new(Some(task)) })
    }

    /// The temporary keys that were given out so far: ID, key and token of each.
    #[must_use]
    pub fn temporary_keys(&self) -> Vec<[String; 3]> {
        let state = self.shared.state();
        let parts = |keys: &Temporary| [keys.secret_id.clone(), keys.secret_key.clone(), keys.token.clone()];
        state.account.temporary.iter().map(parts).collect()
    }

    /// How many of the temporary keys that were given out have signed a request that was let in.
    #[must_use]
    pub fn temporary_keys_used(&self) -> usize {
        self.shared.state().account.temporary.iter().filter(|keys| keys.used).count()
    }
}

impl MetadataService {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long keys that are given out from now on are good.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *locked(&self.served.lifetime) = lifetime;
    }

    /// Closes the socket: from now on, connections are refused.
    pub async fn pause_listening(&self) {
        let task = locked(&self.task).take();
        if let Some(task) = task {
            task.abort();
            // The error says that it was aborted.
            task.await.unwrap_or_default();
        }
    }

    /// Listens again, at the same address. Does nothing if it is listening.
    ///
    /// # Errors
    /// When the address was taken in the meantime.
    pub async fn resume_listening(&self) -> io::Result<()> {
        if locked(&self.task).is_none() {
            let (task, _) = listen(self.address, &self.served).await?;
            *locked(&self.task) = Some(task);
        }
        Ok(())
    }
}

impl Drop for MetadataService {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(address: SocketAddr, served: &Arc<Served>) -> io::Result<(JoinHandle<()>, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route(PATH, get(role))
        .route(&format!("{PATH}{{role}}"), get(keys))
        .with_state(Arc::clone(served));
    let task = tokio::spawn(async move {
        // It ends only by being aborted.
        axum::serve(listener, router).await.unwrap_or_default();
    });
    Ok((task, address))
}

async fn role(State(served): State<Arc<Served>>) -> Result<String, StatusCode> {
    served.role.clone().ok_or(StatusCode::NOT_FOUND)
}

async fn keys(State(served): State<Arc<Served>>, Path(role): Path<String>) -> Result<String, StatusCode> {
    if Some(role) != served.role {
        return Err(StatusCode::NOT_FOUND);
    }
    let expires = clock::now().unix.plus(*locked(&served.lifetime));
    let keys = {
        let mut state = served.api.state();
        let number = state.account.temporary.len() + 1;
        let part = |name: &str| format!("Simulated{name}{number:04}Tx7Qw9");
        let keys = Temporary {
            secret_id: part("TmpId"),
            secret_key: part("TmpKey"),
            token: part("TmpToken"),
            expires: expires.seconds(),
            used: false,
        };
        state.account.temporary.push(keys.clone());
        keys
    };
    served.api.tell_of_change();
    let reply = json!({
        "TmpSecretId": keys.secret_id,
        "TmpSecretKey": keys.secret_key,
        "Token": keys.token,
        "ExpiredTime": keys.expires,
        "Expiration": expires.to_string(),
        "Code": "Success",
    });
    Ok(reply.to_string())
}
