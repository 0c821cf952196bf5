//! Where calls may come from: ranges of addresses, IPv4 and IPv6 (RFC 4632, RFC 4291).
//!
//! An empty list lets everyone in. An IPv4 address that comes as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address. What is
//! looked at is the address that `web::request` says the call came from; behind a proxy that is the proxy's, unless the hub
//! is told to trust it.

use std::fmt;
use std::net::IpAddr;

use crate::fault::Refused;

/// Ranges in a list, at most.
pub(crate) const MOST: usize = 200;

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    bits: u8,
}

/// A list of ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed(Vec<Range>);

impl Range {
    fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| {
            format!("`{text}` is not an address or a range; write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32")
        })?;
        let most = width(address);
        let bits = match bits {
            None => most,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|number| *number <= most && bits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| format!("`{text}`: what stands after the / is a number from 0 to {most}"))?,
        };
        let first = masked(address, bits);
        // `::ffff:0:0/96` and narrower are IPv4.
        match (first, first.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if bits >= 96 => Ok(Self { first: canonical, bits: bits - 96 }),
            _ => Ok(Self { first, bits }),
        }
    }

    fn holds(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && masked(address, self.bits) == self.first
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.bits)
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all but its first `bits` bits at 0.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl Allowed {
    /// Reads ranges as people write them; `field` is where what is wrong with them is said.
    pub(crate) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>, field: &str) -> Result<Self, Refused> {
        let mut ranges: Vec<Range> = Vec::new();
        for text in texts {
            let range = Range::parse(text).map_err(|message| Refused::invalid(field, message))?;
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        if ranges.len() > MOST {
            return Err(Refused::invalid(field, format!("may hold {MOST} ranges at most")));
        }
        Ok(Self(ranges))
    }

    /// As it is stored.
    pub(crate) fn to_json(&self) -> String {
        serde_json::Value::from(self.texts()).to_string()
    }

    /// What [`Self::to_json`] wrote. What cannot be read lets nobody in.
    pub(crate) fn from_json(stored: &str) -> Result<Self, Refused> {
        let texts: Vec<String> = serde_json::from_str(stored).map_err(|error| Refused::Failed(Box::new(error)))?;
        Self::parse(texts.iter().map(String::as_str), "")
            .map_err(|_damaged| Refused::failed("a stored list of addresses is damaged"))
    }

    /// Each range as people write it.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().map(Range::to_string).collect()
    }

    /// Whether it lets everyone in.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a call from `address` comes in. An address that is none comes in only where everyone does.
    pub(crate) fn lets_in(&self, address: &str) -> bool {
        let address = address.parse::<IpAddr>().map(|address| address.to_canonical());
        self.is_open() || address.is_ok_and(|address| self.0.iter().any(|range| range.holds(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(texts: &[&str]) -> Allowed {
        Allowed::parse(texts.iter().copied(), "allowed").unwrap()
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_other() {
        let list = allowed(&["203.0.113.0/24", "198.51.100.7", "2001:db8::/32", "10.0.0.0/9"]);
        for inside in
            ["203.0.113.0", "203.0.113.255", "::ffff:203.0.113.9", "198.51.100.7", "2001:db8:ffff::1", "10.127.255.255"]
        {
            assert!(list.lets_in(inside), "{inside}");
        }
        for outside in
            ["203.0.112.255", "203.0.114.0", "198.51.100.8", "2001:db9::", "10.128.0.0", "::1", "", "nonsense"]
        {
            assert!(!list.lets_in(outside), "{outside}");
        }
        assert!(allowed(&["0.0.0.0/0"]).lets_in("1.2.3.4") && !allowed(&["0.0.0.0/0"]).lets_in("::1"));
        assert!(allowed(&["::/0"]).lets_in("::1") && !allowed(&["::/0"]).lets_in("1.2.3.4"));
        assert!(allowed(&["::ffff:10.0.0.0/104"]).lets_in("10.9.9.9"));
    }

    #[test]
    fn an_empty_list_lets_everyone_in_and_comes_back_as_it_was() {
        assert!(allowed(&[]).lets_in("1.2.3.4") && allowed(&[]).is_open());
        let list = allowed(&["203.0.113.0/24", "::1", "203.0.113.7/24", "10.9.8.7/8"]);
        assert_eq!(list.texts(), ["203.0.113.0/24", "::1", "10.0.0.0/8"]);
        assert_eq!(Allowed::from_json(&list.to_json()).unwrap(), list);
        assert!(Allowed::from_json("[\"x\"]").is_err() && Allowed::from_json("").is_err());
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_to_write() {
        for (wrong, said) in [
            ("203.0.113.0/33", "from 0 to 32"),
            ("203.0.113.0/+4", "from 0 to 32"),
            ("example.com", "203.0.113.0/24"),
            ("", "203.0.113.0/24"),
            ("2001:db8::/129", "from 0 to 128"),
        ] {
            let Err(Refused::Invalid(violations)) = Allowed::parse([wrong], "allowed") else { panic!("{wrong}") };
            assert!(violations[0].message.contains(said), "{}", violations[0].message);
        }
    }
}
