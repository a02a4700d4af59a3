//! The environment's variables for proxies, read as curl reads them: the spelling in small letters first, an empty value
//! is none, `NO_PROXY` names hosts, domains, addresses and networks.

use std::net::IpAddr;

use super::{Place, Proxy, ProxyError, Way};
use crate::config::ProxyUrl;

/// Plain HTTP goes to this machine alone, and so through no proxy: `http_proxy` has nothing to say.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

pub(super) fn find(host: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Way, ProxyError> {
    let Some((name, text)) = first(&PROXIES, variable) else {
        return Ok(Way::Straight("the environment has neither HTTPS_PROXY nor ALL_PROXY".to_owned()));
    };
    if let Some((exceptions, list)) = first(&EXCEPTIONS, variable)
        && excepts(&list, host)
    {
        return Ok(Way::Straight(format!("the environment has {name}, but {exceptions} names {host}")));
    }
    // As curl has it, a proxy without a scheme is one for HTTP.
    let url = if text.contains("://") { ProxyUrl::parse(&text) } else { ProxyUrl::parse(&format!("http://{text}")) };
    let found = Place::Variable(name);
    match url {
        Some(url) => Ok(Way::Through(Proxy { url, found })),
        None => Err(ProxyError::NoUrl { place: found.to_string() }),
    }
}

/// The first of the variables that isn't empty.
fn first(names: &[&'static str], variable: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name).filter(|text| !text.is_empty())?)))
}

/// Whether a list names a host.
fn excepts(list: &str, host: &str) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut entries = list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    match host.parse::<IpAddr>() {
        Ok(address) => entries.any(|entry| covers(entry, address)),
        Err(_) => entries.any(|entry| is_within(host, entry)),
    }
}

/// Whether an entry is a name, or the domain of it.
fn is_within(host: &str, entry: &str) -> bool {
    let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let (host, domain) = (plain(host), plain(entry.strip_prefix('.').unwrap_or(entry)));
    let before = host.strip_suffix(&domain);
    !domain.is_empty() && before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Whether an entry is an address, or the network of it.
fn covers(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = entry.split_once('/').map_or((entry, None), |(network, bits)| (network, Some(bits)));
    let Ok(network) = network.trim_matches(['[', ']']).parse::<IpAddr>() else { return false };
    let whole = |bytes: usize| u32::try_from(8 * bytes).ok();
    let (network, address) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (network.octets().to_vec(), address.octets().to_vec()),
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.octets().to_vec(), address.octets().to_vec()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| Some(*bits) <= whole(network.len())),
        None => whole(network.len()),
    };
    bits.is_some_and(|bits| share(&network, &address, bits))
}

/// Whether the first bits are the same.
fn share(one: &[u8], other: &[u8], bits: u32) -> bool {
    one.iter().zip(other).zip(0_u32..).all(|((one, other), index)| {
        let counted = bits.saturating_sub(8 * index).min(8);
        let mask = u8::MAX.checked_shl(8 - counted).unwrap_or(0);
        one & mask == other & mask
    })
}
