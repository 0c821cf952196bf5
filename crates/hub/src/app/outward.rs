//! The hub's way out: webhooks, and the keys of issuers. What an account may make the hub call is bounded here.
//!
//! A name is looked up once, every address of it is judged, and the connection goes to one that was judged: a second look-up could
//! have another answer. Nothing is followed; of a webhook's answer nothing is read but its status, and of a document no more than fits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Client, Url};
use ring::hmac;

use crate::settings::Networks;

/// How long a webhook may take, all in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest body of a message.
pub(crate) const BODY: usize = 1 << 20;
/// A URL is kept up to here.
const LONGEST: usize = 2_000;

/// Where calls of one kind may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    /// Beside the public addresses.
    pub(crate) allowed: &'a Networks,
    /// The setting that names them.
    pub(crate) variable: &'static str,
    /// An address as it should be.
    pub(crate) example: &'static str,
}

impl<'a> Reach<'a> {
    /// Of webhooks.
    pub(crate) fn of_webhooks(allowed: &'a Networks) -> Self {
        Self { allowed, variable: "HUB_WEBHOOK_ALLOW", example: "https://hooks.example.com/millrace" }
    }

    /// Of issuers, whose keys are fetched.
    pub(crate) fn of_issuers(allowed: &'a Networks) -> Self {
        Self { allowed, variable: "HUB_ISSUER_ALLOW", example: "https://oidc.eks.eu-west-1.amazonaws.com/id/ABCD" }
    }

    fn not_public(&self) -> String {
        format!("is not a public address; whoever runs the hub can allow it by {}", self.variable)
    }
}

/// A message that is signed as Standard Webhooks has it.
pub(crate) struct Message<'a> {
    pub(crate) id: &'a str,
    /// Seconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) body: &'a str,
}

impl Message<'_> {
    /// `v1,` and the signature.
    pub(crate) fn signature(&self, secret: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        format!("v1,{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())))
    }
}

/// What is wrong with an address, as far as it can be said without looking its name up.
pub(crate) fn refused(text: &str, reach: Reach<'_>) -> Option<String> {
    let allowed = reach.allowed;
    let url = Url::parse(text).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https") && text.len() <= LONGEST) else {
        return Some(format!("must be an address like {}", reach.example));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not hold a user or a password".into());
    }
    let literal = literal(&url);
    // Plain http only where an operator has named the address, and it is this machine's.
    let is_ours = literal.is_some_and(|ip| ip.is_loopback() && allowed.contain(ip));
    if url.scheme() == "http" && !is_ours {
        return Some("must begin with https://".into());
    }
    let known = literal.or_else(|| own_name(&url));
    known.filter(|ip| !may_be_called(*ip, allowed)).map(|_| reach.not_public())
}

/// Where a name leads that means this machine everywhere (RFC 6761). Every other name is looked up when it is called.
fn own_name(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?.trim_end_matches('.');
    let last = host.rsplit('.').next()?;
    (last == "localhost" || host == "localhost.localdomain").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Sends it; why it did not arrive.
pub(crate) async fn send(address: &str, secret: &[u8], message: &Message<'_>, reach: Reach<'_>) -> Result<(), String> {
    in_time(sent(address, secret, message, reach)).await
}

/// What lies at an address, if it is no larger than that; why there is nothing.
pub(crate) async fn fetch(address: &str, largest: usize, reach: Reach<'_>) -> Result<Vec<u8>, String> {
    in_time(fetched(address, largest, reach)).await
}

async fn in_time<T>(call: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(outcome) => outcome,
        Err(_late) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
    }
}

/// A client that calls this address, and nothing that was not judged.
async fn client(address: &str, reach: Reach<'_>) -> Result<(Client, Url), String> {
    if let Some(why) = refused(address, reach) {
        return Err(format!("its address {why}"));
    }
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let mut client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().timeout(PATIENCE);
    if literal(&url).is_none() {
        client = client.resolve_to_addrs(&host, &looked_up(&host, port, reach).await?);
    }
    Ok((client.build().map_err(|error| error.to_string())?, url))
}

const USER_AGENT: &str = concat!("Millrace/", env!("CARGO_PKG_VERSION"));

async fn sent(address: &str, secret: &[u8], message: &Message<'_>, reach: Reach<'_>) -> Result<(), String> {
    let (client, url) = client(address, reach).await?;
    let answer = client
        .post(url)
        .header("content-type", "application/json")
        .header("user-agent", USER_AGENT)
        .header("webhook-id", message.id)
        .header("webhook-timestamp", message.timestamp)
        .header("webhook-signature", message.signature(secret))
        .body(message.body.to_owned())
        .send()
        .await
        .map_err(|error| why(&error))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered with {status}")) }
}

