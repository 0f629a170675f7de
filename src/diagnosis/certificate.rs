//! What is known of a certificate that was refused.

use std::time::{SystemTime, UNIX_EPOCH};

use super::facts::Facts;
use crate::net::certificate::date;
use crate::proto::evidence::{CertificateProblem, RefusedCertificate};
use crate::proto::session::Certificate;

impl Facts<'_> {
    pub(super) fn certificate(&mut self, refused: &RefusedCertificate) {
        self.sign(match refused.problem {
            CertificateProblem::Expired => "certificate-expired",
            CertificateProblem::NotYetValid => "certificate-not-yet-valid",
            CertificateProblem::WrongName => "certificate-wrong-name",
            CertificateProblem::SelfSigned => "certificate-self-signed",
            CertificateProblem::UnknownIssuer => "certificate-unknown-issuer",
            CertificateProblem::IncompleteChain => "certificate-incomplete-chain",
            CertificateProblem::AuthoritysOwn => "certificate-authoritys-own",
            CertificateProblem::PinMismatch => "certificate-pin-mismatch",
            CertificateProblem::Revoked => "certificate-revoked",
            CertificateProblem::Missing => "certificate-missing",
            CertificateProblem::BadSignature | CertificateProblem::Other => "certificate-bad",
        });
        self.say("expected", &refused.expected);
        let Some(own) = refused.chain.first() else {
            return;
        };
        self.say("fingerprint", &own.fingerprint());
        self.say("subject", common_name(&own.subject));
        self.say("issuer", common_name(&own.issuer));
        self.say("names", &listed(&own.names));
        let greeting = self.word("greeting").map(str::to_owned);
        if let Some(name) = best_name(own, &refused.expected, greeting.as_deref()) {
            self.say("certified", &name);
            if self.is_own_kind(&name, &refused.expected) {
                self.sign("certified-own");
            }
        }
        self.validity(refused);
        if let Some(location) = &own.issuer_location {
            self.say("issuer-location", location);
        }
        let is_inspector = |one: &Certificate| {
            let issuer = one.issuer.to_lowercase();
            INSPECTORS.iter().any(|name| issuer.contains(name))
        };
        if refused.chain.iter().any(is_inspector) {
            self.sign("inspected");
        }
    }

    /// Whether a host that only a certificate names, and so perhaps a stranger, may be where the
    /// password is to be sent: it is of the same domain, or of the provider that is meant.
    fn is_own_kind(&self, name: &str, expected: &str) -> bool {
        let is_providers = || {
            let meant = self.situation.intended_provider();
            meant.is_some_and(|meant| meant.has_host(name))
        };
        is_sibling(name, expected) || is_providers()
    }

    /// Of the certificate that is out of its time: the own one, or one of its issuers'.
    fn validity(&mut self, refused: &RefusedCertificate) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let is_expired = |one: &&Certificate| one.not_after < now;
        let is_early = |one: &&Certificate| one.not_before > now;
        let expired = refused.chain.iter().position(|one| is_expired(&one));
        if refused.problem == CertificateProblem::Expired && expired.is_some_and(|at| at > 0) {
            self.sign("issuer-expired");
        }
        let day = |seconds: i64| u64::try_from(seconds).ok().map(date);
        if let Some(day) = refused
            .chain
            .iter()
            .find(is_expired)
            .and_then(|it| day(it.not_after))
        {
            self.say("not-after", &day);
        }
        if let Some(day) = refused
            .chain
            .iter()
            .find(is_early)
            .and_then(|it| day(it.not_before))
        {
            self.say("not-before", &day);
        }
    }
}

