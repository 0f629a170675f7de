//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Binding, Credentials, Mechanism, MechanismError, Starts};
use crate::proto::session::ChannelBinding;

/// ```abnf
/// client-first = gs2-header "n=" saslname ",r=" nonce           ; RFC 5802 §7
/// gs2-header   = ( "n" / "y" / "p=" cb-name ) ",,"              ; no authzid
/// server-first = "r=" nonce ",s=" base64 ",i=" number [extensions]
/// client-final = "c=" base64 ",r=" nonce ",p=" base64           ; c is gs2-header and binding data
/// server-final = ( "e=" error / "v=" base64 ) [extensions]
/// ```
///
/// ```text
/// Start ──client-first──▶ First ──server-first──▶ Final ──server-final──▶ Verified
///                                                   └──────── e= ───────▶ Refused
/// ```
pub(super) struct Scram {
    username: String,
    password: String,
    binding: Binding,
    nonce: String,
    /// The most iterations that the server may ask for.
    most: u32,
    state: State,
}

enum State {
    Start,
    First,
    /// The proof was given; the server's is due.
    Final {
        verifier: Box<Hmac<Sha256>>,
    },
    Verified,
    Refused(String),
    /// The server broke the rules.
    Broken,
}

impl Scram {
    pub(super) fn new(
        credentials: &Credentials,
        binding: Binding,
        nonce: String,
        most: u32,
    ) -> Self {
        Self {
            username: prepared(credentials.username()).into_owned(),
            password: prepared(credentials.secret()).into_owned(),
            binding,
            nonce,
            most,
            state: State::Start,
        }
    }

    fn gs2_header(&self) -> String {
        match &self.binding {
            Binding::Unable => "n,,".to_owned(),
            Binding::NotOffered => "y,,".to_owned(),
            Binding::Bound(binding) => format!("p={},,", binding.name()),
        }
    }

    fn client_first_bare(&self) -> String {
        let name = self.username.replace('=', "=3D").replace(',', "=2C");
        format!("n={name},r={}", self.nonce)
    }

    fn client_final(&self, server_first: &str) -> Result<(String, Hmac<Sha256>), MechanismError> {
        let ServerFirst {
            nonce,
            salt,
            iterations,
        } = ServerFirst::read(server_first, &self.nonce, self.most)?;
        let mut bound = self.gs2_header().into_bytes();
        if let Binding::Bound(binding) = &self.binding {
            bound.extend_from_slice(binding.data());
        }
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(bound));
        let first = self.client_first_bare();
        let message = format!("{first},{server_first},{without_proof}");

        let salted = salted_password(self.password.as_bytes(), &salt, iterations);
        let mut proof = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(proof), message.as_bytes());
        for (octet, mask) in proof.iter_mut().zip(signature) {
            *octet ^= mask;
        }
        let mut verifier = keyed(&hmac(&salted, b"Server Key"));
        verifier.update(message.as_bytes());
        let text = format!("{without_proof},p={}", STANDARD.encode(proof));
        Ok((text, verifier))
    }

    /// Takes the server's last word to the next state.
    fn judge(verifier: Hmac<Sha256>, data: &[u8]) -> Result<State, MechanismError> {
        let text = std::str::from_utf8(data).map_err(|_| MALFORMED)?;
        // Extensions may follow; none is known that would matter.
        let first = text.split(',').next().unwrap_or_default();
        if let Some(reason) = first.strip_prefix("e=") {
            let reason = reason.chars().filter(|c| !c.is_control()).take(80);
            return Ok(State::Refused(reason.collect()));
        }
        let signature = first.strip_prefix("v=").ok_or(MALFORMED)?;
        let signature = STANDARD.decode(signature).map_err(|_| MALFORMED)?;
        match verifier.verify_slice(&signature) {
            Ok(()) => Ok(State::Verified),
            Err(_) => Err(MechanismError(
                "gave a wrong signature: it does not know the password",
            )),
        }
    }
}

