//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::{Category, Error, Party, Stage};
use crate::proto::evidence::Evidence;

/// Which addresses of a host may be connected to.
///
/// It is applied to what the host's name has resolved to, and the connection then goes to an address
/// that was judged: the name is not looked up a second time, so an answer that changes in between
/// (DNS rebinding) changes nothing. It is not applied to a proxy, which the operator has chosen, but
/// to the server behind it (see [`Route::Proxy`](super::Route::Proxy)); nor to a stream that the
/// caller has connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressPolicy {
    /// Whatever the host's name resolves to.
    #[default]
    Any,
    /// Addresses of the public Internet only: for a product that connects where its customers say,
    /// and must not be led to its own machines.
    ///
    /// Refused are loopback, private, shared, link-local (cloud metadata), unspecified, multicast,
    /// broadcast, documentation, benchmarking and reserved addresses (RFC 6890 and IANA's registries
    /// of special-purpose addresses), Azure's 168.63.129.16, everything of IPv6 but global unicast
    /// (2000::/3), and 6to4 and Teredo as a whole. An IPv4 address within an IPv6 one (mapped, or
    /// NAT64's 64:ff9b::/96) is judged as itself. A network's own NAT64 prefix cannot be told from
    /// ordinary addresses: where there is one, the network has to filter what it translates to.
    ///
    /// Where a host has public addresses and others, only the public ones are used. Where it has
    /// none, and for a Unix socket, the connection is refused: the category is
    /// `ConnectionRefused`, the stage `Connect`, the party the caller. The message says of what kind
    /// the addresses are, not which: whoever chose the host may see it.
    PublicOnly,
}

impl AddressPolicy {
    /// The addresses that may be connected to.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn permit(
        self,
        host: &str,
        mut addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Error> {
        match self {
            Self::Any => Ok(addresses),
            Self::PublicOnly => {
                let mut kinds = Vec::new();
                addresses.retain(|address| match special(address.ip()) {
                    None => true,
                    Some(kind) => {
                        if !kinds.contains(&kind) {
                            kinds.push(kind);
                        }
                        false
                    }
                });
                match addresses.is_empty() {
                    true => Err(refused(host, &kinds.join(", "))),
                    false => Ok(addresses),
                }
            }
        }
    }

    /// Whether a socket of this machine may be connected to.
    ///
    /// # Errors
    /// It may not.
    #[cfg(unix)]
    pub(super) fn permit_local(self, path: &std::path::Path) -> Result<(), Error> {
        match self {
            Self::Any => Ok(()),
            Self::PublicOnly => Err(refused(
                &format!("the socket {}", path.display()),
                "of this machine",
            )),
        }
    }
}

fn refused(host: &str, kinds: &str) -> Error {
    Error::new(
        Category::ConnectionRefused,
        Stage::Connect,
        Party::Caller,
        format!("{host} has no public address, and no other may be connected to ({kinds})"),
    )
    .with_hint(
        "Name a server on the public Internet, or have whoever runs this program allow all \
         addresses.",
    )
    .with_evidence(Evidence::AddressPolicy)
}

/// What is special about an address; `None` for one of the public Internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    V4.into_iter().find_map(|(network, length, kind)| {
        let differing = u32::from(address) ^ u32::from(Ipv4Addr::from(network));
        (differing.leading_zeros() >= length).then_some(kind)
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = address.to_ipv4_mapped().or_else(|| translated(address)) {
        return special_v4(inner);
    }
    let listed = V6.into_iter().find_map(|(network, length, kind)| {
        let differing = u128::from(address) ^ u128::from(Ipv6Addr::from(network));
        (differing.leading_zeros() >= length).then_some(kind)
    });
    // RFC 4291 §2.4, and what IANA has given out of it: 2000::/3.
    let is_global_unicast = address.segments()[0] >> 13 == 0b001;
    listed.or((!is_global_unicast).then_some("reserved"))
}

/// The IPv4 address that NAT64 translates to (RFC 6052 §2.1).
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// IANA's IPv4 registry of special-purpose addresses, multicast, and one that only a cloud has.
const V4: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "unspecified"),         // RFC 791 §3.2
    ([10, 0, 0, 0], 8, "private"),            // RFC 1918
    ([100, 64, 0, 0], 10, "shared"),          // RFC 6598
    ([127, 0, 0, 0], 8, "loopback"),          // RFC 1122 §3.2.1.3
    ([168, 63, 129, 16], 32, "cloud"),        // Azure's metadata and DNS
    ([169, 254, 0, 0], 16, "link-local"),     // RFC 3927; 169.254.169.254 is metadata
    ([172, 16, 0, 0], 12, "private"),         // RFC 1918
    ([192, 0, 0, 0], 24, "reserved"),         // RFC 6890 §2.1
    ([192, 0, 2, 0], 24, "documentation"),    // RFC 5737
    ([192, 88, 99, 0], 24, "reserved"),       // RFC 7526, once the relays of 6to4
    ([192, 168, 0, 0], 16, "private"),        // RFC 1918
    ([198, 18, 0, 0], 15, "benchmarking"),    // RFC 2544
    ([198, 51, 100, 0], 24, "documentation"), // RFC 5737
    ([203, 0, 113, 0], 24, "documentation"),  // RFC 5737
    ([224, 0, 0, 0], 4, "multicast"),         // RFC 5771
    ([255, 255, 255, 255], 32, "broadcast"),  // RFC 8190
    ([240, 0, 0, 0], 4, "reserved"),          // RFC 1112 §4
];

