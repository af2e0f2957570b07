//! Free ports on the loopback address.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::{Failure, Outcome};

/// Under the range from which the system takes the ports of outgoing connections: while a server is down, no
/// client can be given its port, or be connected to itself there. Plus 10,000, where a node of a Redis Cluster
/// listens for its peers, they are still under it.
const FIRST: u16 = 12_000;
const COUNT: u16 = 10_000;
const PEERS: u16 = 10_000;
const ATTEMPTS: usize = 100;

/// A port, and the one for its peers: free when taken, and given to no other server of ours until dropped.
///
/// Two servers that are started on one port would not only be one too few. The second one ends, but until then
/// the first answers in its place, and with the same password where both are nodes of one cluster.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    // A name in the kernel, for all processes: gone with its process however that ends, and no file.
    _claim: UnixListener,
}

impl Port {
    /// One of those that are free.
    pub(crate) fn take() -> Outcome<Self> {
        for _ in 0..ATTEMPTS {
            let number = FIRST + u16::from_le_bytes(random()?) % COUNT;
            if let Some(port) = Self::claim(number).filter(Self::is_free) {
                return Ok(port);
            }
        }
        Err(Failure::new(format!("no free port on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT)))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    fn claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("sessile-test-port-{number}")).ok()?;
        Some(Self { number, _claim: UnixListener::bind_addr(&name).ok()? })
    }

    /// Of everything else on this machine. It may be taken by the time it is used.
    fn is_free(&self) -> bool {
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        is_free(self.number) && is_free(self.number + PEERS)
    }
}

/// A password of 32 hexadecimal digits: other users of the machine can reach the loopback address too.
pub(crate) fn password() -> Outcome<String> {
    Ok(random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|cause| Failure::because("cannot read /dev/urandom", cause))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_servers_until_it_is_dropped() {
        let first = Port::take().unwrap();
        let number = first.number();
        assert!(Port::claim(number).is_none(), "two servers have port {number}");
        drop(first);
        assert_eq!(Port::claim(number).unwrap().number(), number);
    }
}
