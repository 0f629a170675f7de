//! No secret in anything that a check gives out, whatever goes wrong.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ehlo::check::Check;
use ehlo::proto::{Entry, Observer};
use ehlo::sandbox::{Mechanism, Options};
use ehlo::{Credentials, Security};
use tokio::task::JoinSet;

use super::{SECRET, config, report, sandbox};

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<String>>);

impl Observer for Heard {
    fn observe(&mut self, entry: Entry<'_>, _now: Instant) {
        let mut heard = self.0.lock().unwrap();
        heard.push_str(&format!("{entry:?}\n"));
    }
}

#[tokio::test]
async fn neither_report_nor_trace_has_the_password_or_the_token() {
    let plain = STANDARD.encode(format!("\0jo@example.org\0{SECRET}"));
    let forms = [SECRET.to_owned(), STANDARD.encode(SECRET), plain];
    let echo = format!("reply@auth=535 5.7.8 {SECRET} is wrong");
    let replied = format!("reply@mail=550 5.7.1 {SECRET} is no sender");
    let faults = [
        "close@auth",
        "reset@auth",
        "garbage@auth",
        "stall@auth",
        "reply@auth=454 4.7.0 later",
        "reply@auth=534 5.7.9 another way",
        "reply@ehlo=550 no",
        "close@mail",
        "stall@mail",
        &echo,
        &replied,
    ];
    let mut checks = JoinSet::new();
    for fault in faults {
        for mechanism in [Mechanism::Plain, Mechanism::XOAuth2, Mechanism::OAuthBearer] {
            checks.spawn(all_that_is_said(fault.to_owned(), mechanism));
        }
    }
    while let Some(said) = checks.join_next().await {
        let (fault, texts) = said.unwrap();
        for (text, form) in texts.iter().flat_map(|t| forms.iter().map(move |f| (t, f))) {
            assert!(!text.contains(form), "{fault}: {text}");
        }
    }
}

/// Of a check that meets this fault.
async fn all_that_is_said(fault: String, mechanism: Mechanism) -> (String, Vec<String>) {
    let options = Options::default()
        .with_token("jo@example.org", SECRET)
        .with_mechanisms([mechanism])
        .with_fault(fault.parse().unwrap());
    let sandbox = sandbox(options).await;
    let credentials = match mechanism {
        Mechanism::Plain => Credentials::password("jo@example.org", SECRET),
        _ => Credentials::token("jo@example.org", SECRET),
    };
    let config = config(&sandbox, Security::StartTls);
    let heard = Heard::default();
    let check = Check::new(config.with_credentials(credentials.unwrap()))
        .with_deadline(Duration::from_secs(3))
        .with_observer(Box::new(heard.clone()));
    let shown = format!("{check:?}");
    let report = report(check).await;
    assert!(!report.ok, "{fault}");
    let document = serde_json::to_string(&report).unwrap();
    let trace = heard.0.lock().unwrap().clone();
    assert!(trace.contains("EHLO"), "{trace}");
    let (text, debug) = (report.to_string(), format!("{report:?}"));
    (fault, vec![shown, document, trace, text, debug])
}
