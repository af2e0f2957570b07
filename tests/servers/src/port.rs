//! Free ports on the loopback address.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};

use crate::{Failure, Outcome};

/// Under the range from which the system takes the ports of outgoing connections: while a server is down, no
/// client can be given its port, or be connected to itself there. Plus 10,000, where a node of a Redis Cluster
/// listens for its peers, they are still under it.
const FIRST: u16 = 12_000;
const COUNT: u16 = 10_000;
const PEERS: u16 = 10_000;
const ATTEMPTS: usize = 100;

/// A port that is free now, as is the one for peers. It may be taken by the time it is used.
pub(crate) fn free() -> Outcome<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    for _ in 0..ATTEMPTS {
        let [low, high] = random()?;
        let port = FIRST + u16::from_le_bytes([low, high]) % COUNT;
        if is_free(port) && is_free(port + PEERS) {
            return Ok(port);
        }
    }
    Err(Failure::new(format!("no free port on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT)))
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
