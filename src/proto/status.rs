//! Enhanced status codes of RFC 3463, and of the registry of RFC 5248, with what each means.

use super::reply::EnhancedCode;

/// What a subject and detail say, whatever the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusMeaning {
    /// The registered name.
    pub name: &'static str,
    /// What it says of the message, as a clause.
    pub meaning: &'static str,
}

impl EnhancedCode {
    /// What the code means; `None` where it is not among those known here. These are the codes of RFC
    /// 3463 and of the RFCs that added to it, up to RFC 8689. In November 2026 they were compared with
    /// copies of the registry (RFC 5248) that other programs carry, and no copy had more; the registry
    /// itself may, for it grows.
    ///
    /// ```
    /// use ehlo::EnhancedCode;
    ///
    /// let full = EnhancedCode::new(4, 2, 2).and_then(EnhancedCode::meaning);
    /// assert_eq!(full.map(|status| status.name), Some("Mailbox full"));
    /// ```
    pub fn meaning(self) -> Option<StatusMeaning> {
        let key = (self.subject(), self.detail());
        let index = REGISTRY
            .binary_search_by_key(&key, |&(subject, detail, _, _)| (subject, detail))
            .ok()?;
        let (_, _, name, meaning) = REGISTRY[index];
        Some(StatusMeaning { name, meaning })
    }
}

type Entry = (u16, u16, &'static str, &'static str);

