//! Which route is found, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::route::Origin;
use super::*;
use crate::config::{ProxySetting, ProxyUrl};

const API: &str = "https://ssl.tencentcloudapi.com";
const CANARY: &str = "canaryPassword";

fn with(variables: &[(&str, &str)], endpoint: &str) -> Result<String, String> {
    let variable = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
    let route = find_route(&ProxySetting::Environment, endpoint, &variable);
    route.map(|route| route.to_string()).map_err(|error| error.to_string())
}

fn route(variables: &[(&str, &str)]) -> String {
    with(variables, API).unwrap()
}

#[test]
fn the_environment_is_read_as_curl_reads_it() {
    let (lower, upper) = (("https_proxy", "http://lower:1"), ("HTTPS_PROXY", "http://upper:1"));
    let (lower_all, upper_all) = (("all_proxy", "socks5h://lower-all:1"), ("ALL_PROXY", "upper-all"));
    assert_eq!(route(&[upper_all, lower_all, upper, lower]), "lower:1, from the environment's https_proxy");
    assert_eq!(route(&[upper_all, lower_all, upper]), "upper:1, from the environment's HTTPS_PROXY");
    assert_eq!(route(&[upper_all, lower_all]), "lower-all:1, from the environment's all_proxy");
    assert_eq!(route(&[upper_all]), "upper-all:1080, from the environment's ALL_PROXY");
    assert_eq!(route(&[("https_proxy", ""), upper]), "upper:1, from the environment's HTTPS_PROXY");
    let none = "none: the environment has neither HTTPS_PROXY nor ALL_PROXY";
    assert_eq!(route(&[]), none);
    assert_eq!(route(&[("http_proxy", "http://plain:1"), ("HTTP_PROXY", "http://plain:1")]), none);
}

#[test]
fn no_proxy_is_read_as_curl_reads_it() {
    let is_direct = |list: &str, endpoint: &str| {
        let route = with(&[("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", list)], endpoint).unwrap();
        route.starts_with("none: the environment has HTTPS_PROXY, but NO_PROXY names ")
    };
    for list in [
        "*",
        "ssl.tencentcloudapi.com",
        "SSL.TencentCloudAPI.com.",
        "tencentcloudapi.com",
        ".tencentcloudapi.com",
        "a.example, .com",
        "a.example tencentcloudapi.com",
    ] {
        assert!(is_direct(list, API), "{list}");
    }
    for list in ["", "cloudapi.com", "x.ssl.tencentcloudapi.com", "*.com", "10.0.0.0/8", ",", "."] {
        assert!(!is_direct(list, API), "{list}");
    }
    let addresses = [
        ("10.1.2.3", "https://10.1.2.3", true),
        ("10.0.0.0/8", "https://10.1.2.3", true),
        ("10.1.2.0/23", "https://10.1.3.3", true),
        ("10.1.2.0/24", "https://10.1.3.3", false),
        ("0.0.0.0/0", "https://10.1.3.3", true),
        ("10.0.0.0/33", "https://10.1.2.3", false),
        ("10.1.2.4", "https://10.1.2.3", false),
        ("2001:db8::/32", "https://[2001:db8::1]:443", true),
        ("[2001:db8::1]", "https://[2001:db8::1]", true),
        ("2001:db9::/32", "https://[2001:db8::1]", false),
        ("3", "https://10.1.2.3", false),
    ];
    for (list, endpoint, direct) in addresses {
        assert_eq!(is_direct(list, endpoint), direct, "{list} {endpoint}");
    }
    let both = [("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", "a.example"), ("no_proxy", "*")];
    assert!(route(&both).contains("no_proxy names"), "the lowercase name wins");
}

#[test]
fn an_invalid_url_is_refused_with_its_variables_name_and_is_not_shown() {
    for value in ["http://user:canaryPassword", "ftp://canaryPassword@proxy", "socks4://proxy", "http://a b"] {
        let error = with(&[("HTTPS_PROXY", value)], API).unwrap_err();
        assert!(error.starts_with("the environment's HTTPS_PROXY is not the URL of a proxy: "), "{error}");
        assert!(!error.contains(CANARY), "{error}");
    }
}

