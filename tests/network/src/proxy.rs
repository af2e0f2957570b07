//! A TCP proxy between a store and its server, which can fail as networks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that pass at once on a way that dribbles, enough for a log-in, and how far apart they are.
const DROP: usize = 512;
const DRIP: Duration = Duration::from_millis(5);

/// How the way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing passes, and nobody is told: a cable is out.
    Stalled,
    /// Connections break, and new ones at once: the server is gone.
    Closed,
    /// What goes to the server passes; what comes back is lost, and then the connection breaks.
    Mute,
    /// What goes to the server arrives in small pieces, with pauses.
    Dribbling,
}

/// Listens on a port of its own as long as it lives.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    accepted: Arc<AtomicUsize>,
    round_trips: Arc<AtomicUsize>,
    leads: Arc<Mutex<Leads>>,
}

/// Where new connections lead, and what is put in place of certain bytes of the answers.
#[derive(Debug, Clone)]
struct Leads {
    server: SocketAddr,
    replaced: Option<(Vec<u8>, Vec<u8>)>,
}

impl Proxy {
    /// In front of the server at this address.
    pub async fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(watch::channel(Way::Open).0);
        let accepted = Arc::new(AtomicUsize::new(0));
        let round_trips = Arc::new(AtomicUsize::new(0));
        let (told, counted) = (Arc::downgrade(&way), Arc::clone(&accepted));
        let turns = Arc::clone(&round_trips);
        let leads = Arc::new(Mutex::new(Leads { server, replaced: None }));
        let leading = Arc::clone(&leads);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let Some(way) = told.upgrade() else { return };
                tokio::spawn(forward(client, Arc::clone(&leading), way.subscribe(), Arc::clone(&turns)));
            }
        });
        Proxy { address, way, accepted, round_trips, leads }
    }

    /// Connections that were asked for.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How often a connection sent something after it had been answered, since the last call.
    pub fn round_trips(&self) -> usize {
        self.round_trips.swap(0, Ordering::SeqCst)
    }

    /// New connections lead to this server; those that there are stay.
    pub fn lead_to(&self, server: SocketAddr) {
        self.leads.lock().unwrap().server = server;
    }

    /// Puts `to`, of the same length, in place of `from` wherever an answer has it.
    pub fn replace(&self, from: &str, to: &str) {
        assert_eq!(from.len(), to.len());
        self.leads.lock().unwrap().replaced = Some((from.into(), to.into()));
    }

    /// Breaks all connections; new ones pass.
    pub fn cut(&self) {
        self.way.send_replace(Way::Closed);
        self.way.send_replace(Way::Open);
    }

    /// Breaks all connections, and each new one.
    pub fn close(&self) {
        self.way.send_replace(Way::Closed);
    }

    /// Swallows everything.
    pub fn stall(&self) {
        self.way.send_replace(Way::Stalled);
    }

    /// Lets requests pass and breaks the connection instead of giving back the answer.
    pub fn mute(&self) {
        self.way.send_replace(Way::Mute);
    }

    /// Lets requests pass in small pieces that are some milliseconds apart, and answers at once.
    pub fn dribble(&self) {
        self.way.send_replace(Way::Dribbling);
    }

    /// Everything passes again.
    pub fn open(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl Leads {
    /// A text that a packet cuts in two stays as it is.
    fn rewrite(&self, answer: &mut [u8]) {
        let Some((from, to)) = &self.replaced else { return };
        while let Some(at) = answer.windows(from.len()).position(|bytes| bytes == from) {
            answer[at..at + to.len()].copy_from_slice(to);
        }
    }
}

async fn forward(
    mut client: TcpStream,
    leads: Arc<Mutex<Leads>>,
    mut way: watch::Receiver<Way>,
    round_trips: Arc<AtomicUsize>,
) {
    let mut asked = false;
    let mut now = *way.borrow_and_update();
    if now == Way::Closed {
        return;
    }
    let server = leads.lock().unwrap().server;
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut up, mut down) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        tokio::select! {
            // No answer passes once the way was broken.
            biased;
            // Every change counts, also one that is over already: a cut is Closed and Open at once.
            changed = way.changed() => {
                let next = *way.borrow_and_update();
                if changed.is_err() || next == Way::Closed || (now, next) == (Way::Open, Way::Open) {
                    return;
                }
                now = next;
            }
            read = client.read(&mut up), if now != Way::Stalled => match read {
                Ok(0) | Err(_) => return,
                Ok(bytes) => {
                    if !std::mem::replace(&mut asked, true) {
                        round_trips.fetch_add(1, Ordering::SeqCst);
                    }
                    let size = if now == Way::Dribbling { DROP } else { bytes };
                    for piece in up[..bytes].chunks(size) {
                        if server.write_all(piece).await.is_err() { return }
                        if now == Way::Dribbling {
                            tokio::time::sleep(DRIP).await;
                        }
                    }
                }
            },
            read = server.read(&mut down), if now != Way::Stalled => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if now == Way::Mute => return,
                Ok(bytes) => {
                    asked = false;
                    leads.lock().unwrap().rewrite(&mut down[..bytes]);
                    if client.write_all(&down[..bytes]).await.is_err() { return }
                }
            },
        }
    }
}
