//! The network's side of MIGRATE: a task on the control thread sends RESTORE for each key to another server and reads what that says.
//!
//! It runs for as long as the request's timeout allows at each step. Its answer goes to the client's event loop as a message.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Message, MigrationOrder, MigrationResult};
use crate::config::Config;
use crate::rdb::seal_payload;
use crate::services::Services;
use crate::write_log::encode_request;

/// The longest line that another server may answer.
const LINE_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES: usize = 4096;

/// What the client hears when the way to the other server fails.
const CANNOT_CONNECT: &str = "IOERR error or timeout connecting to the client";
const CANNOT_WRITE: &str = "IOERR error or timeout writing to target instance";
const CANNOT_READ: &str = "IOERR error or timeout reading to target instance";
const IS_HERE: &str = "ERR the target is this server and this database";

/// Does what MIGRATE has ordered, and tells the client's event loop.
pub async fn migrate(services: Arc<Services>, mut order: MigrationOrder) {
    let (loop_index, place, id) = (order.loop_index, order.place, order.id);
    let mut result = MigrationResult::default();
    if let Err(text) = transfer(&services, &mut order, &mut result).await {
        result.error.get_or_insert_with(|| text.as_bytes().to_vec());
    }
    let message = Message::Migrated { place, id, result: Arc::new(result) };
    services.clients.mailbox(loop_index).send(message);
}

async fn transfer(
    services: &Services,
    order: &mut MigrationOrder,
    result: &mut MigrationResult,
) -> Result<(), &'static str> {
    let patience = Duration::from_millis(order.timeout_ms);
    let connecting = timeout(patience, TcpStream::connect((order.host.as_str(), order.port))).await;
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        // Redis finds out about this one only when it writes.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(CANNOT_WRITE),
        Ok(Err(_)) | Err(_) => return Err(CANNOT_CONNECT),
    };
    if is_here(&services.settings.load(), order, &stream) {
        return Err(IS_HERE);
    }
    let mut target = Target { stream, patience, input: Vec::new() };
    let (mut output, mut replies) = (Vec::new(), 1);
    if !order.credentials.is_empty() {
        let words: Vec<&[u8]> =
            std::iter::once(&b"AUTH"[..]).chain(order.credentials.iter().map(Vec::as_slice)).collect();
        encode_request(&mut output, &words);
        replies += 1;
    }
    encode_request(&mut output, &[b"SELECT", order.database.to_string().as_bytes()]);
    target.write(&output).await.map_err(|_| CANNOT_WRITE)?;
    let mut refused = false;
    for _ in 0..replies {
        refused |= target.is_refused(result).await?;
    }
    // Redis sends everything at once, and so restores keys into whatever database the connection is in.
    if refused {
        return Ok(());
    }
    output.clear();
    for moved in &order.keys {
        // A key whose time is just over must not become one that never expires.
        let ttl_ms = moved.expire_at_ms.map_or(0, |at_ms| (at_ms - order.now_ms).max(1));
        let (ttl, payload) = (ttl_ms.to_string(), seal_payload(moved.body.clone()));
        let words: &[&[u8]] = &[b"RESTORE", &moved.key, ttl.as_bytes(), &payload, b"REPLACE"];
        encode_request(&mut output, if order.replace { words } else { &words[..4] });
    }
    target.write(&output).await.map_err(|_| CANNOT_WRITE)?;
    for moved in std::mem::take(&mut order.keys) {
        if !target.is_refused(result).await? {
            result.arrived.push(moved);
        }
    }
    Ok(())
}

/// Whether the way leads back to where the keys are. They would arrive, and then be deleted as what is left behind.
fn is_here(config: &Config, order: &MigrationOrder, stream: &TcpStream) -> bool {
    let same_machine = match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local.ip() == peer.ip(),
        _ => false,
    };
    same_machine && order.port == config.port && i64::try_from(order.from_database) == Ok(order.database)
}

/// The other server.
struct Target {
    stream: TcpStream,
    patience: Duration,
    input: Vec<u8>,
}

impl Target {
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            timeout(self.patience, self.stream.writable()).await??;
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads a reply. Says whether it is an error, and keeps the first of them for the client.
    async fn is_refused(&mut self, result: &mut MigrationResult) -> Result<bool, &'static str> {
        let line = self.line().await.map_err(|_| CANNOT_READ)?;
        let Some(text) = line.strip_prefix(b"-") else { return Ok(false) };
        let told = || [b"ERR Target instance replied with error: ", text].concat();
        result.error.get_or_insert_with(told);
        Ok(true)
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
                let line = self.input[..end].to_vec();
                self.input.drain(..end + 2);
                return Ok(line);
            }
            if self.input.len() > LINE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            timeout(self.patience, self.stream.readable()).await??;
            let mut bytes = [0; READ_BYTES];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
