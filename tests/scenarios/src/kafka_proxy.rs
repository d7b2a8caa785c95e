//! A proxy between a service and the broker that knows one request: `EndTxn`, with which a transaction is committed.
//!
//! It lets the answer vanish (nobody knows whether the transaction is committed) or holds the request up (the transaction
//! stays open). Addresses in the broker's answers are replaced by the proxy's, so that clients stay with it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Kafka's number of the request `EndTxn` (Kafka protocol guide, "Api Keys").
const END_TXN: i16 = 26;
/// Where clients of a local broker are sent.
const HOST: &[u8] = b"127.0.0.1";

/// What happens to `EndTxn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndTxn {
    /// Nothing special.
    #[default]
    Pass,
    /// The broker gets it and its answer vanishes.
    LoseAnswers,
    /// The broker gets it when the mode changes: a slow broker.
    Hold,
}

#[derive(Debug, Default)]
struct State {
    mode: EndTxn,
    caught: u64,
}

/// A running proxy. It lives as long as the test.
#[derive(Debug, Clone)]
pub struct KafkaProxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl KafkaProxy {
    /// In front of `bootstrap` (`127.0.0.1:port`).
    pub async fn start(bootstrap: &str) -> Self {
        let broker: u16 = bootstrap
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("the broker's address has a port");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let proxy = Self {
            port,
            state: Arc::default(),
        };
        let (state, ports) = (Arc::clone(&proxy.state), Ports { broker, proxy: port });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    // A broker that is away refuses: so does the proxy, by closing.
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", ports.broker)).await {
                        connection(client, server, ports, state).await;
                    }
                });
            }
        });
        proxy
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What happens from now on.
    pub fn end_txn(&self, mode: EndTxn) {
        self.lock().mode = mode;
    }

    /// How many answers were lost and requests kept back.
    pub fn caught(&self) -> u64 {
        self.lock().caught
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    broker: u16,
    proxy: u16,
}

async fn connection(client: TcpStream, server: TcpStream, ports: Ports, state: Arc<Mutex<State>>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let lost: Arc<Mutex<BTreeSet<[u8; 4]>>> = Arc::default();
    // Either end closes both.
    tokio::select! {
        () = requests(from_client, to_server, Arc::clone(&lost), state) => {}
        () = answers(from_server, to_client, lost, ports) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    lost: Arc<Mutex<BTreeSet<[u8; 4]>>>,
    state: Arc<Mutex<State>>,
) {
    while let Some(frame) = read(&mut from).await {
        // Request header: api key, api version, correlation id.
        if let (Some(&key), Some(&id)) = (
            frame.first_chunk::<2>(),
            frame.get(4..).and_then(<[u8]>::first_chunk::<4>),
        ) && i16::from_be_bytes(key) == END_TXN
        {
            let now = || state.lock().unwrap_or_else(PoisonError::into_inner).mode;
            let mode = now();
            if mode != EndTxn::Pass {
                state.lock().unwrap_or_else(PoisonError::into_inner).caught += 1;
            }
            match mode {
                EndTxn::Pass => {}
                EndTxn::LoseAnswers => {
                    lost.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                }
                EndTxn::Hold => {
                    while now() == EndTxn::Hold {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }
        if write(&mut to, &frame).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lost: Arc<Mutex<BTreeSet<[u8; 4]>>>, ports: Ports) {
    let real = [HOST, &u32::from(ports.broker).to_be_bytes()].concat();
    let ours = [HOST, &u32::from(ports.proxy).to_be_bytes()].concat();
    while let Some(mut frame) = read(&mut from).await {
        let id = frame.first_chunk::<4>().copied().unwrap_or_default();
        if lost.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            continue;
        }
        // Host and port stand beside each other wherever a broker is named, and both addresses are equally long.
        let mut at = 0;
        while let Some(found) = frame[at..].windows(real.len()).position(|window| window == real) {
            frame[at + found..at + found + ours.len()].copy_from_slice(&ours);
            at += found + ours.len();
        }
        if write(&mut to, &frame).await.is_err() {
            return;
        }
    }
}

/// One frame: four bytes of length, then the body.
async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).ok()?];
    from.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

async fn write(to: &mut OwnedWriteHalf, frame: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(std::io::Error::other)?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend_from_slice(frame);
    to.write_all(&whole).await
}
