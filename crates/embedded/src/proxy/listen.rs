use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Shared, relay};

/// Most connections to one broker; further ones are closed at once.
const CONNECTIONS_MAX: usize = 1024;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// How often, and how long apart, a port is asked for that the system has not let go yet.
const REBINDS_MAX: u32 = 100;
const REBIND_PAUSE: Duration = Duration::from_millis(20);

/// The port that stands before one broker.
#[derive(Debug)]
pub(super) struct Listener {
    upstream: SocketAddr,
    local: SocketAddr,
    port: Port,
}

#[derive(Debug)]
enum Port {
    Open(TcpListener),
    /// Bound, so that nobody else takes it, and not listening, so that the system refuses connections.
    Refusing(TcpSocket),
    /// On its way between the two.
    Closed,
}

impl Listener {
    pub(super) fn open(upstream: SocketAddr) -> io::Result<Self> {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)?;
        Ok(Self {
            upstream,
            local: listener.local_addr()?,
            port: Port::Open(listener),
        })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Passes connections on until the proxy is dropped; tells which orders it has put into effect.
    pub(super) async fn run(mut self, shared: Arc<Shared>, applied: watch::Sender<u64>) {
        let mut faults = shared.faults.subscribe();
        let mut connections = JoinSet::new();
        loop {
            let (cut, revision) = {
                let faults = faults.borrow_and_update();
                (faults.cuts(self.upstream), faults.revision)
            };
            if let Err(error) = self.turn(cut).await {
                tracing::error!(port = %self.local, %error, "the fault proxy lost its port");
                return;
            }
            if cut {
                connections.shutdown().await;
            }
            applied.send_replace(revision);
            tokio::select! {
                changed = faults.changed() => if changed.is_err() { return },
                client = self.accept() => if connections.len() < CONNECTIONS_MAX {
                    connections.spawn(relay::relay(client, self.upstream, Arc::clone(&shared)));
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Opens the port or makes it refuse.
    async fn turn(&mut self, refuse: bool) -> io::Result<()> {
        self.port = match std::mem::replace(&mut self.port, Port::Closed) {
            Port::Open(listener) if refuse => {
                drop(listener);
                Port::Refusing(self.bind_again().await?)
            }
            Port::Refusing(socket) if !refuse => Port::Open(socket.listen(BACKLOG)?),
            unchanged => unchanged,
        };
        Ok(())
    }

    async fn bind_again(&self) -> io::Result<TcpSocket> {
        for _ in 0..REBINDS_MAX {
            match bind(self.local) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(REBIND_PAUSE).await
                }
                bound => return bound,
            }
        }
        bind(self.local)
    }

    /// The next client; none while the port refuses.
    async fn accept(&self) -> TcpStream {
        loop {
            match &self.port {
                Port::Open(listener) => match listener.accept().await {
                    Ok((client, _)) => return client,
                    // A client that left before it was accepted, or no descriptor is free: ask again, not at full speed.
                    Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
                },
                Port::Refusing(_) | Port::Closed => std::future::pending().await,
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that were closed a moment ago still hold the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