/// IANA's IPv6 registry of special-purpose addresses, as far as they lie in 2000::/3 or have a name
/// worth telling.
const V6: [([u16; 8], u32, &str); 12] = [
    ([0; 8], 128, "unspecified"),                      // RFC 4291 §2.5.2
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),       // RFC 4291 §2.5.3
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "NAT64"), // RFC 8215: where IPv4 lies in it is not known
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private"),   // RFC 4193; fd00:ec2::254 is metadata
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"), // RFC 4291 §2.5.6
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "private"),  // RFC 3879, once site-local
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"), // RFC 4291 §2.7
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),   // RFC 4380
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved"), // RFC 2928: ORCHID, benchmarking and others
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"), // RFC 3849
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),     // RFC 3056
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"), // RFC 9637
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_told_by_their_kind() {
        for (kind, addresses) in [
            ("loopback", &["127.0.0.1", "127.255.255.255", "::1"][..]),
            ("unspecified", &["0.0.0.0", "0.255.255.255", "::"]),
            ("private", &["10.0.0.0", "10.255.255.255", "172.16.0.0"]),
            ("private", &["172.31.255.255", "192.168.0.0", "fc00::"]),
            ("private", &["fdff:ffff::1", "fd00:ec2::254", "fec0::1"]),
            ("link-local", &["169.254.169.254", "fe80::1", "febf::1"]),
            ("shared", &["100.64.0.0", "100.127.255.255"]),
            ("cloud", &["168.63.129.16"]),
            ("multicast", &["224.0.0.0", "239.255.255.255", "ff02::1"]),
            ("broadcast", &["255.255.255.255"]),
            ("reserved", &["240.0.0.0", "192.0.0.192", "192.88.99.1"]),
            (
                "reserved",
                &["2001:2::1", "2001:20::1", "5f00::1", "100::1"],
            ),
            (
                "reserved",
                &["::127.0.0.1", "::8.8.8.8", "4000::", "1fff::"],
            ),
            ("documentation", &["192.0.2.1", "198.51.100.1"]),
            ("documentation", &["203.0.113.1", "2001:db8::1", "3fff::1"]),
            ("benchmarking", &["198.18.0.0", "198.19.255.255"]),
            (
                "Teredo",
                &["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
            ),
            ("6to4", &["2002:7f00:1::1", "2002:808:808::1"]),
            ("NAT64", &["64:ff9b:1::1", "64:ff9b:1:7f00::1"]),
        ] {
            for address in addresses {
                assert_eq!(special(address.parse().unwrap()), Some(kind), "{address}");
            }
        }
    }

    #[test]
    fn an_address_within_another_is_judged_as_itself() {
        for (inner, kind) in [
            ("127.0.0.1", Some("loopback")),
            ("169.254.169.254", Some("link-local")),
            ("10.1.2.3", Some("private")),
            ("8.8.8.8", None),
        ] {
            for outer in ["::ffff:", "64:ff9b::"] {
                let address = format!("{outer}{inner}").parse().unwrap();
                assert_eq!(special(address), kind, "{address}");
            }
        }
    }

    #[test]
    fn neighbours_of_special_networks_are_public() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1",
            "3ffe::1",
            "3fff:1000::",
        ] {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn of_a_mixture_the_public_ones_are_left() {
        let sockets = |addresses: &[&str]| -> Vec<SocketAddr> {
            let sockets = addresses
                .iter()
                .map(|a| SocketAddr::new(a.parse().unwrap(), 25));
            sockets.collect()
        };
        let mixture = sockets(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1"]);
        let policy = AddressPolicy::PublicOnly;
        assert_eq!(
            policy.permit("mx.example.org", mixture.clone()).unwrap(),
            sockets(&["8.8.8.8", "2606:4700::1"])
        );
        assert_eq!(
            AddressPolicy::Any
                .permit("mx.example.org", mixture.clone())
                .unwrap(),
            mixture
        );
        let error = policy
            .permit("mx.example.org", sockets(&["10.0.0.7", "127.0.0.7"]))
            .unwrap_err();
        assert_eq!(error.category(), Category::ConnectionRefused);
        assert_eq!(
            (error.stage(), error.party()),
            (Stage::Connect, Party::Caller)
        );
        let message = error.message();
        assert!(message.contains("private, loopback"), "{message}");
        assert!(!message.contains("0.0.7"), "{message}");
    }
}
