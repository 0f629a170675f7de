//! What a session has used up of the limits that the server sets (RFC 9422).

use std::collections::BTreeSet;

use super::options::Options;
use super::voice::Usual;

/// What one session has used up.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// MAIL commands that were well-formed and in turn.
    mails: usize,
    /// Domains of recipients, in lower case.
    domains: BTreeSet<String>,
}

impl Quota {
    /// Counts a MAIL command: whether it is not one too many.
    pub(super) fn allows_mail(&mut self, options: &Options) -> bool {
        self.mails += 1;
        options
            .message_limit
            .is_none_or(|limit| self.mails <= limit)
    }

    /// Counts a recipient's domain; the reply where this recipient is one too many in a transaction
    /// that has so many, or its domain in the session.
    pub(super) fn refuse_rcpt(
        &mut self,
        path: &str,
        recipients: usize,
        options: &Options,
    ) -> Option<Usual<'static>> {
        if options
            .recipient_limit
            .is_some_and(|limit| recipients >= limit)
        {
            return Some(Usual::Line(452, "4.5.3", "too many recipients"));
        }
        let limit = options.domain_limit?;
        let domain = path.rsplit('@').next().unwrap_or_default().to_lowercase();
        if !self.domains.contains(&domain) && self.domains.len() >= limit {
            return Some(Usual::Line(452, "4.5.3", "too many domains"));
        }
        self.domains.insert(domain);
        None
    }
}
