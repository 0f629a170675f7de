//! SCRAM-SHA-256 as a transcript plays it, with the numbers of the client that is there.
//!
//! A transcript's nonces, proofs and signatures are those of its own client. Here the server's words are
//! made anew: where they were right for the one they are right for the other, and where they were
//! wrong they stay so.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::case::{Answer, Exchange};
use crate::sandbox::scram::{hmac, salted};

/// One exchange.
#[derive(Debug)]
pub(crate) struct Scram {
    user: String,
    password: String,
    /// What the transcript's client and server said.
    script: Side,
    /// What this one says, and the server to it.
    live: Side,
}

/// The messages of one exchange, without base64.
#[derive(Debug, Default)]
struct Side {
    client_first: String,
    server_first: String,
    client_final: String,
}

/// A rule that a message breaks, and how.
pub(crate) type Problem = (&'static str, &'static str);

/// What the client has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The exchange goes on.
    Fine,
    /// No server that knows the password takes it.
    WrongProof,
}

impl Scram {
    /// The exchange of a transcript, if it is one of SCRAM.
    pub(crate) fn new(exchange: &Exchange, user: &str, password: &str) -> Option<Self> {
        if !exchange.mechanism.eq_ignore_ascii_case("SCRAM-SHA-256") {
            return None;
        }
        let mut script = Side::default();
        for answer in &exchange.answers {
            let said = answer.to.rsplit(' ').next().unwrap_or_default();
            script.client_says(&decoded(said).unwrap_or_default());
            if let Some(text) = challenge(&answer.octets) {
                script.server_says(&text);
            }
        }
        Some(Self {
            user: user.to_owned(),
            password: password.to_owned(),
            script,
            live: Side::default(),
        })
    }

    /// Takes a message of the client, in base64; an empty one for none.
    pub(crate) fn hear(&mut self, encoded: &str) -> Result<Heard, Problem> {
        let Some(text) = decoded(encoded).filter(|text| !text.is_empty()) else {
            return Ok(Heard::Fine);
        };
        if !self.live.client_says(&text) {
            return Err((
                "R-7677-3",
                "more than an empty line answers the server's last word",
            ));
        }
        if self.live.client_final.is_empty() {
            return self.judge_first();
        }
        Ok(match self.live.is_proven(&self.password) {
            true => Heard::Fine,
            false => Heard::WrongProof,
        })
    }

    /// The server's answer to this client.
    pub(crate) fn answer(&mut self, answer: &mut Answer) {
        let Some(text) = challenge(&answer.octets) else {
            return;
        };
        let text = if let Some(nonce) = text.strip_prefix("r=") {
            let theirs = self.script.client_nonce();
            match nonce.strip_prefix(theirs).filter(|_| !theirs.is_empty()) {
                Some(ours) => format!("r={}{ours}", self.live.client_nonce()),
                None => text,
            }
        } else if text.starts_with("v=") && text == self.script.last_word(&self.password) {
            self.live.last_word(&self.password)
        } else {
            text
        };
        self.live.server_says(&text);
        let code = String::from_utf8_lossy(&answer.octets);
        let head = code
            .trim_end()
            .rsplit_once(' ')
            .map_or("334", |(head, _)| head);
        answer.octets = format!("{head} {}\r\n", BASE64_STANDARD.encode(text)).into_bytes();
    }

    fn judge_first(&self) -> Result<Heard, Problem> {
        let text = &self.live.client_first;
        if !matches!(text.split(',').next(), Some("n" | "y")) {
            return Err(("R-7677-4", "the flag of SCRAM-SHA-256 is neither n nor y"));
        }
        let name = self.user.replace('=', "=3D").replace(',', "=2C");
        let expected = format!(",n={name},r=");
        // Beyond ASCII a name is prepared first.
        if self.user.is_ascii() && !text.contains(&expected) {
            return Err((
                "R-7677-4",
                "the user's name is not there as it has to be written",
            ));
        }
        Ok(Heard::Fine)
    }
}

impl Side {
    /// Whether it is the message that was due.
    fn client_says(&mut self, text: &str) -> bool {
        let place = match (self.client_first.is_empty(), self.client_final.is_empty()) {
            (true, _) => &mut self.client_first,
            (false, true) => &mut self.client_final,
            (false, false) => return text.is_empty(),
        };
        text.clone_into(place);
        true
    }

