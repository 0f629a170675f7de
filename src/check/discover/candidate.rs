//! Where a domain's mail may be sent from, the likeliest first.

use std::fmt;

use serde::Serialize;

use super::records::Service;
use crate::error::Error;
use crate::providers::{Encryption, Endpoint, Provider};

/// An endpoint that may be the right one, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Host, port and encryption.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it was seen to work; `None` where it was not tried, or not to its end.
    pub works: Option<bool>,
    /// Why it does not.
    pub problem: Option<String>,
    #[serde(skip)]
    pub(super) failure: Option<Error>,
}

/// Where an endpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// The settings of a provider.
    Provider {
        /// Its name.
        name: String,
        /// How it was recognised: by the domain of the address, or by who takes the domain's mail.
        by: Recognised,
    },
    /// An SRV record of the domain.
    Service {
        /// The record's name.
        record: String,
        /// Whether the host is in another domain: then it is the DNS that vouches for it, and a
        /// person should look at its name before it gets a password (RFC 6186 §6).
        outside: bool,
    },
    /// A name that is often taken.
    Guess,
}

/// How a provider was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recognised {
    /// It gives out addresses of this domain.
    Domain,
    /// It takes the domain's mail.
    Mx,
}

impl Candidate {
    pub(super) fn new(endpoint: Endpoint, origin: Origin) -> Self {
        Self {
            endpoint,
            origin,
            works: None,
            problem: None,
            failure: None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider { name, by } => match by {
                Recognised::Domain => write!(f, "the settings of {name}"),
                Recognised::Mx => {
                    write!(f, "the settings of {name}, which takes the domain's mail")
                }
            },
            Self::Service { record, outside } => {
                write!(f, "the DNS record {record}")?;
                match outside {
                    true => f.write_str(", which names a host of another domain"),
                    false => Ok(()),
                }
            }
            Self::Guess => f.write_str("a guess: the name is often taken"),
        }
    }
}

/// The endpoints of a provider, the best first.
pub(super) fn of_provider(
    provider: &Provider,
    endpoints: Vec<Endpoint>,
    by: Recognised,
) -> Vec<Candidate> {
    let name = &provider.name;
    endpoints
        .into_iter()
        .map(|endpoint| {
            let name = name.clone();
            Candidate::new(endpoint, Origin::Provider { name, by })
        })
        .collect()
}

/// The endpoints of a domain's SRV records: by priority over both services, TLS before STARTTLS, then
/// by weight (RFC 6186 §3.4, RFC 8314 §5.1). The greater weight comes first and not by lot: whoever
/// asks twice should be told the same.
pub(super) fn of_services(
    domain: &str,
    submissions: Vec<Service>,
    submission: Vec<Service>,
) -> Vec<Candidate> {
    let tls = submissions.into_iter().map(|s| (s, Encryption::Tls));
    let starttls = submission.into_iter().map(|s| (s, Encryption::StartTls));
    let mut services: Vec<_> = tls
        .chain(starttls)
        .filter(|(service, _)| !is_absent(service) && service.port != 0)
        .collect();
    services.sort_by_key(|(service, encryption)| {
        let late = *encryption != Encryption::Tls;
        (service.priority, late, u16::MAX - service.weight)
    });
    services
        .into_iter()
        .map(|(service, encryption)| {
            let target = service.target.trim_end_matches('.').to_ascii_lowercase();
            let origin = Origin::Service {
                record: format!("{}.{domain}", label(encryption)),
                outside: !is_within(&target, domain),
            };
            let port = service.port;
            let endpoint = Endpoint {
                host: target,
                port,
                encryption,
            };
            Candidate::new(endpoint, origin)
        })
        .collect()
}

/// The names that are often taken, by port.
pub(super) fn guesses(domain: &str) -> Vec<Candidate> {
    let ports = [
        (587, Encryption::StartTls),
        (465, Encryption::Tls),
        (25, Encryption::StartTls),
    ];
    let hosts = [
        format!("mail.{domain}"),
        format!("smtp.{domain}"),
        domain.to_owned(),
    ];
    let mut guesses = Vec::new();
    for (port, encryption) in ports {
        for host in &hosts {
            let endpoint = Endpoint {
                host: host.clone(),
                port,
                encryption,
            };
            guesses.push(Candidate::new(endpoint, Origin::Guess));
        }
    }
    guesses
}

/// RFC 2782: a target of `.` says that the service is decidedly not there.
pub(super) fn is_absent(service: &Service) -> bool {
    service.target.trim_end_matches('.').is_empty()
}

/// The first labels of the record's name.
pub(super) fn label(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Tls => "_submissions._tcp",
        Encryption::StartTls | Encryption::None => "_submission._tcp",
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, port: u16, target: &str) -> Service {
        Service {
            priority,
            weight,
            port,
            target: target.to_owned(),
        }
    }

    #[test]
    fn services_are_ordered_by_priority_then_tls_then_weight() {
        let found = of_services(
            "example.org",
            vec![service(10, 0, 465, "Tls.example.org.")],
            vec![
                service(20, 0, 587, "last.example.org."),
                service(10, 1, 587, "light.example.org."),
                service(10, 9, 587, "heavy.example.org."),
                service(0, 0, 587, "first.example.org."),
                service(0, 0, 0, "."),
            ],
        );
        let hosts: Vec<_> = found.iter().map(|c| c.endpoint.host.as_str()).collect();
        let expected = ["first", "tls", "heavy", "light", "last"];
        assert_eq!(hosts, expected.map(|name| format!("{name}.example.org")));
    }

    #[test]
    fn a_host_of_another_domain_is_marked() {
        for (target, outside) in [
            ("mail.example.org.", false),
            ("example.org", false),
            ("mail.example.net.", true),
            ("badexample.org.", true),
            ("example.org.evil.example.", true),
        ] {
            let found = of_services("example.org", vec![service(0, 0, 465, target)], Vec::new());
            let Origin::Service {
                outside: marked, ..
            } = found[0].origin
            else {
                panic!("{found:?}");
            };
            assert_eq!(marked, outside, "{target}");
        }
    }

    #[test]
    fn guesses_go_through_the_ports_in_order() {
        let guesses = guesses("example.org");
        let ports: Vec<_> = guesses.iter().map(|guess| guess.endpoint.port).collect();
        assert_eq!(ports, [587, 587, 587, 465, 465, 465, 25, 25, 25]);
        assert_eq!(guesses[0].endpoint.host, "mail.example.org");
        assert!(
            guesses
                .iter()
                .all(|guess| guess.endpoint.encryption != Encryption::None)
        );
    }
}
