//! The environment's variables for proxies, as curl reads them: lowercase names first, an empty value counts as unset,
//! and `NO_PROXY` lists hosts, domains, addresses and networks.

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::route::{Origin, Proxy, ProxyError, Route};
use crate::config::ProxyUrl;

/// `http_proxy` is ignored: plain HTTP goes only to this machine, and never through a proxy.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

pub(super) fn find(endpoint: &Uri, variable: &dyn Fn(&str) -> Option<String>) -> Result<Route, ProxyError> {
    let Some((name, text)) = first(&PROXIES, variable) else {
        return Ok(Route::Direct("the environment has neither HTTPS_PROXY nor ALL_PROXY".to_owned()));
    };
    if let Some((exceptions, list)) = first(&EXCEPTIONS, variable)
        && covers(&list, endpoint)
    {
        let host = endpoint.host().unwrap_or_default();
        return Ok(Route::Direct(format!("the environment has {name}, but {exceptions} names {host}")));
    }
    // curl takes a proxy without a scheme for an HTTP proxy.
    let text = if text.contains("://") { text } else { format!("http://{text}") };
    let origin = Origin::Variable(name);
    match ProxyUrl::parse(&text) {
        Some(url) => Ok(Route::Through(Proxy { url, origin })),
        None => Err(ProxyError::NoUrl { place: origin.to_string() }),
    }
}

/// The first of the variables that isn't empty.
fn first(names: &[&'static str], variable: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name).filter(|text| !text.is_empty())?)))
}

/// Whether a list of exceptions covers the endpoint.
fn covers(list: &str, endpoint: &Uri) -> bool {
    // Like curl, accepts blanks between entries, brackets around an address and a dot after a name. A wildcard counts
    // only as the whole list.
    let entries = list.split([',', ' ', '\t']).map(|entry| entry.trim_matches(['[', ']']).trim_end_matches('.'));
    let entries: Vec<&str> = entries.filter(|entry| *entry != "*" || list.trim() == "*").collect();
    // The matcher returns no proxy for an endpoint that the list covers.
    Matcher::builder().all("http://proxy").no(entries.join(",")).build().intercept(endpoint).is_none()
}