#[test]
fn this_machine_is_always_reached_directly() {
    let url = ProxySetting::Url(ProxyUrl::parse("http://proxy:1").unwrap());
    for endpoint in ["https://localhost:8443", "http://127.0.0.1:80", "https://127.8.9.1", "https://[::1]:443"] {
        let set = find_route(&url, endpoint, &|_| None).unwrap();
        assert!(set.to_string().ends_with(" is this machine"), "{set}");
        let route = with(&[("HTTPS_PROXY", "http://proxy:1")], endpoint).unwrap();
        assert!(route.ends_with(" is this machine"), "{route}");
    }
}

#[test]
fn the_configuration_overrides_the_environment() {
    let variable = |_: &str| Some("http://other:1".to_owned());
    let url = ProxyUrl::parse(&format!("http://user:{CANARY}@proxy:1")).unwrap();
    let set = find_route(&ProxySetting::Url(url), API, &variable).unwrap();
    assert_eq!(set.to_string(), "proxy:1, with a user, from api.proxy");
    assert!(!format!("{set:?} {set:#?}").contains(CANARY));
    let off = find_route(&ProxySetting::Off, API, &variable).unwrap();
    assert_eq!((off.to_string().as_str(), off.proxy()), ("none: api.proxy is \"off\"", None));
}

#[test]
fn a_file_with_the_url_must_be_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy");
    let write = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let variable = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| directory.path().display().to_string());
    let found = |setting: &ProxySetting| {
        let route = find_route(setting, API, &variable).map(|route| route.to_string());
        route.map_err(|error| error.to_string()).map_err(|text| text.replace(&path.display().to_string(), "FILE"))
    };
    let (named, systemd) = (ProxySetting::File(path.clone()), ProxySetting::Systemd);
    assert_eq!(found(&named).unwrap_err(), "api.proxy: there is no file FILE");
    let advice = "add LoadCredential=proxy:/etc/certcommit/proxy to the unit";
    assert_eq!(found(&systemd).unwrap_err(), format!("api.proxy is \"systemd\", and there is no file FILE: {advice}"));
    let none = find_route(&systemd, API, &|_| None).unwrap_err().to_string();
    assert_eq!(none, format!("api.proxy is \"systemd\", and $CREDENTIALS_DIRECTORY is not set: {advice}"));
    for setting in [&named, &systemd] {
        write("http://user:canaryPassword@proxy:1\n", 0o600);
        let expected = format!("proxy:1, with a user, from the file {}", path.display());
        assert_eq!(found(setting), Ok(expected));
        write("http://user:canaryPassword@proxy:1\n", 0o644);
        assert!(found(setting).unwrap_err().contains("every user of this machine can read FILE"));
        for wrong in ["", "canaryPassword", "http://user:canaryPassword@"] {
            write(wrong, 0o600);
            let error = found(setting).unwrap_err();
            assert!(error.starts_with("the content of FILE is not the URL of a proxy: "), "{error}");
            assert!(!error.contains(CANARY), "{error}");
        }
    }
}

#[test]
fn the_http_client_accepts_every_proxy_that_is_found() {
    for scheme in ["http", "https", "socks5", "socks5h"] {
        for place in ["proxy", "10.0.0.1:1", "[2001:db8::1]:1", "my_proxy:1", "u%40:p%3A%2F'!$&()*+,;=~:@proxy:1"] {
            let url = ProxyUrl::parse(&format!("{scheme}://{place}")).unwrap();
            let proxy = Proxy { url, origin: Origin::Configuration };
            assert!(proxy.for_client().is_some(), "{scheme}://{place}");
        }
    }
}

proptest! {
    /// Otherwise, it would bypass the proxy silently.
    #[test]
    fn the_http_client_accepts_every_url_that_the_configuration_accepts(user in "([!-~]{0,12}@)?", host in "[!-~]{1,12}", port in "(:[0-9]{1,5})?") {
        if let Some(url) = ProxyUrl::parse(&format!("http://{user}{host}{port}")) {
            let address = url.address().to_owned();
            let proxy = Proxy { url, origin: Origin::Configuration };
            prop_assert!(proxy.for_client().is_some());
            let intercept = proxy.intercept().unwrap();
            prop_assert_eq!(intercept.uri().authority().unwrap().as_str(), address);
            prop_assert_eq!(intercept.basic_auth().is_some(), proxy.url.has_user());
        }
    }
}
