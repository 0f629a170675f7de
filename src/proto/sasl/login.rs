//! LOGIN: name, then password. Its prompts were never standardised and vary, so that answers go by
//! order alone.

use std::collections::VecDeque;

use super::{Credentials, Mechanism, MechanismError, Starts};

pub(super) struct Login {
    answers: VecDeque<Vec<u8>>,
}

impl Login {
    pub(super) fn new(credentials: &Credentials) -> Self {
        let answers = [credentials.username(), credentials.secret()];
        Self {
            answers: answers.map(|answer| answer.as_bytes().to_vec()).into(),
        }
    }
}

impl Mechanism for Login {
    fn starts(&self) -> Starts {
        Starts::Either
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        self.answers.pop_front().ok_or(MechanismError::UNEXPECTED)
    }

    fn has_used_secret(&self) -> bool {
        self.answers.is_empty()
    }
}
