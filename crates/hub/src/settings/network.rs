//! Addresses and networks, as settings list them: `10.0.0.0/8,192.0.2.7`.

use std::net::IpAddr;

use ipnet::IpNet;

/// A list of networks; an address alone is a network of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads the list; the part that is neither address nor network is the error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| {
            let whole = part.parse::<IpAddr>().map(IpNet::from);
            whole.or_else(|_no_address| part.parse::<IpNet>()).map_err(|_neither| part.to_owned())
        };
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the address lies in one of them. An IPv4 address in the clothes of IPv6 is an IPv4 address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_list_by_itself_or_by_its_network() {
        let list = Networks::parse("10.0.0.0/8, 192.0.2.7,fd00::/8").unwrap();
        for (address, is_in) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.1.1", true),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(list.contain(address.parse().unwrap()), is_in, "{address}");
        }
        assert_eq!(Networks::parse("10.0.0.0/8,x"), Err("x".into()));
        assert!(Networks::parse("").unwrap().is_empty());
    }
}
