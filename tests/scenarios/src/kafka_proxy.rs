//! A proxy between a service and the broker that knows a few requests, above all `EndTxn`, with which a transaction is
//! committed.
//!
//! It keeps a request back (the broker gets it late), keeps its answer back (the client hears of it late), or lets the answer
//! vanish (nobody knows whether it had an effect). Addresses in the broker's answers are replaced by the proxy's, so that
//! clients stay with it. What it has kept it lets on even if the client has gone by then: a network may be late.

use std::{
    collections::BTreeMap,
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

/// Where clients of a local broker are sent.
const HOST: &[u8] = b"127.0.0.1";
/// How long a connection to the broker outlives its client.
const LINGERS: Duration = Duration::from_secs(1);
/// The client id that every client's ends with.
const EVERYBODY: &str = "";

/// A request, by its number (Kafka protocol guide, "Api Keys").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Api {
    Produce = 0,
    Fetch = 1,
    InitProducerId = 22,
    EndTxn = 26,
}

/// What is kept of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The broker gets it when it is let on.
    Request,
    /// The broker gets it, and the client its answer when it is let on.
    Answer,
    /// The broker gets it and its answer vanishes.
    AnswerForEver,
}

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

#[derive(Debug)]
struct Rule {
    id: u64,
    api: Api,
    /// What the client's id ends with.
    client: String,
    keep: Keep,
    /// So many come through first.
    passing: u64,
    caught: u64,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    next: u64,
    caught: u64,
}

impl State {
    /// Which rule this request falls under; counts it.
    fn catch(&mut self, frame: &[u8]) -> Option<(u64, Keep)> {
        let header = Header::of(frame)?;
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.api as i16 == header.api && header.client.ends_with(rule.client.as_bytes()))?;
        if rule.passing > 0 {
            rule.passing -= 1;
            return None;
        }
        rule.caught += 1;
        self.caught += 1;
        Some((rule.id, rule.keep))
    }
}

/// The beginning of a request: api key, api version, correlation id, client id.
struct Header<'a> {
    api: i16,
    client: &'a [u8],
}

impl<'a> Header<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(i16::from_be_bytes(*frame.get(at..)?.first_chunk::<2>()?));
        // A length of -1 is a client without an id.
        let length = usize::try_from(number(8)?).unwrap_or(0);
        Some(Self {
            api: number(0)?,
            client: frame.get(10..10 + length)?,
        })
    }
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

    /// What happens to every client's `EndTxn` from now on.
    pub fn end_txn(&self, mode: EndTxn) {
        self.let_on(Api::EndTxn, EVERYBODY);
        match mode {
            EndTxn::Pass => {}
            EndTxn::LoseAnswers => self.keep(Api::EndTxn, EVERYBODY, Keep::AnswerForEver),
            EndTxn::Hold => self.keep(Api::EndTxn, EVERYBODY, Keep::Request),
        }
    }

    /// From now on this is kept of such requests of clients whose id ends like this.
    pub fn keep(&self, api: Api, client: &str, keep: Keep) {
        self.keep_after(api, client, keep, 0);
    }

    /// As [`KafkaProxy::keep`], after the next `passing` of them.
    pub fn keep_after(&self, api: Api, client: &str, keep: Keep, passing: u64) {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.rules.push(Rule {
            id,
            api,
            client: client.to_owned(),
            keep,
            passing,
            caught: 0,
        });
    }

    /// Lets on what was kept by one rule, which ends.
    pub fn let_on(&self, api: Api, client: &str) {
        self.lock()
            .rules
            .retain(|rule| rule.api != api || rule.client != client);
    }

    /// Lets on everything that was kept; from now on nothing is.
    pub fn let_all_on(&self) {
        self.lock().rules.clear();
    }

    /// How many requests were caught so far.
    pub fn caught(&self) -> u64 {
        self.lock().caught
    }

    /// How many requests of these clients the present rules have caught.
    pub fn caught_of(&self, client: &str) -> u64 {
        let state = self.lock();
        let of_client = state.rules.iter().filter(|rule| rule.client == client);
        of_client.map(|rule| rule.caught).sum()
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

/// Answers to come that are kept, by correlation id.
type Awaited = Arc<Mutex<BTreeMap<[u8; 4], (u64, Keep)>>>;

async fn connection(client: TcpStream, server: TcpStream, ports: Ports, state: Arc<Mutex<State>>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let awaited = Awaited::default();
    // Either end closes both.
    tokio::select! {
        () = requests(from_client, to_server, Arc::clone(&awaited), Arc::clone(&state)) => {}
        () = answers(from_server, to_client, awaited, state, ports) => {}
    }
}

/// Waits until a rule has ended.
async fn ended(rule: u64, state: &Mutex<State>) {
    let holds = || {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rules.iter().any(|one| one.id == rule)
    };
    while holds() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, awaited: Awaited, state: Arc<Mutex<State>>) {
    while let Some(frame) = read(&mut from).await {
        let caught = state.lock().unwrap_or_else(PoisonError::into_inner).catch(&frame);
        match caught {
            None => {}
            Some((rule, Keep::Request)) => ended(rule, &state).await,
            Some(caught @ (_, Keep::Answer | Keep::AnswerForEver)) => {
                let id = frame.get(4..).and_then(<[u8]>::first_chunk::<4>);
                let id = id.copied().unwrap_or_default();
                awaited
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(id, caught);
            }
        }
        if write(&mut to, &frame).await.is_err() {
            return;
        }
    }
    // The broker shall have read the last request, which may have been kept until long after its client's end.
    tokio::time::sleep(LINGERS).await;
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    awaited: Awaited,
    state: Arc<Mutex<State>>,
    ports: Ports,
) {
    let real = [HOST, &u32::from(ports.broker).to_be_bytes()].concat();
    let ours = [HOST, &u32::from(ports.proxy).to_be_bytes()].concat();
    while let Some(mut frame) = read(&mut from).await {
        let id = frame.first_chunk::<4>().copied().unwrap_or_default();
        let kept = awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        match kept {
            None => {}
            Some((_, Keep::AnswerForEver)) => continue,
            Some((rule, _)) => ended(rule, &state).await,
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
