//! Signing in by an issuer's token that a trust rule of the agent names: each cloud's claims, each claim that does not match, keys that
//! are rotated, and issuers that give no answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL_SAFE;
use millrace_hub::Networks;
use millrace_testkit::clouds::issuer::{Issuer, Signer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, Kind};
use crate::trust::{ask, new_agent, rsa, seconds, why};
use crate::visitor::Visitor;

const SUBJECT: &str = "system:serviceaccount:lake:agent";
const KINDS: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// A hub that may ask issuers on this machine.
async fn house(kind: Kind) -> House {
    House::set(kind, |settings| settings.issuer_allow = Networks::parse("127.0.0.1").unwrap()).await
}

async fn add_rule(house: &House, agent: &str, issuer: &str, more: Value) {
    let mut body = json!({"name": uuid::Uuid::new_v4().to_string(), "issuer": issuer, "subject": SUBJECT});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    house.expect(201, Method::POST, &format!("/agents/{agent}/trust-rules"), Some(body)).await;
}

/// A hub with an agent and an issuer that one of its rules names, and a key of that issuer.
struct Place {
    house: House,
    issuer: Issuer,
    signer: Signer,
    agent: String,
    client: String,
}

impl Place {
    async fn open(kind: Kind) -> Self {
        let house = house(kind).await;
        let signer = Signer::p256();
        let issuer = Issuer::start(&[signer.published("first")]);
        let (agent, client) = new_agent(&house, "north").await;
        add_rule(&house, &agent, &issuer.url, json!({})).await;
        Self { house, issuer, signer, agent, client }
    }

    fn claims(&self) -> Value {
        let now = seconds(&self.house);
        json!({"iss": self.issuer.url, "sub": SUBJECT, "aud": [self.house.settings.public_url], "iat": now, "nbf": now,
            "exp": now + 3600})
    }

    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[name] = value;
        self.token(&claims)
    }

    fn token(&self, claims: &Value) -> String {
        self.signer.sign_with(json!({"kid": "first"}), claims)
    }

    async fn asks(&self, token: &str) -> u16 {
        ask(&self.house, &self.client, token).await.0
    }

    /// A new token of the API: the old one has ended while the clock went on.
    async fn renew(&self) {
        let set_up = &self.house.set_up;
        self.house.use_token(&self.house.token_of(&set_up.client_id, &set_up.client_secret).await);
    }
}

#[tokio::test]
async fn a_token_of_each_platform_opens_the_gateway_for_the_agent_whose_rule_it_fits() {
    for kind in KINDS {
        let house = house(kind).await;
        for signer in [rsa(), Signer::p256(), Signer::ed25519()] {
            let issuer = Issuer::start(&[Signer::p256().published("other"), signer.published("k")]);
            let now = seconds(&house);
            let url = &house.settings.public_url;
            let kubernetes = json!({"sub": SUBJECT, "aud": [url],
                "kubernetes.io": {"namespace": "lake", "serviceaccount": {"name": "agent", "uid": "u"}}});
            let aws = json!({"sub": "arn:aws:iam::123456789012:role/lake", "aud": url,
                "https://sts.amazonaws.com/": {"aws_account": "123456789012", "org_id": "o-1"}});
            let azure = json!({"sub": "0d3f", "oid": "0d3f", "tid": "tenant", "aud": "api://hub", "ver": "1.0"});
            let google = json!({"sub": "1234567890", "aud": url, "email": "a@p.iam.gserviceaccount.com", "email_verified": true,
                "google": {"compute_engine": {"project_id": "p", "instance_id": 42}}});
            for (name, claims, rule) in [
                ("kubernetes", kubernetes, json!({"claims": {"/kubernetes.io/namespace": "lake"}})),
                (
                    "aws",
                    aws,
                    json!({"subject": "arn:aws:iam::123456789012:role/lake",
                    "claims": {"/https:~1~1sts.amazonaws.com~1/aws_account": "123456789012"}}),
                ),
                ("azure", azure, json!({"subject": "0d3f", "audience": "api://hub", "claims": {"tid": "tenant"}})),
                (
                    "google",
                    google,
                    json!({"subject": "1234567890",
                    "claims": {"email_verified": "true", "/google/compute_engine/instance_id": "42"}}),
                ),
            ] {
                let (agent, client) = new_agent(&house, &format!("{name} {}", signer.algorithm())).await;
                add_rule(&house, &agent, &issuer.url, rule).await;
                let mut claims = claims;
                for (name, value) in [("iss", json!(issuer.url)), ("iat", json!(now)), ("exp", json!(now + 3600))] {
                    claims[name] = value;
                }
                let token = signer.sign_with(json!({"kid": "k"}), &claims);
                let (status, body) = ask(&house, &client, &token).await;
                assert_eq!(status, 200, "{name}: {body} {}", why(&house).await);
                let access = body["access_token"].as_str().unwrap();
                house.hello(access).await;
                // A token of a platform is shown again until the platform gives another.
                assert_eq!(ask(&house, &client, &token).await.0, 200);
                let rules = house.get(&format!("/agents/{agent}/trust-rules")).await;
                assert!(rules["results"][0]["lastUsedAt"].is_string(), "{rules}");
            }
            assert_eq!(issuer.count(), 1, "its keys are kept");
        }
    }
}

