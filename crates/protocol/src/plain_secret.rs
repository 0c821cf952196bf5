//! Whether a free property holds a secret's value: by its name, and by what stands in it.
//!
//! Names alone do not tell: a connection URL, a JAAS line or a list of options carries a password inside of a text whose name says
//! nothing. It errs on the side of refusing; a setting that is refused by mistake has another way of writing, a secret that was
//! stored has none.

use crate::fault::{PLAIN_SECRET, Problem};

/// In a name they mean a secret wherever they stand: no other word contains them.
const ANYWHERE: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "credential",
    "privatekey",
    "apikey",
    "accesskey",
    "accountkey",
    "sharedkey",
    "secretkey",
    "sharedaccesssignature",
];
/// They mean a secret where a name ends in them, alone or behind what it is for: `proxyPass`, `authtoken`.
const LAST: [&str; 5] = ["pass", "token", "tokens", "cred", "creds"];
/// Words that end in one of `LAST` and mean something else.
const INNOCENT: [&str; 7] = ["compass", "bypass", "encompass", "trespass", "overpass", "underpass", "sacred"];
/// A name that ends in them says where something is, how it is written or how long it lives, not what it is.
const ABOUT: [&str; 27] = [
    "file",
    "path",
    "paths",
    "location",
    "directory",
    "url",
    "uri",
    "endpoint",
    "callback",
    "class",
    "provider",
    "plugin",
    "encoding",
    "format",
    "type",
    "mode",
    "policy",
    "alias",
    "secretname",
    "timeout",
    "ttl",
    "interval",
    "expiry",
    "seconds",
    "ms",
    "size",
    "retrieval",
];
/// What a key is that is none of a lock: `publicKey`, `primary.key`.
const OPEN_KEYS: [&str; 5] = ["public", "primary", "foreign", "partition", "sort"];

/// The problem of a property that would be kept with a secret in it. The value is not quoted.
pub(crate) fn refuse(name: &str, value: &str, path: &str, line: u64) -> Option<Problem> {
    const CURE: &str = "take it out and name where the secret is instead: \
                        `password: {secretType: env, secretName: NAME}` of the connection is such a reference";
    let is_switch = ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let wrong = if sounds_secret(name) && !is_switch {
        "looks like a secret, and secrets do not belong in a pipeline".to_owned()
    } else {
        format!("contains {}, and secrets do not belong in a pipeline", found_in(value)?)
    };
    Some(Problem::new(PLAIN_SECRET, path, wrong, CURE).line(line))
}

/// Whether a property of this name would hold a secret's value. Paths and names of secrets are none.
fn sounds_secret(name: &str) -> bool {
    let words = words(name);
    let (Some(last), joined) = (words.last(), words.concat()) else { return false };
    if ABOUT.iter().any(|end| last == end) || joined.ends_with("secretname") || is_about_secret(&joined) {
        return false;
    }
    let before = words.iter().rev().nth(1);
    let is_key = last == "key" && before.is_some_and(|of| !OPEN_KEYS.contains(&of.as_str()));
    is_key || names_secret(&joined) || ends_secret(last)
}

/// All in one: `keystorepasswordfile`, `sslpasswordcallback`.
fn is_about_secret(joined: &str) -> bool {
    ABOUT.iter().filter(|end| end.len() > 3).any(|end| joined.strip_suffix(end).is_some_and(names_secret))
}

fn names_secret(joined: &str) -> bool {
    ANYWHERE.iter().any(|word| joined.contains(word))
}

fn ends_secret(last: &str) -> bool {
    LAST.iter().any(|word| last.ends_with(word)) && !INNOCENT.contains(&last)
}

/// `socksProxyPass`, `socks.proxy_pass` as small words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for character in name.chars() {
        if !character.is_alphanumeric() || (was_small && character.is_uppercase()) {
            words.push(String::new());
        }
        was_small = character.is_lowercase() || character.is_numeric();
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What kind of secret stands in a value.
fn found_in(value: &str) -> Option<&'static str> {
    if value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if has_user_and_password(value) {
        return Some("an address with a password in it");
    }
    if assigns(value) {
        return Some("a password or another secret");
    }
    if value.split(|c: char| !c.is_ascii_alphanumeric()).any(is_aws_key) {
        return Some("an AWS access key");
    }
    let mut words = value.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("bearer")).skip(1);
    words.next().is_some_and(|token| token.len() >= 16).then_some("a token")
}

/// `AKIA…` of a user, `ASIA…` of a session.
fn is_aws_key(word: &str) -> bool {
    let rest = word.strip_prefix("AKIA").or_else(|| word.strip_prefix("ASIA"));
    rest.is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()))
}

/// `scheme://user:password@host`, and Oracle's `jdbc:oracle:thin:user/password@host`.
fn has_user_and_password(value: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'');
    let of_url = value.split("://").skip(1).any(|rest| {
        let authority = rest.split(ends).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| is_pair(user, ':'))
    });
    let oracle = value.split("jdbc:oracle:").nth(1).and_then(|rest| rest.split_once(':')).map(|(_, rest)| rest);
    of_url || oracle.and_then(|rest| rest.split_once('@')).is_some_and(|(user, _)| is_pair(user, '/'))
}

fn is_pair(user: &str, between: char) -> bool {
    user.split_once(between).is_some_and(|(_, password)| is_value(password))
}