    fn server_says(&mut self, text: &str) {
        if text.starts_with("r=") {
            text.clone_into(&mut self.server_first);
        }
    }

    fn client_nonce(&self) -> &str {
        let nonce = self.client_first.split_once(",r=").map(|(_, nonce)| nonce);
        nonce
            .unwrap_or_default()
            .split(',')
            .next()
            .unwrap_or_default()
    }

    fn is_proven(&self, password: &str) -> bool {
        let (without_proof, proof) = self.parts();
        let flag = self.client_first.split(',').next().unwrap_or_default();
        let channel = BASE64_STANDARD.encode(format!("{flag},,"));
        let nonce = field(&self.server_first, "r=");
        let key = hmac(&self.salted(password), b"Client Key");
        let signature = hmac(&Sha256::digest(key), self.message().as_bytes());
        let right: Vec<u8> = key
            .iter()
            .zip(signature)
            .map(|(key, mask)| key ^ mask)
            .collect();
        without_proof == format!("c={channel},r={nonce}") && proof == BASE64_STANDARD.encode(right)
    }

    /// The server's proof that it knows the password.
    fn last_word(&self, password: &str) -> String {
        let key = hmac(&self.salted(password), b"Server Key");
        let signature = hmac(&key, self.message().as_bytes());
        format!("v={}", BASE64_STANDARD.encode(signature))
    }

    fn message(&self) -> String {
        let bare = self.client_first.splitn(3, ',').nth(2).unwrap_or_default();
        format!("{bare},{},{}", self.server_first, self.parts().0)
    }

    fn parts(&self) -> (&str, &str) {
        self.client_final
            .rsplit_once(",p=")
            .unwrap_or((&self.client_final, ""))
    }

    fn salted(&self, password: &str) -> [u8; 32] {
        let salt = BASE64_STANDARD.decode(field(&self.server_first, "s="));
        let iterations = field(&self.server_first, "i=").parse().unwrap_or(1);
        let iterations = u32::min(iterations, MOST_ITERATIONS);
        salted(password.as_bytes(), &salt.unwrap_or_default(), iterations)
    }
}

/// What a challenge, or a success, carries.
fn challenge(octets: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(octets);
    let (code, rest) = line.trim_end().split_once(' ')?;
    let word = rest.rsplit(' ').next()?;
    decoded(word).filter(|text| matches!(code, "334" | "235") && text.get(1..2) == Some("="))
}

fn decoded(word: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(word).ok()?).ok()
}

fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let mut fields = message.split(',');
    fields
        .find_map(|field| field.strip_prefix(name))
        .unwrap_or_default()
}

/// A transcript that asks for more is one that is given up before.
const MOST_ITERATIONS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 §3, as another client's.
    #[test]
    fn what_was_right_for_one_client_is_made_right_for_another() {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let script = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let last = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        let answer = |to: String, text: &str| Answer {
            octets: format!("334 {}\r\n", encode(text)).into_bytes(),
            to,
            ..Answer::default()
        };
        let answers = [
            answer(format!("AUTH SCRAM-SHA-256 {}", encode(script)), first),
            answer(encode(proof), last),
        ];
        let exchange = Exchange {
            mechanism: "SCRAM-SHA-256".into(),
            initial: true,
            answers: answers.clone().into(),
        };
        let mut same = Scram::new(&exchange, "user", "pencil").expect("it is SCRAM");
        for (said, expected) in [(script, &answers[0]), (proof, &answers[1])] {
            assert_eq!(same.hear(&encode(said)), Ok(Heard::Fine));
            let mut answer = expected.clone();
            same.answer(&mut answer);
            assert_eq!(&answer, expected);
        }
        assert!(same.hear("").is_ok() && same.hear(&encode("x")).is_err());

        let mut other = Scram::new(&exchange, "user", "pencil").expect("it is SCRAM");
        assert_eq!(other.hear(&encode("y,,n=user,r=mine")), Ok(Heard::Fine));
        let mut answer = answers[0].clone();
        other.answer(&mut answer);
        let text = challenge(&answer.octets).expect("a challenge");
        assert!(
            text.starts_with("r=mine%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s="),
            "{text}"
        );
        assert_eq!(other.hear(&encode(proof)), Ok(Heard::WrongProof));
        let mut unlike = Scram::new(&exchange, "user", "pencil").expect("it is SCRAM");
        assert!(unlike.hear(&encode("n,,n=nobody,r=x")).is_err());
    }
}