#[tokio::test]
async fn a_token_that_does_not_fit_is_refused_and_only_the_log_says_which_claim() {
    for kind in KINDS {
        let place = Place::open(kind).await;
        let (house, now) = (&place.house, seconds(&place.house));
        let stranger = Signer::p256();
        let good = place.claims();
        let unsigned =
            |header: Value| format!("{}.{}.", URL_SAFE.encode(header.to_string()), URL_SAFE.encode(good.to_string()));
        let confused = {
            let said = unsigned(json!({"alg": "HS256", "kid": "first"}));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, place.signer.jwk().to_string().as_bytes());
            format!("{said}{}", URL_SAFE.encode(ring::hmac::sign(&key, said.trim_end_matches('.').as_bytes())))
        };
        let missing = |name: &str| {
            let mut claims = place.claims();
            claims.as_object_mut().unwrap().remove(name);
            place.token(&claims)
        };
        for (token, said) in [
            (stranger.sign_with(json!({"kid": "first"}), &good), "none of the 1 keys"),
            (stranger.sign_with(json!({"kid": "first", "jwk": stranger.jwk()}), &good), "none of the 1 keys"),
            (stranger.sign_with(json!({"kid": "unknown"}), &good), "names the key \"unknown\""),
            (unsigned(json!({"alg": "none"})), "algorithm is \"none\""),
            (confused, "algorithm is \"HS256\""),
            (place.with("exp", json!(now - 61)), "expired"),
            (missing("exp"), "no `exp`"),
            (place.with("nbf", json!(now + 120)), "not yet valid"),
            (place.with("aud", json!("https://sts.amazonaws.com")), "its `aud` is \"https://sts.amazonaws.com\""),
            (place.with("aud", json!([])), "its `aud` is []"),
            (missing("aud"), "no `aud`"),
            (
                place.with("sub", json!("system:serviceaccount:lake:other")),
                "its `sub` is \"system:serviceaccount:lake:other\"",
            ),
            (place.with("sub", json!([SUBJECT])), "its `sub`"),
            (place.with("iss", json!("https://other.example.com")), "no trust rule of the agent names its issuer"),
            (missing("iss"), "no `iss`"),
        ] {
            let (status, body) = ask(house, &place.client, &token).await;
            assert_eq!((status, &body["error"]), (401, &json!("invalid_client")), "{said}: {body}");
            assert_eq!(body["error_description"], "no client with this id and assertion");
            let told = why(house).await;
            assert!(told.contains(said), "{said}: {told}");
            house.clock.advance(Duration::from_secs(7));
        }
        let owner = Visitor::owner(house).await;
        let (_, page) = owner.see("/activity?action=token").await;
        assert!(page.contains("no trust rule of the agent names its issuer"), "owners see why: {page}");
        // Another agent's rule is none of this agent's.
        let (_, other) = new_agent(house, "south").await;
        assert_eq!(ask(house, &other, &place.token(&place.claims())).await.0, 401);
        // A further claim is one more that has to fit, with its very value.
        let (agent, client) = new_agent(house, "east").await;
        add_rule(house, &agent, &place.issuer.url, json!({"claims": {"/a/b": "c"}})).await;
        for (claim, status) in
            [(json!({"b": "c"}), 200), (json!({"b": "C"}), 401), (json!({"b": ["c"]}), 401), (json!("b"), 401)]
        {
            assert_eq!(ask(house, &client, &place.with("a", claim)).await.0, status);
        }
        assert!(why(house).await.contains("no `/a/b`"), "{}", why(house).await);
    }
}

#[tokio::test]
async fn keys_that_are_rotated_are_fetched_anew_and_an_issuer_is_not_asked_all_the_time() {
    let place = Place::open(Kind::Sqlite).await;
    assert_eq!(place.asks(&place.token(&place.claims())).await, 200);
    let second = Signer::ed25519();
    let by_second = || second.sign_with(json!({"kid": "second"}), &place.claims());
    for _ in 0..5 {
        assert_eq!(place.asks(&by_second()).await, 401);
    }
    assert_eq!(place.issuer.count(), 1, "it was asked a moment ago");
    place.issuer.publish(&[place.signer.published("first"), second.published("second")]);
    place.house.clock.advance(Duration::from_secs(11));
    assert_eq!(place.asks(&by_second()).await, 200, "{}", why(&place.house).await);
    assert_eq!(place.issuer.count(), 2);
    // A key that is withdrawn is out when the set is looked at again.
    place.issuer.publish(&[second.published("second")]);
    place.house.clock.advance(Duration::from_secs(601));
    assert_eq!(place.asks(&place.token(&place.claims())).await, 401);
    assert_eq!(place.asks(&by_second()).await, 200);
    // A token that names no key is tried with each; a key for something else is none.
    place.house.clock.advance(Duration::from_secs(61));
    assert_eq!(place.asks(&second.sign(&place.claims())).await, 200);
    let mut encrypting = second.published("second");
    encrypting["use"] = "enc".into();
    place.issuer.publish(&[encrypting, json!({"kty": "new", "kid": "x"})]);
    place.house.clock.advance(Duration::from_secs(601));
    assert_eq!(place.asks(&by_second()).await, 401);
}