impl Mechanism for Scram {
    fn starts(&self) -> Starts {
        Starts::Client
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Start => {
                self.state = State::First;
                Ok([self.gs2_header(), self.client_first_bare()]
                    .concat()
                    .into())
            }
            State::First => {
                let server_first = std::str::from_utf8(challenge).map_err(|_| MALFORMED)?;
                let (text, verifier) = self.client_final(server_first)?;
                self.state = State::Final {
                    verifier: Box::new(verifier),
                };
                Ok(text.into_bytes())
            }
            // RFC 4954 §4: what comes with success is a challenge, whose answer is empty.
            State::Final { verifier } => {
                self.state = Self::judge(*verifier, challenge)?;
                Ok(Vec::new())
            }
            State::Verified | State::Refused(_) | State::Broken => Err(MechanismError::UNEXPECTED),
        }
    }

    fn has_used_secret(&self) -> bool {
        match self.state {
            State::Start | State::First => false,
            State::Final { .. } | State::Verified | State::Refused(_) | State::Broken => true,
        }
    }

    fn succeeded(&mut self, data: Option<&[u8]>) -> Result<(), MechanismError> {
        let unproven = MechanismError("reported success without proof that it knows the password");
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Verified => Ok(()),
            State::Final { verifier } => match Self::judge(*verifier, data.ok_or(unproven)?) {
                Ok(State::Verified) => Ok(()),
                Ok(_) | Err(MALFORMED) => Err(unproven),
                Err(error) => Err(error),
            },
            State::Start | State::First | State::Refused(_) | State::Broken => Err(unproven),
        }
    }

    fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Refused(reason) => Some(reason),
            State::Start | State::First | State::Final { .. } | State::Verified | State::Broken => {
                None
            }
        }
    }
}

impl ChannelBinding {
    /// Its name in IANA's registry.
    fn name(&self) -> &'static str {
        match self {
            Self::None => "",
            Self::TlsExporter(_) => "tls-exporter",
            Self::TlsServerEndPoint(_) => "tls-server-end-point",
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::TlsExporter(data) => data,
            Self::TlsServerEndPoint(data) => data,
        }
    }
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn read(text: &'a str, ours: &str, most: u32) -> Result<Self, MechanismError> {
        let mut fields = text.split(',');
        let mut field = |name| fields.next().and_then(|field| field.strip_prefix(name));
        let nonce: &str = match field("r=") {
            Some(nonce) => nonce,
            None if text.starts_with("m=") => {
                return Err(MechanismError("asks for an extension of SCRAM"));
            }
            None => return Err(MALFORMED),
        };
        let (salt, iterations) = (field("s="), field("i="));
        let salt = STANDARD.decode(salt.ok_or(MALFORMED)?);
        let salt = salt.map_err(|_| MALFORMED)?;
        let iterations: u32 = iterations
            .filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or(MALFORMED)?;
        // RFC 5802 §5.1: the nonce is ours with the server's behind it.
        let fresh = nonce
            .strip_prefix(ours)
            .is_some_and(|theirs| !theirs.is_empty());
        if !fresh || !nonce.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(MechanismError(
                "chose a nonce that does not continue the client's",
            ));
        }
        if iterations < FEWEST {
            return Err(MechanismError(
                "asks for fewer than 4096 iterations, which makes the password easy to guess",
            ));
        }
        if iterations > most {
            return Err(MechanismError(
                "asks for more iterations than the client's limit allows",
            ));
        }
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

/// SASLprep (RFC 4013). A text that it forbids, such as one with an emoji, goes as it is, as
/// PostgreSQL's client does it: a server that has it stored did not prepare it either.
fn prepared(text: &str) -> Cow<'_, str> {
    match stringprep::saslprep(text) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        Ok(_) | Err(_) => Cow::Borrowed(text),
    }
}

/// `Hi` of RFC 5802 §2.2: PBKDF2 with HMAC-SHA-256 and one block of output.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let key = keyed(password);
    let mut mac = key.clone();
    mac.update(salt);
    mac.update(&1u32.to_be_bytes());
    let mut round: [u8; 32] = mac.finalize().into_bytes().into();
    let mut sum = round;
    for _ in 1..iterations {
        let mut mac = key.clone();
        mac.update(&round);
        round = mac.finalize().into_bytes().into();
        for (octet, more) in sum.iter_mut().zip(round) {
            *octet ^= more;
        }
    }
    sum
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

const MALFORMED: MechanismError = MechanismError("sent a SCRAM message that cannot be read");

