//! Replies that people meet, from servers of many makes, and which are taken for others easily.

use ehlo::diagnosis::Kind;

use super::stage::{With, visit};

#[rustfmt::skip]
const REPLIES: &[(&str, &[Kind])] = &[
    ("rcpt=552 5.2.2 Mailbox size limit exceeded", &[Kind::MailboxFull]),
    ("rcpt=552 Mailbox size limit exceeded", &[Kind::MailboxFull]),
    ("mail=552 5.3.4 Message size limit exceeded", &[Kind::MessageTooLarge]),
    ("body=552 Message size limit exceeded", &[Kind::MessageTooLarge]),
    ("rcpt=550 5.1.1 User bob (bob@example.org) not listed in Domino Directory", &[Kind::MailboxUnknown]),
    ("rcpt=550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@example.org not found by SMTP address lookup", &[Kind::MailboxUnknown]),
    ("rcpt=556 5.1.10 Recipient address has null MX", &[Kind::DomainUnknown]),
    ("rcpt=554 5.7.1 Service unavailable; Sender address [a@example.org] blocked using dbl.spamhaus.org", &[Kind::Spam]),
    ("body=554 5.7.1 URL in message is listed in dbl.spamhaus.org", &[Kind::Spam]),
    ("rcpt=554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", &[Kind::AddressBlocked]),
    ("rcpt=550 192.0.2.1 is listed at pbl.spamhaus.org", &[Kind::AddressBlocked]),
    ("rcpt=550 5.7.1 Recipient not authorized, your account may not send here", &[Kind::PolicyRefused, Kind::RecipientRefused]),
    ("auth=535 Incorrect authentication data", &[Kind::CredentialsRefused]),
    ("auth=535 5.7.0 Error: authentication failed: not enabled for this user", &[Kind::LoginDisabled]),
    ("auth=535 5.7.8 Error: authentication failed: Connection lost to authentication server", &[Kind::LoginUnavailable]),
    ("auth=535 5.7.1 Login failed, check that your mailbox is not locked or the password wrong", &[Kind::CredentialsRefused]),
    ("auth=535 5.7.0 your mailbox is locked", &[Kind::AccountLocked]),
    ("auth=534 5.7.14 Please log in via your web browser", &[Kind::BrowserLoginRequired]),
    ("mail=550 Sender verify failed", &[Kind::SenderRefused]),
    ("rcpt=450 4.1.8 <a@nowhere.example>: Sender address rejected: Domain not found", &[Kind::DomainUnknown]),
    ("rcpt=550 5.1.0 <a@example.org>: Sender rejected: not found", &[Kind::SenderRefused]),
    ("mail=553 5.1.8 sender domain has no MX record", &[Kind::DomainUnknown]),
    ("mail=503 5.5.1 Error: need EHLO and AUTH first !", &[Kind::LoginRequired]),
    ("rcpt=550 authentication required", &[Kind::LoginRequired]),
    ("rcpt=503 AUTH first (#5.5.1)", &[Kind::LoginRequired]),
    ("body=550 5.7.1 This message was not accepted due to domain owner DMARC policy", &[Kind::SenderUnauthenticated]),
    ("body=421 4.7.0 Try again later, closing connection", &[Kind::ServerBusy]),
];

#[tokio::test]
async fn replies_that_people_meet_are_not_taken_for_others() {
    let mut wrong = Vec::new();
    for (reply, kinds) in REPLIES {
        let fault = format!("reply@{reply}");
        // A word of the reply that is the password would be masked in it.
        let with: &[With] = match reply.starts_with("auth") {
            true => &[With::Password("another")],
            false => &[],
        };
        let kind = visit(&["--fault", &fault], with).await.diagnosis.kind;
        if !kinds.contains(&kind) {
            wrong.push(format!("{reply}: {kind}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