#[tokio::test]
async fn an_issuer_that_gives_no_keys_is_asked_again_and_refuses_nobody_for_good() {
    let place = Place::open(Kind::Sqlite).await;
    let (house, issuer) = (&place.house, &place.issuer);
    let big = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(300_000));
    let many = json!({"keys": vec![place.signer.published("x"); 101]}).to_string();
    let inside = json!({"issuer": issuer.url, "jwks_uri": "http://169.254.169.254/latest/meta-data"});
    let plain = json!({"issuer": issuer.url, "jwks_uri": "http://keys.example.com/"});
    let another = json!({"issuer": "https://accounts.google.com", "jwks_uri": format!("{}/keys", issuer.url)});
    let good = json!({"keys": [place.signer.published("first")]}).to_string();
    for (statuses, discovery, keys, said) in [
        (&[503][..], None, &good, "503"),
        (&[200, 404], None, &good, "404"),
        (&[302], None, &good, "307"),
        (&[], None, &big, "larger than 256 KiB"),
        (&[], None, &many, "101 keys"),
        (&[], None, &"nonsense".to_owned(), "no set of keys"),
        (&[], Some(inside), &good, "must begin with https"),
        (&[], Some(plain), &good, "must begin with https"),
        (&[], Some(another), &good, "says that it is the issuer"),
        (&[], Some(json!({})), &good, "no `issuer`"),
    ] {
        issuer.answer(statuses);
        issuer.discover(discovery);
        issuer.publish_text(keys.clone());
        let (status, body) = ask(house, &place.client, &place.token(&place.claims())).await;
        assert_eq!((status, &body["error"]), (503, &json!("temporarily_unavailable")), "{said}: {body}");
        assert!(!body.to_string().contains("127.0.0.1"), "{body}");
        let told = why(house).await;
        assert!(told.contains(said) && told.contains("cannot be had"), "{said}: {told}");
        house.clock.advance(Duration::from_secs(11));
    }
    issuer.discover(None);
    issuer.publish_text(good);
    assert_eq!(place.asks(&place.token(&place.claims())).await, 200);
    // While it is away afterwards, its keys are used on for an hour, and no longer.
    issuer.answer(&[503; 1000]);
    house.clock.advance(Duration::from_mins(50));
    assert_eq!(place.asks(&place.token(&place.claims())).await, 200);
    house.clock.advance(Duration::from_mins(11));
    assert_eq!(place.asks(&place.token(&place.claims())).await, 503);
    place.renew().await;
    assert!(house.get(&format!("/agents/{}", place.agent)).await["agentId"].is_string());
}

#[tokio::test]
async fn an_issuer_that_nobody_answers_for_is_later_and_one_inside_is_not_asked_unless_allowed() {
    let place = Place::open(Kind::Sqlite).await;
    let (agent, client) = new_agent(&place.house, "south").await;
    // A port that nobody listens at.
    let gone = "http://127.0.0.1:1/id";
    add_rule(&place.house, &agent, gone, json!({})).await;
    assert_eq!(ask(&place.house, &client, &place.with("iss", json!(gone))).await.0, 503);
    assert!(why(&place.house).await.contains("cannot be reached"), "{}", why(&place.house).await);
    // Without the operator's word no rule can name it.
    let closed = House::open(Kind::Sqlite).await;
    let agent = closed.new_agent("north").await;
    let body = json!({"name": "x", "issuer": place.issuer.url, "subject": SUBJECT});
    let problem = closed.expect(400, Method::POST, &format!("/agents/{agent}/trust-rules"), Some(body)).await;
    assert!(problem.to_string().contains("https://"), "{problem}");
    assert_eq!(place.issuer.count(), 0);
}

#[tokio::test]
async fn a_removed_agent_hears_of_it_by_a_token_that_its_rule_fits() {
    let place = Place::open(Kind::Sqlite).await;
    assert_eq!(place.asks(&place.token(&place.claims())).await, 200);
    place.house.expect(202, Method::DELETE, &format!("/agents/{}", place.agent), None).await;
    let (status, body) = ask(&place.house, &place.client, &place.token(&place.claims())).await;
    assert_eq!((status, &body["code"]), (401, &json!("agent_removed")), "{body}");
    let (status, body) = ask(&place.house, &place.client, &place.with("sub", json!("another"))).await;
    assert_eq!((status, &body["code"]), (401, &Value::Null), "{body}");
}
