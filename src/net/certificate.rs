//! What a certificate says, for people, and its digest for channel binding.

use std::net::IpAddr;

use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_rustls::rustls::crypto::hash::Hash;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::proto::evidence::CertificateProblem;
use crate::proto::session::{Certificate, CertificateRole};

/// The facts of a certificate in DER. Of one that cannot be read only the fingerprint is known.
pub(super) fn facts(der: &[u8], sha256: &dyn Hash) -> Certificate {
    let mut fingerprint = [0; 32];
    for (to, from) in fingerprint.iter_mut().zip(sha256.hash(der).as_ref()) {
        *to = *from;
    }
    let mut certificate = Certificate::new(fingerprint);
    if let Ok((_, parsed)) = X509Certificate::from_der(der) {
        certificate.subject = printable(&parsed.subject().to_string());
        certificate.issuer = printable(&parsed.issuer().to_string());
        certificate.names = names(&parsed);
        certificate.not_before = parsed.validity().not_before.timestamp();
        certificate.not_after = parsed.validity().not_after.timestamp();
        certificate.key = key(&parsed);
        certificate.role = match parsed.is_ca() {
            true => CertificateRole::Authority,
            false => CertificateRole::EndEntity,
        };
        certificate.issuer_location = issuer_location(&parsed);
    }
    certificate
}

/// What it means that nobody who is trusted vouches for a chain. Where the issuer of the server's own
/// certificate is not shown, it may be a root that is not trusted; but the issuers of public
/// authorities' are not roots, and say where theirs are to be found.
pub(super) fn untrusted(chain: &[Certificate]) -> CertificateProblem {
    let Some((own, issuers)) = chain.split_first() else {
        return CertificateProblem::UnknownIssuer;
    };
    let is_shown = issuers.iter().any(|issuer| issuer.subject == own.issuer);
    if own.is_self_issued() {
        CertificateProblem::SelfSigned
    } else if !is_shown && own.issuer_location.is_some() {
        CertificateProblem::IncompleteChain
    } else {
        CertificateProblem::UnknownIssuer
    }
}

/// The channel binding tls-server-end-point (RFC 5929 §4.1): a digest of the certificate by the hash
/// function of its signature, or by SHA-256 where that is weaker. Of a signature without a hash
/// function of its own (Ed25519) there is none.
pub(super) fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(
        match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
            // md5, sha1 and sha256WithRSAEncryption, ecdsa-with-SHA1 and -SHA256
            "1.2.840.113549.1.1.4"
            | "1.2.840.113549.1.1.5"
            | "1.2.840.113549.1.1.11"
            | "1.2.840.10045.4.1"
            | "1.2.840.10045.4.3.2" => Sha256::digest(der).to_vec(),
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(der).to_vec(),
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(der).to_vec(),
            _ => return None,
        },
    )
}

/// Octets as hexadecimal digits in lower case.
pub(super) fn hexadecimal(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Seconds since 1970 as a date in UTC, such as `2026-11-24`.
pub(crate) fn date(seconds: u64) -> String {
    // Days to a date of the proleptic Gregorian calendar, by eras of 400 years that begin in March.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let (month, next_year) = match shifted_month {
        0..10 => (shifted_month + 3, 0),
        _ => (shifted_month - 9, 1),
    };
    let year = era * 400 + year_of_era + next_year;
    format!("{year:04}-{month:02}-{day:02}")
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let Ok(key) = certificate.public_key().parsed() else {
        return String::new();
    };
    let kind = match key {
        PublicKey::RSA(_) => "RSA",
        PublicKey::EC(_) => "EC",
        PublicKey::DSA(_) => "DSA",
        PublicKey::GostR3410(_) | PublicKey::GostR3410_2012(_) => "GOST",
        PublicKey::Unknown(_) => return String::new(),
    };
    format!("{kind}, {} bits", key.key_size())
}

/// The first location of the issuer's certificate (id-ad-caIssuers, RFC 5280 §4.2.2.1).
fn issuer_location(certificate: &X509Certificate<'_>) -> Option<String> {
    let access =
        certificate
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityInfoAccess(access) => Some(access),
                _ => None,
            })?;
    access.iter().find_map(|description| {
        let is_issuer = description.access_method.to_id_string() == "1.3.6.1.5.5.7.48.2";
        match &description.access_location {
            GeneralName::URI(location) if is_issuer => Some(printable(location)),
            _ => None,
        }
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(printable(name)),
            GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
            _ => None,
        })
        .collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// A peer's text without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5929 §4.1.
    #[test]
    #[cfg(feature = "sandbox")]
    fn the_end_point_is_a_digest_by_the_hash_of_the_signature() {
        let made = |algorithm| {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["mx.example.org".into()]);
            params.unwrap().self_signed(&key).unwrap().der().to_vec()
        };
        let sha256 = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point(&sha256), Some(Sha256::digest(&sha256).to_vec()));
        let sha384 = made(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(end_point(&sha384), Some(Sha384::digest(&sha384).to_vec()));
        assert_eq!(end_point(&made(&rcgen::PKCS_ED25519)), None);
        assert_eq!(end_point(b"no certificate"), None);
    }

    #[test]
    fn what_a_chain_lacks_is_told_by_what_it_shows() {
        let made = |subject: &str, issuer: &str, location: Option<&str>| {
            let mut certificate = Certificate::new([0; 32]);
            certificate.subject = subject.to_owned();
            certificate.issuer = issuer.to_owned();
            certificate.issuer_location = location.map(str::to_owned);
            certificate
        };
        let location = Some("http://ca.example/r3.crt");
        let own = made("CN=mx", "CN=R3", location);
        let issuer = made("CN=R3", "CN=X1", location);
        for (chain, problem) in [
            (vec![], CertificateProblem::UnknownIssuer),
            (vec![own.clone()], CertificateProblem::IncompleteChain),
            (
                vec![own.clone(), made("CN=R4", "CN=X1", location)],
                CertificateProblem::IncompleteChain,
            ),
            (vec![own, issuer], CertificateProblem::UnknownIssuer),
            (
                vec![made("CN=mx", "CN=private", None)],
                CertificateProblem::UnknownIssuer,
            ),
            (
                vec![made("CN=mx", "CN=mx", None)],
                CertificateProblem::SelfSigned,
            ),
        ] {
            assert_eq!(untrusted(&chain), problem, "{chain:?}");
        }
    }

    #[test]
    fn seconds_become_a_date() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn octets_become_digits() {
        assert_eq!(hexadecimal(&[0, 15, 255]), "000fff");
    }
}