/// The name that the server is most likely meant by: the one that its greeting gives, if that fits;
/// then the one that ends most like the host.
fn best_name(certificate: &Certificate, host: &str, greeting: Option<&str>) -> Option<String> {
    let greeted = greeting.and_then(|text| text.split_whitespace().next());
    if let Some(greeted) = greeted.filter(|name| name.contains('.')) {
        let name = greeted.to_lowercase();
        if certificate
            .names
            .iter()
            .any(|pattern| covers(pattern, &name))
        {
            return Some(name);
        }
    }
    let in_common = |name: &&String| {
        let pairs = name.rsplit('.').zip(host.rsplit('.'));
        pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    };
    let plain = certificate.names.iter().filter(|name| !name.contains('*'));
    // The first of the best: `max_by_key` alone would take the last.
    plain.rev().max_by_key(in_common).cloned()
}

/// Whether two hosts are right below one domain, and that is one of somebody's own: not `co.uk`, below
/// which everybody is.
fn is_sibling(one: &str, other: &str) -> bool {
    let (Some((_, domain)), Some((_, others))) = (one.split_once('.'), other.split_once('.'))
    else {
        return false;
    };
    let is_everybodys = match domain.rsplit_once('.') {
        Some((second, top)) => !second.contains('.') && second.len() <= 3 && top.len() == 2,
        None => true,
    };
    domain.eq_ignore_ascii_case(others) && !is_everybodys
}

/// Whether a name of a certificate, `*.example.org` perhaps, is good for a host.
fn covers(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_lowercase();
    match pattern.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest == domain),
        None => pattern == host,
    }
}

/// The common name of a distinguished name, or all of it.
fn common_name(name: &str) -> &str {
    let parts = name.split(", ");
    let common = parts
        .filter_map(|part| part.trim().strip_prefix("CN="))
        .next();
    common.unwrap_or(name)
}

fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES).map(String::as_str).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Names of a certificate in a text.
const NAMES: usize = 5;

/// Programs and devices that open encryption, as they call themselves in the certificates that they
/// issue, in lower case.
const INSPECTORS: [&str; 18] = [
    "avast",
    "avg web/mail",
    "kaspersky",
    "eset ssl",
    "bitdefender",
    "sophos",
    "fortinet",
    "fortigate",
    "zscaler",
    "netskope",
    "palo alto",
    "check point",
    "checkpoint",
    "cisco umbrella",
    "mcafee",
    "norton",
    "blue coat",
    "barracuda",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_to_connect_to_is_the_one_the_server_gives_itself_if_its_certificate_has_it() {
        let mut certificate = Certificate::new([0; 32]);
        certificate.names = ["*.web.example", "mail.other.example", "smtp.host.example"]
            .map(str::to_owned)
            .to_vec();
        let best = |host, greeting| best_name(&certificate, host, greeting);
        let greeting = Some("srv7.web.example ESMTP Exim");
        assert_eq!(
            best("mail.shop.example", greeting).unwrap(),
            "srv7.web.example"
        );
        assert_eq!(
            best("mail.host.example", None).unwrap(),
            "smtp.host.example"
        );
        assert_eq!(
            best("a.b.web.example", Some("a.b.web.example")).unwrap(),
            "mail.other.example"
        );
        assert_eq!(
            best_name(&Certificate::new([0; 32]), "mail.example", greeting),
            None
        );
    }

    #[test]
    fn only_hosts_of_one_domain_are_siblings() {
        for (one, other, expected) in [
            ("mx.host.example", "mail.HOST.example", true),
            ("mx.shop.co.uk", "mail.shop.co.uk", true),
            ("mx.example", "mail.example", false),
            ("evil.co.uk", "shop.co.uk", false),
            ("evil.com.au", "shop.com.au", false),
            ("mx.evil.example", "mail.host.example", false),
            ("host.example", "mail.host.example", false),
            ("localhost", "localhost", false),
        ] {
            assert_eq!(is_sibling(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_name_is_cut_out_of_its_distinguished_name() {
        assert_eq!(common_name("C=US, O=Let's Encrypt, CN=R3"), "R3");
        assert_eq!(common_name("O=Nobody"), "O=Nobody");
    }
}
