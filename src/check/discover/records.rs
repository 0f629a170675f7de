//! What the DNS says of a domain.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};

/// Who is asked for the records of a domain: the system's resolver, unless told otherwise.
pub trait Records: Send + Sync {
    /// The SRV records of a name, in any order; empty where there are none. An error is what went
    /// wrong, in words.
    fn services(&self, name: String) -> RecordsFuture<Service>;

    /// The names that take mail for a domain, by its MX records, in any order.
    fn exchanges(&self, domain: String) -> RecordsFuture<String>;
}

/// What [`Records`] returns.
pub type RecordsFuture<T> = Pin<Box<dyn Future<Output = Result<Vec<T>, String>> + Send>>;

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The lowest is tried first.
    pub priority: u16,
    /// The share among those of the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` where the service is not offered.
    pub target: String,
}

/// The resolver that the system's settings name.
pub(super) struct SystemRecords;

impl Records for SystemRecords {
    fn services(&self, name: String) -> RecordsFuture<Service> {
        Box::pin(async move { Ok(services(lookup(&name, RecordType::SRV).await?)) })
    }

    fn exchanges(&self, domain: String) -> RecordsFuture<String> {
        Box::pin(async move { Ok(exchanges(lookup(&domain, RecordType::MX).await?)) })
    }
}

fn services(data: Vec<RData>) -> Vec<Service> {
    let services = data.into_iter().filter_map(|data| match data {
        RData::SRV(srv) => Some(Service {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii(),
        }),
        _ => None,
    });
    services.collect()
}

fn exchanges(data: Vec<RData>) -> Vec<String> {
    let exchanges = data.into_iter().filter_map(|data| match data {
        RData::MX(mx) => Some(mx.exchange.to_ascii()),
        _ => None,
    });
    exchanges.collect()
}

async fn lookup(name: &str, kind: RecordType) -> Result<Vec<RData>, String> {
    let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
    builder.options_mut().timeout = PATIENCE;
    builder.options_mut().attempts = 2;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    ask(&resolver, name, kind).await
}

async fn ask(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<Vec<RData>, String> {
    // The final dot keeps the search list of the system out of it.
    match resolver.lookup(format!("{name}."), kind).await {
        Ok(found) => Ok(found
            .answers()
            .iter()
            .map(|record| record.data.clone())
            .collect()),
        Err(error) if is_absence(&error) => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_absence(error: &NetError) -> bool {
    error.is_no_records_found() || error.is_nx_domain()
}

/// How long one name server has for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{MX, SRV};
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server that knows example.org, and says to all else that it does not exist.
    async fn name_server() -> TokioResolver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut datagram = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut datagram).await {
                let answer = answer(&datagram[..length]).to_vec().unwrap();
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        let mut connection = ConnectionConfig::udp();
        connection.port = port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.build().unwrap()
    }

    fn answer(question: &[u8]) -> Message {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.add_query(query.clone());
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let data = match query.name().to_ascii().as_str() {
            "_submission._tcp.example.org." => {
                RData::SRV(SRV::new(10, 5, 587, name("Mail.example.org.")))
            }
            "_submissions._tcp.example.org." => RData::SRV(SRV::new(0, 0, 0, Name::root())),
            "example.org." => RData::MX(MX::new(10, name("mx.example.org."))),
            _ => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                return answer;
            }
        };
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
        answer
    }

    #[tokio::test]
    async fn records_are_read_and_absence_is_no_error() {
        let resolver = name_server().await;
        let found = ask(&resolver, "_submission._tcp.example.org", RecordType::SRV).await;
        let [service] = services(found.unwrap()).try_into().unwrap();
        assert_eq!(
            (service.priority, service.weight, service.port),
            (10, 5, 587)
        );
        assert!(service.target.eq_ignore_ascii_case("mail.example.org."));
        let found = ask(&resolver, "_submissions._tcp.example.org", RecordType::SRV).await;
        assert_eq!(services(found.unwrap())[0].target, ".");
        let found = ask(&resolver, "example.org", RecordType::MX).await;
        assert_eq!(exchanges(found.unwrap()), ["mx.example.org."]);
        let found = ask(&resolver, "_submission._tcp.example.net", RecordType::SRV).await;
        assert_eq!(found.map(services), Ok(Vec::new()));
    }
}