/// By subject and detail, in order.
#[rustfmt::skip]
const REGISTRY: [Entry; 81] = [
    (0, 0, "Other undefined status", "nothing more is known than the class"),
    (1, 0, "Other address status", "something about the address is wrong"),
    (1, 1, "Bad destination mailbox address", "the mailbox does not exist"),
    (1, 2, "Bad destination system address", "the domain does not exist, or takes no mail"),
    (1, 3, "Bad destination mailbox address syntax", "the recipient's address is malformed"),
    (1, 4, "Destination mailbox address ambiguous", "the address fits more than one mailbox"),
    (1, 5, "Destination address valid", "the address is good"),
    (1, 6, "Destination mailbox has moved, no forwarding address", "the mailbox has moved, and nobody knows where to"),
    (1, 7, "Bad sender's mailbox address syntax", "the sender's address is malformed"),
    (1, 8, "Bad sender's system address", "the sender's domain does not exist, or takes no mail"),
    (1, 9, "Message relayed to non-compliant mailer", "the message went to a system that may not report on it"),
    (1, 10, "Recipient address has null MX", "the recipient's domain states that it takes no mail"),
    (2, 0, "Other or undefined mailbox status", "something about the mailbox is wrong"),
    (2, 1, "Mailbox disabled, not accepting messages", "the mailbox exists, and takes no mail"),
    (2, 2, "Mailbox full", "the mailbox is full"),
    (2, 3, "Message length exceeds administrative limit", "the message is larger than this mailbox takes"),
    (2, 4, "Mailing list expansion problem", "the mailing list cannot be expanded"),
    (3, 0, "Other or undefined mail system status", "something about the server is wrong"),
    (3, 1, "Mail system full", "the server has no room left"),
    (3, 2, "System not accepting network messages", "the server takes no mail now"),
    (3, 3, "System not capable of selected features", "the server lacks a feature that the message needs"),
    (3, 4, "Message too big for system", "the message is larger than the server takes"),
    (3, 5, "System incorrectly configured", "the server is set up wrongly"),
    (3, 6, "Requested priority was changed", "the server took the message with another priority"),
    (4, 0, "Other or undefined network or routing status", "something about the network is wrong"),
    (4, 1, "No answer from host", "the next server does not answer"),
    (4, 2, "Bad connection", "the connection to the next server broke"),
    (4, 3, "Directory server failure", "a directory, such as the DNS, does not answer"),
    (4, 4, "Unable to route", "the server knows no way to the recipient"),
    (4, 5, "Mail system congestion", "the server has too much to do"),
    (4, 6, "Routing loop detected", "the message goes in circles"),
    (4, 7, "Delivery time expired", "the message is too old"),
    (5, 0, "Other or undefined protocol status", "something about the dialogue is wrong"),
    (5, 1, "Invalid command", "the command is unknown, or out of place"),
    (5, 2, "Syntax error", "the command cannot be read"),
    (5, 3, "Too many recipients", "the message has too many recipients for one transaction"),
    (5, 4, "Invalid command arguments", "the command's arguments are not taken"),
    (5, 5, "Wrong protocol version", "the versions of the protocol do not fit"),
    (5, 6, "Authentication exchange line is too long", "a line of the log-in is too long"),
    (6, 0, "Other or undefined media error", "something about the content is wrong"),
    (6, 1, "Media not supported", "the content is of a kind that is not taken"),
    (6, 2, "Conversion required and prohibited", "the content would have to be converted, and must not be"),
    (6, 3, "Conversion required but not supported", "the content would have to be converted, and cannot be"),
    (6, 4, "Conversion with loss performed", "the content was converted, and lost something"),
    (6, 5, "Conversion failed", "the content could not be converted"),
    (6, 6, "Message content not available", "the content cannot be fetched"),
    (6, 7, "Non-ASCII addresses not permitted for that sender/recipient", "the address is not ASCII, and must be"),
    (6, 8, "UTF-8 string reply is required, but not permitted by the SMTP client", "the answer would need UTF-8"),
    (6, 9, "UTF-8 header message cannot be transferred to one or more recipients, so the message must be rejected", "the headers are not ASCII, and have to be for some recipient"),
    (6, 10, "UTF-8 string reply is required, but not permitted by the SMTP client (deprecated: X.6.8)", "the answer would need UTF-8"),
    (7, 0, "Other or undefined security status", "it was refused for reasons of security"),
    (7, 1, "Delivery not authorized, message refused", "the sender may not send to this recipient"),
    (7, 2, "Mailing list expansion prohibited", "the sender may not send to this list"),
    (7, 3, "Security conversion required but not possible", "its protection would have to be converted, and cannot be"),
    (7, 4, "Security features not supported", "the server lacks a protection that the message needs"),
    (7, 5, "Cryptographic failure", "the message cannot be decrypted or verified"),
    (7, 6, "Cryptographic algorithm not supported", "the message is protected in a way that the server does not know"),
    (7, 7, "Message integrity failure", "the message was changed on its way"),
    (7, 8, "Authentication credentials invalid", "the name or the password is wrong"),
    (7, 9, "Authentication mechanism is too weak", "the log-in has to use a stronger mechanism"),
    (7, 10, "Encryption needed", "the session has to be encrypted"),
    (7, 11, "Encryption required for requested authentication mechanism", "the log-in has to be encrypted"),
    (7, 12, "A password transition is needed", "the password has to be set anew"),
    (7, 13, "User account disabled", "the account is closed"),
    (7, 14, "Trust relationship required", "the server has no arrangement with another that it needs"),
    (7, 15, "Priority level is too low", "messages of this priority are not taken now"),
    (7, 16, "Message is too big for the specified priority", "the message is larger than its priority allows"),
    (7, 17, "Mailbox owner has changed", "the mailbox belongs to somebody else than it did"),
    (7, 18, "Domain owner has changed", "the domain belongs to somebody else than it did"),
    (7, 19, "RRVS test cannot be completed", "the server cannot tell since when the mailbox has its owner"),
    (7, 20, "No passing DKIM signature found", "no DKIM signature is valid"),
    (7, 21, "No acceptable DKIM signature found", "no DKIM signature is one that the server accepts"),
    (7, 22, "No valid author-matched DKIM signature found", "no valid DKIM signature is of the author's domain"),
    (7, 23, "SPF validation failed", "this address may not send for the sender's domain (SPF)"),
    (7, 24, "SPF validation error", "the sender's SPF record cannot be evaluated"),
    (7, 25, "Reverse DNS validation failed", "this address has no name that leads back to it"),
    (7, 26, "Multiple authentication checks failed", "SPF, DKIM and what else was tried do not vouch for the sender"),
    (7, 27, "Sender address has null MX", "the sender's domain states that it takes no mail"),
    (7, 28, "Mail flood detected", "too much mail came in too little time"),
    (7, 29, "ARC validation failure", "the chain of those who passed the message on is broken"),
    (7, 30, "REQUIRETLS support required", "the way to the recipient does not have TLS throughout"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_in_order_and_every_class_has_the_same_meanings() {
        let keys = REGISTRY.map(|(subject, detail, _, _)| (subject, detail));
        assert!(keys.is_sorted_by(|one, next| one < next));
        for (subject, detail, name, _) in REGISTRY {
            for class in [2, 4, 5] {
                let code = EnhancedCode::new(class, subject, detail).unwrap();
                assert_eq!(code.meaning().unwrap().name, name);
            }
        }
        let unknown = EnhancedCode::new(5, 7, 999).unwrap();
        assert_eq!(unknown.meaning(), None);
    }
}
