//! Who is behind a proxy. A forwarded header is a claim: it counts only where the proxy that made it is one that the settings name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::settings::Networks;

/// Puts the caller's own address in place of that of the proxies in front of the hub.
pub(crate) async fn forwarded(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let proxies = &app.settings.trusted_proxies;
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied()
        && proxies.contain(peer.ip())
    {
        let caller = behind(peer.ip(), request.headers(), proxies);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(caller, 0)));
    }
    next.run(request).await
}

/// The nearest address that is no proxy of ours, going from the hub outwards. What stands beyond it anyone can write.
fn behind(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> IpAddr {
    let mut caller = peer;
    for claimed in claims(headers).into_iter().rev() {
        let Some(address) = claimed else { break };
        caller = address;
        if !proxies.contain(address) {
            break;
        }
    }
    caller.to_canonical()
}

/// The addresses of `Forwarded` (RFC 7239) or, without it, of `X-Forwarded-For`, the nearest last; `None` for what is no address.
fn claims(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let all = |name: &str| {
        let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default().to_owned());
        lines.collect::<Vec<_>>().join(",")
    };
    let standard = all("forwarded");
    if standard.is_empty() {
        let listed = all("x-forwarded-for");
        return listed.split(',').filter(|part| !part.trim().is_empty()).map(node).collect();
    }
    let named = |element: &str| {
        let pair = element.split(';').filter_map(|pair| pair.split_once('='));
        let mut of_for = pair.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
        of_for.next().and_then(|(_, value)| node(value))
    };
    standard.split(',').map(named).collect()
}

/// `192.0.2.7`, `192.0.2.7:4711`, `"[2001:db8::1]:4711"`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn caller(header: &'static str, value: &'static str) -> String {
        let proxies = Networks::parse("10.0.0.0/8").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header, HeaderValue::from_static(value));
        behind("10.0.0.1".parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn the_caller_is_the_nearest_address_that_is_no_proxy_of_ours() {
        for (header, value, expected) in [
            ("x-forwarded-for", "192.0.2.7", "192.0.2.7"),
            ("x-forwarded-for", "203.0.113.9, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
            ("x-forwarded-for", "10.9.9.9", "10.9.9.9"),
            ("x-forwarded-for", "192.0.2.7, garbage, 10.0.0.2", "10.0.0.2"),
            ("x-forwarded-for", "::ffff:192.0.2.7", "192.0.2.7"),
            ("forwarded", "for=192.0.2.7;proto=https, for=10.0.0.2", "192.0.2.7"),
            ("forwarded", "For=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("forwarded", "for=unknown", "10.0.0.1"),
            ("x-real-ip", "192.0.2.7", "10.0.0.1"),
        ] {
            assert_eq!(caller(header, value), expected, "{header}: {value}");
        }
    }
}
