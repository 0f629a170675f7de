//! Domains beyond ASCII, as the A-labels that any server takes (UTS #46).

/// The domain as A-labels; `None` where it has no such form.
#[cfg(feature = "idna")]
pub(crate) fn to_ascii(domain: &str) -> Option<String> {
    idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3)
        .ok()
        .map(std::borrow::Cow::into_owned)
}

/// Without the tables nothing is known of such a domain.
#[cfg(not(feature = "idna"))]
pub(crate) fn to_ascii(_: &str) -> Option<String> {
    None
}