async fn fetched(address: &str, largest: usize, reach: Reach<'_>) -> Result<Vec<u8>, String> {
    let (client, url) = client(address, reach).await?;
    let request = client.get(url).header("accept", "application/json").header("user-agent", USER_AGENT);
    let mut answer = request.send().await.map_err(|error| why(&error))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("it answered with {status}"));
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| why(&error))? {
        if body.len() + piece.len() > largest {
            return Err(format!("its answer is larger than {} KiB", largest >> 10));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The addresses of a name, if all of them may be called.
async fn looked_up(host: &str, port: u16, reach: Reach<'_>) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_error| format!("the name {host} is not known"))?.collect();
    if found.is_empty() || !found.iter().all(|address| may_be_called(address.ip(), reach.allowed)) {
        return Err(format!("the name {host} leads to what {}", reach.not_public()));
    }
    Ok(found)
}

/// Of an error of reqwest the part that helps, without the address, which may be a secret itself.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", PATIENCE.as_secs());
    }
    let mut last = None;
    let mut cause = std::error::Error::source(error);
    while let Some(beneath) = cause {
        last = Some(beneath.to_string());
        cause = beneath.source();
    }
    last.map_or_else(|| "it cannot be reached".to_owned(), |last| format!("it cannot be reached: {last}"))
}

/// Public addresses, and those that the settings name.
pub(crate) fn may_be_called(address: IpAddr, allowed: &Networks) -> bool {
    allowed.contain(address)
        || match address.to_canonical() {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let special = match (a, b) {
        // This network, private ones, carriers' own, loopback, link-local with the metadata of clouds.
        (0 | 10 | 127, _) | (100, 64..128) | (169, 254) | (172, 16..32) | (192, 168) => true,
        // Protocols, documentation, 6to4 relays, benchmarks.
        (192, 0) => c == 0 || c == 2,
        (192, 88) => c == 99,
        (198, 18..20) => true,
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        // Azure's own services on every virtual machine.
        (168, 63) => (c, d) == (129, 16),
        // Multicast, reserved, broadcast.
        (224.., _) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only global unicast; of it not Teredo and its neighbours, documentation, nor 6to4, behind which anything can be.
    (0x2000..0x4000).contains(&a) && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && a != 0x2002 && a != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_not_called_in_whichever_clothes() {
        let none = Networks::default();
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "168.63.129.16",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::23",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!may_be_called(private.parse().unwrap(), &none), "{private}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "192.0.1.1", "168.63.129.17", "2606:4700::1111", "2a00:1450:4001::1"] {
            assert!(may_be_called(public.parse().unwrap(), &none), "{public}");
        }
        let some = Networks::parse("10.0.0.0/8").unwrap();
        assert!(may_be_called("10.1.2.3".parse().unwrap(), &some));
        assert!(!may_be_called("192.168.1.1".parse().unwrap(), &some));
    }

    #[test]
    fn an_address_for_webhooks_is_https_without_a_password_and_public() {
        let (none, local) = (Networks::default(), Networks::parse("127.0.0.0/8,10.0.0.0/8").unwrap());
        let (none, local) = (Reach::of_webhooks(&none), Reach::of_webhooks(&local));
        for bad in [
            "",
            "hooks.example.com",
            "http://hooks.example.com",
            "https://ann:x@hooks.example.com",
            "https://10.1.2.3/x",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "ftp://x",
            "file:///etc/passwd",
            "http://127.0.0.1:80/",
            "https://localhost/x",
            "https://LOCALHOST:8443/x",
            "https://localhost./x",
            "https://hooks.localhost/x",
            "https://localhost.localdomain/x",
        ] {
            assert!(refused(bad, none).is_some(), "{bad}");
        }
        assert_eq!(refused("https://hooks.example.com/a?b=c", none), None);
        assert_eq!(refused("http://127.0.0.1:8080/", local), None);
        assert_eq!(refused("https://10.1.2.3/", local), None);
        assert_eq!(refused("https://localhost:8443/", local), None);
        assert_eq!(refused("https://localhost.example.com/", none), None);
        // Allowed is not enough for plain http: only this machine itself.
        assert!(refused("http://10.1.2.3/", local).is_some());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        let message = Message { id: "1", timestamp: 0, body: "{}" };
        let none = Networks::default();
        let why = send("https://localhost:1/", b"secret", &message, Reach::of_webhooks(&none)).await.unwrap_err();
        assert!(why.contains("not a public address"), "{why}");
        let why = looked_up("localhost", 1, Reach::of_issuers(&none)).await.unwrap_err();
        assert!(why.contains("HUB_ISSUER_ALLOW"), "{why}");
        assert!(why.contains("not a public address"), "{why}");
    }

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of the specification's own libraries.
        let secret = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = "{\"test\": 2432232314}";
        let message = Message { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body };
        assert_eq!(message.signature(&secret), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
