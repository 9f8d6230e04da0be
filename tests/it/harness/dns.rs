//! A real name server, on a port of its own over UDP and TCP, whose answers a test changes.

use async_trait::async_trait;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, SRV};
use hickory_server::proto::rr::{Name, RData, Record};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;

/// What it answers about one name.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These records, with this TTL in seconds.
    Records(u32, Vec<RData>),
    ServFail,
    /// Nothing at all.
    Silence,
}

/// Names that are not in it do not exist.
#[derive(Clone, Debug, Default)]
struct Zone(Arc<Mutex<HashMap<String, Reply>>>);

pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Zone,
    /// Dropped: the server ends.
    _running: oneshot::Sender<()>,
}

/// A port may be taken for one protocol and free for the other.
const TRIES: usize = 20;

impl Dns {
    /// Starts it on a thread of its own: a gateway that starts waits for it on the test's thread.
    pub(crate) fn start() -> Self {
        let zone = Zone::default();
        let served = zone.clone();
        let (said, heard) = std::sync::mpsc::channel();
        let (running, ended) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let (udp, tcp) = sockets().await;
                said.send(udp.local_addr().unwrap()).unwrap();
                let mut server = Server::new(served);
                server.register_socket(udp);
                server.register_listener(tcp, Duration::from_secs(5), 64 * 1024);
                let _ = ended.await;
            });
        });
        Dns { address: heard.recv().unwrap(), zone, _running: running }
    }

    pub(crate) fn set(&self, name: &str, reply: Reply) {
        self.zone.0.lock().unwrap().insert(format!("{name}."), reply);
    }

    /// Lets a name lead to these addresses.
    pub(crate) fn leads(&self, name: &str, ttl: u32, addresses: &[IpAddr]) {
        let record = |address: &IpAddr| match address {
            IpAddr::V4(address) => RData::A(A(*address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(*address)),
        };
        self.set(name, Reply::Records(ttl, addresses.iter().map(record).collect()));
    }

    pub(crate) fn forget(&self, name: &str) {
        self.zone.0.lock().unwrap().remove(&format!("{name}."));
    }

    /// The lines of `gateway.yaml` that have it asked.
    pub(crate) fn yaml(&self) -> String {
        format!("resolver: {{ servers: [\"{}\"] }}\n", self.address)
    }
}

/// An SRV record.
pub(crate) fn srv(priority: u16, weight: u16, port: u16, host: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(format!("{host}.")).unwrap()))
}

async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..TRIES {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both protocols");
}

#[async_trait]
impl RequestHandler for Zone {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responses: R,
    ) -> ResponseInfo {
        let query = request.request_info().unwrap().query;
        let (name, kind) = (query.name().to_string(), query.query_type());
        let reply = self.0.lock().unwrap().get(&name).cloned();
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let mut answers = Vec::new();
        match reply {
            Some(Reply::Records(ttl, all)) => {
                let name: Name = query.name().into();
                let of_kind = all.into_iter().filter(|data| data.record_type() == kind);
                answers.extend(of_kind.map(|data| Record::from_rdata(name.clone(), ttl, data)));
            }
            Some(Reply::ServFail) => metadata.response_code = ResponseCode::ServFail,
            Some(Reply::Silence) => {
                return ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() });
            }
            None => metadata.response_code = ResponseCode::NXDomain,
        }
        let response = MessageResponseBuilder::from_message_request(request);
        let response = response.build(metadata, &answers, &[], &[], &[]);
        responses.send_response(response).await.unwrap()
    }
}
