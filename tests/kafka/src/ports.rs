//! Free ports that stay free while a server is stopped.
//!
//! Asking the system for port 0 gives one of the ephemeral range, which any outgoing connection may take while the broker is
//! down for a restart test. So ports are drawn below that range (Linux starts it at 32768) and tried. Between the trial and the
//! server's own bind another process may be faster: callers try again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

const FIRST: u64 = 20_000;
const COUNT: u64 = 12_000;

/// A port on 127.0.0.1 that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1_000 {
        // The standard library's randomly seeded hasher is all the randomness needed here.
        let drawn = FIRST + RandomState::new().build_hasher().finish() % COUNT;
        let port = u16::try_from(drawn).expect("the range ends below 65536");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Two different free ports.
pub(crate) fn free_port_pair() -> (u16, u16) {
    let first = free_port();
    loop {
        let second = free_port();
        if second != first {
            return (first, second);
        }
    }
}
