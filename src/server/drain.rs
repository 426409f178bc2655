//! The end of an event loop: what was answered goes out, for a bounded time, and every connection is closed so that its peer can still
//! read the answers.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;

use super::connection::Connection;
use super::unsent::Sent;
use crate::base::clock::Clock;

/// Unread input of one connection that is thrown away at the end.
const DISCARDED_BYTES_MAX: usize = 1 << 20;

/// Sends what waits on the connections, for at most `timeout_ms`.
pub fn drain(connections: &mut [Option<Box<Connection>>], clock: &Clock, timeout_ms: i64) {
    let end_ms = clock.steady_ms() + timeout_ms;
    loop {
        let mut waiting = Vec::new();
        for connection in connections.iter_mut().flatten() {
            if connection.output_bytes() > 0 && matches!(connection.flush().0, Sent::Share | Sent::Full) {
                waiting.push(&connection.socket);
            }
        }
        let left_ms = end_ms - clock.steady_ms();
        if waiting.is_empty() || left_ms <= 0 {
            break;
        }
        let timeout = Timespec { tv_sec: left_ms / 1000, tv_nsec: left_ms % 1000 * 1_000_000 };
        let mut sockets: Vec<_> =
            waiting.into_iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
        // An interrupted wait is only a shorter one.
        let _ = poll(&mut sockets, Some(&timeout));
    }
    for connection in connections.iter().flatten() {
        finish(connection);
    }
}

/// Ends the sending side and throws unread input away. A socket that is closed over unread input resets the connection, and then the
/// peer may lose answers that it has not read yet.
fn finish(connection: &Connection) {
    if rustix::net::shutdown(&connection.socket, rustix::net::Shutdown::Write).is_err() {
        return;
    }
    let mut buffer = [0; 16 * 1024];
    let mut discarded = 0;
    while discarded < DISCARDED_BYTES_MAX {
        match rustix::io::read(&connection.socket, &mut buffer) {
            Ok(count) if count > 0 => discarded += count,
            _ => return,
        }
    }
}
