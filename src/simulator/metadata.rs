//! A simulator of the machine's metadata service: it issues temporary credentials for a role, which the simulated API
//! accepts until they expire.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;

use super::connection::Shared;
use super::request::Temporary;
use super::server::Simulator;
use super::socket::{Socket, serve_http};
use crate::clock;

const PATH: &str = "/latest/meta-data/cam/security-credentials/";
/// About as long as the vendor's credentials last.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// The running service. Dropping it closes its socket.
pub struct MetadataService {
    machine: Arc<Machine>,
    socket: Socket,
}

/// The machine that the service is for.
struct Machine {
    api: Arc<Shared>,
    role: Option<String>,
    lifetime: Mutex<Duration>,
}

impl Simulator {
    /// Starts a metadata service on loopback, for a machine that has this role, or none. Each request for the role's
    /// credentials gets new ones.
    ///
    /// # Errors
    /// When no address can be bound.
    pub async fn metadata(&self, role: Option<&str>) -> io::Result<MetadataService> {
        let (api, role) = (Arc::clone(&self.shared), role.map(str::to_owned));
        let machine = Arc::new(Machine { api, role, lifetime: Mutex::new(LIFETIME) });
        let router = Router::new()
            .route(PATH, get(self::role))
            .route(&format!("{PATH}{{role}}"), get(credentials))
            .with_state(Arc::clone(&machine));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = Socket::bind(address, move |stream| serve_http(stream, router.clone())).await?;
        Ok(MetadataService { machine, socket })
    }

    /// The temporary credentials issued so far: ID, key and token of each.
    #[must_use]
    pub fn temporary_credentials(&self) -> Vec<[String; 3]> {
        let parts = |one: &Temporary| [one.secret_id.clone(), one.secret_key.clone(), one.token.clone()];
        self.shared.service().account.temporary.iter().map(parts).collect()
    }

    /// How many of them have signed a request that was accepted.
    #[must_use]
    pub fn temporary_credentials_used(&self) -> usize {
        self.shared.service().account.temporary.iter().filter(|one| one.used).count()
    }
}

impl MetadataService {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.address()
    }

    /// Sets the lifetime of credentials that are issued from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *self.machine.lifetime() = lifetime;
    }

    /// Closes the socket: from now on, connections are refused.
    pub async fn pause_listening(&self) {
        self.socket.close().await;
    }

    /// Listens again, at the same address. Does nothing if it is listening.
    ///
    /// # Errors
    /// When the address was taken in the meantime.
    pub async fn resume_listening(&self) -> io::Result<()> {
        self.socket.reopen().await
    }
}

impl Machine {
    fn lifetime(&self) -> MutexGuard<'_, Duration> {
        self.lifetime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn role(State(machine): State<Arc<Machine>>) -> Result<String, StatusCode> {
    machine.role.clone().ok_or(StatusCode::NOT_FOUND)
}

async fn credentials(State(machine): State<Arc<Machine>>, Path(role): Path<String>) -> Result<String, StatusCode> {
    if Some(role) != machine.role {
        return Err(StatusCode::NOT_FOUND);
    }
    let expires = clock::now().unix.plus(*machine.lifetime());
    let mut service = machine.api.service();
    let number = service.account.temporary.len() + 1;
    let part = |name: &str| format!("Simulated{name}{number:04}Tx7Qw9");
    let issued = Temporary {
        secret_id: part("TmpId"),
        secret_key: part("TmpKey"),
        token: part("TmpToken"),
        expires: expires.seconds(),
        used: false,
    };
    let reply = json!({
        "TmpSecretId": issued.secret_id,
        "TmpSecretKey": issued.secret_key,
        "Token": issued.token,
        "ExpiredTime": issued.expires,
        "Expiration": expires.to_string(),
        "Code": "Success",
    });
    service.account.temporary.push(issued);
    Ok(reply.to_string())
}