/// RFC 7677 §4.
const FEWEST: u32 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 §3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn scram(binding: Binding) -> Scram {
        let credentials = Credentials::password("user", "pencil").unwrap();
        Scram::new(&credentials, binding, NONCE.to_owned(), 600_000)
    }

    /// One whose proof was given.
    fn proven() -> Scram {
        let mut scram = scram(Binding::Unable);
        scram.respond(b"").unwrap();
        scram.respond(SERVER_FIRST.as_bytes()).unwrap();
        scram
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut scram = scram(Binding::Unable);
        let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO".to_vec();
        assert_eq!(scram.respond(b""), Ok(first));
        assert!(!scram.has_used_secret());
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(scram.respond(SERVER_FIRST.as_bytes()), Ok(last.into()));
        assert!(scram.has_used_secret());
        assert_eq!(scram.respond(SERVER_FINAL.as_bytes()), Ok(Vec::new()));
        assert_eq!(scram.succeeded(None), Ok(()));
    }

    #[test]
    fn the_last_word_may_come_with_the_success() {
        assert_eq!(proven().succeeded(Some(SERVER_FINAL.as_bytes())), Ok(()));
    }

    #[test]
    fn success_without_proof_is_none() {
        assert!(scram(Binding::Unable).succeeded(None).is_err());
        assert!(proven().succeeded(None).is_err());
        assert!(proven().succeeded(Some(b"welcome")).is_err());
        assert!(proven().succeeded(Some(b"e=other-error")).is_err());
        let wrong = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=";
        assert!(proven().succeeded(Some(wrong)).is_err());
        assert!(proven().respond(&SERVER_FINAL.as_bytes()[..40]).is_err());
    }

    #[test]
    fn a_server_error_is_the_reason_of_the_refusal() {
        let mut scram = proven();
        assert_eq!(scram.respond(b"e=invalid-proof"), Ok(Vec::new()));
        assert_eq!(scram.reason(), Some("invalid-proof"));
        assert!(scram.succeeded(None).is_err());
    }

    #[test]
    fn what_the_server_asks_for_is_checked() {
        let cases = [
            ("", "cannot be read"),
            ("r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"),
            (
                "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "nonce",
            ),
            ("r=rOprNGfwEbeRWgbNEkqO x,s=W22Z,i=4096", "nonce"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4095", "fewer than 4096"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=600001", "limit"),
            (
                "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=99999999999",
                "cannot be read",
            ),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=-1", "cannot be read"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096", "cannot be read"),
            ("r=rOprNGfwEbeRWgbNEkqOx,i=4096,s=W22Z", "cannot be read"),
            ("m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096", "extension"),
        ];
        for (server_first, expected) in cases {
            let mut scram = scram(Binding::Unable);
            scram.respond(b"").unwrap();
            let error = scram.respond(server_first.as_bytes()).unwrap_err();
            assert!(error.0.contains(expected), "{server_first}: {}", error.0);
            assert!(scram.respond(SERVER_FIRST.as_bytes()).is_err());
        }
    }

    #[test]
    fn the_binding_is_named_first_and_proven_last() {
        let first = |binding| String::from_utf8(scram(binding).respond(b"").unwrap()).unwrap();
        assert!(first(Binding::NotOffered).starts_with("y,,n=user"));
        let end_point = ChannelBinding::TlsServerEndPoint(vec![2; 48]);
        assert!(first(Binding::Bound(end_point)).starts_with("p=tls-server-end-point,,n="));

        let mut scram = scram(Binding::Bound(ChannelBinding::TlsExporter([1; 32])));
        assert!(
            scram
                .respond(b"")
                .unwrap()
                .starts_with(b"p=tls-exporter,,n=user")
        );
        let last = scram.respond(SERVER_FIRST.as_bytes()).unwrap();
        let bound = [b"p=tls-exporter,,".as_slice(), &[1; 32]].concat();
        let expected = format!("c={},r=", STANDARD.encode(bound));
        assert!(last.starts_with(expected.as_bytes()));
    }

    #[test]
    fn names_are_prepared_and_escaped() {
        let first = |name: &str| {
            let credentials = Credentials::password(name, "x").unwrap();
            let mut scram = Scram::new(&credentials, Binding::Unable, "N".into(), 600_000);
            String::from_utf8(scram.respond(b"").unwrap()).unwrap()
        };
        assert_eq!(first("a=b,c"), "n,,n=a=3Db=2Cc,r=N");
        // RFC 4013 §3.
        assert_eq!(first("I\u{ad}X"), "n,,n=IX,r=N");
        assert_eq!(first("\u{2168}"), "n,,n=IX,r=N");
        // Forbidden, as unassigned in Unicode 3.2.
        assert_eq!(first("\u{1f600}"), "n,,n=\u{1f600},r=N");
    }

    #[test]
    fn a_server_may_ask_for_as_many_iterations_as_the_limit_and_no_more() {
        let asked = |iterations: u32, most| {
            let first = format!("r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={iterations}");
            ServerFirst::read(&first, NONCE, most).map(|first| first.iterations)
        };
        assert_eq!(asked(4096, 4096), Ok(4096));
        assert_eq!(asked(5000, 5000), Ok(5000));
        assert!(asked(5001, 5000).is_err() && asked(4095, 5000).is_err());
    }
}