/// Whether a name of a secret is given a value: `password=…`, `"client_secret": "…"`, `-c pwd = …`.
fn assigns(value: &str) -> bool {
    value.match_indices(['=', ':']).any(|(at, sign)| {
        let (Some(before), Some(after)) = (value.get(..at), value.get(at + 1..)) else { return false };
        let named = before.trim_end().trim_end_matches(['"', '\'']);
        let begins = named.rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-'));
        let name = begins.map_or(named, |at| named.get(at..).unwrap_or_default());
        // `jdbc:secret:…` gives nothing a value; `secret: …` does.
        let gives = sign == "=" || after.starts_with([' ', '"', '\'']);
        gives && is_value(after.trim_start().trim_start_matches(['"', '\''])) && is_named_secret(name)
    })
}

/// In the middle of a text a word such as `sort_key` is too common to mean anything.
fn is_named_secret(name: &str) -> bool {
    let is_key = words(name).last().is_some_and(|last| last == "key") && !names_secret(&words(name).concat());
    !is_key && sounds_secret(name)
}

/// Something, and no reference to be filled in elsewhere: `${file:…}`.
fn is_value(text: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | ',' | '"' | '\'' | ')' | '}');
    let value = text.split(ends).next().unwrap_or_default();
    !value.is_empty() && !value.starts_with("${") && value != "true" && value != "false"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> bool {
        let problem = refuse(name, value, "advancedProperties.x", 0);
        if let Some(problem) = &problem {
            assert_eq!((problem.code, problem.path.as_str()), ("PL-005", "advancedProperties.x"));
            assert!(value.len() < 4 || !format!("{problem:?}").contains(value), "{problem:?}");
        }
        problem.is_some()
    }

    #[test]
    fn a_name_that_means_a_secret_is_refused() {
        let names = "password sslpassword database.password ssl.key.password trustStorePassword PASSWORD passwd pwd db_pwd \
            userPwd pass socksProxyPass proxypass passphrase credential credentials google.credentials token accessToken \
            sasl.oauth.token authtoken secret AADSecurePrincipalSecret client_secret apikey api.key api-key apiKey accesskey \
            aws.access.key.id aws_secret_access_key privatekey private_key ssl.private.key accountKey \
            keyVaultProviderClientKey keyStoreSecret encryption_key SharedAccessSignature";
        for name in names.split_whitespace() {
            assert!(refused(name, "hunter2x"), "{name}");
        }
    }

    #[test]
    fn a_name_that_only_sounds_like_one_passes() {
        let settings = "sslkey=/path/client.key sslcert=/c.pem sslpasswordcallback=a.B passive=yes compass=north bypass=x \
            passThrough=x tokenizer=standard assign=1 passwordCharacterEncoding=UTF-8 message.key.columns=public.orders:id \
            key=id google.credentials.path=/etc/key.json credentials.provider=com.example.Provider keyStoreLocation=/etc/keys \
            sasl.oauthbearer.token.endpoint.url=https://idp.example/token allowPublicKeyRetrieval=true primary.key=id \
            serverRSAPublicKeyFile=/etc/k.pem accessTokenCallbackClass=a.B password.file=/run/secrets/x useToken=false \
            keystorepasswordfile=/x columnEncryptionTrustedMasterKeyPaths=a secretName=shop/db heartbeat.interval.ms=5000 \
            secrets.ttl=60 key.converter=a.B";
        for (name, value) in settings.split_whitespace().filter_map(|setting| setting.split_once('=')) {
            assert!(!refused(name, value), "{name}");
        }
    }

    #[test]
    fn a_value_that_carries_a_secret_is_refused_whatever_its_name() {
        for value in [
            "jdbc:postgresql://u:pw12@h/d",
            "postgres://shop:pw%40d@db.example:5432/shop?sslmode=require",
            "jdbc:postgresql://h/d?user=u&password=pw12",
            "jdbc:sqlserver://h:1433;user=sa;password={pw12};encrypt=true",
            "jdbc:oracle:thin:scott/tiger@//h:1521/x",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"pw12\";",
            "-c password=pw12 -c search_path=x",
            "PWD = pw12",
            "{\"type\": \"service_account\", \"private_key\": \"pw12\"}",
            "password: pw12",
            "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=pw12==",
            "-----BEGIN PRIVATE KEY-----\nMIIE",
            "-----BEGIN RSA PRIVATE KEY-----",
            "id AKIAIOSFODNN7EXAMPLE",
            "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
            "http://proxy:pw12@10.0.0.1:3128",
        ] {
            assert!(refused("url", value), "{value}");
        }
    }

    #[test]
    fn a_value_without_a_secret_passes() {
        for value in [
            "",
            "jdbc:postgresql://h:5432/d?sslmode=verify-full&sslkey=/etc/client.key",
            "jdbc:oracle:thin:@//h:1521/x",
            "https://user@h/path",
            "https://h:8080/a@b",
            "postgres://shop:${PASSWORD}@h/d",
            "PlainLoginModule required username=\"u\" password=\"${file:/run/kafka:password}\";",
            "-c search_path=shop -c statement_timeout=0",
            "select id, sort_key from shop.orders where sort_key = 5",
            "password=",
            "public.orders:id,order_key;public.users:id",
            "com.example.token.Provider",
            "password.file=/run/x",
            "AKIAIOSFODNN7",
            "initial",
            "Europe/Berlin",
            "trust the bearer",
            "-----BEGIN CERTIFICATE-----",
        ] {
            assert!(!refused("options", value), "{value}");
        }
    }
}
