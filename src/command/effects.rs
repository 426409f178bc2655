//! What follows from a change, in one place: commands only say that something has changed.
//!
//! While the shards are locked, a change advances the versions of watched keys and is counted; what others are told is noted here and
//! sent after the locks are released.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::{ClientInfo, Delivery, Message, Parcel};
use crate::config::NotifyFlags;
use crate::pubsub::Noted;
use crate::resp::Output;
use crate::write_log::encode_request;

/// Room for records that is kept from request to request.
const KEPT_BYTES: usize = 64 * 1024;

/// A keyspace event: its class and its name in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub class: NotifyFlags,
    pub name: &'static str,
}

macro_rules! events {
    ($($constant:ident = $class:ident $name:literal,)*) => {
        impl Event { $(pub const $constant: Event = Event { class: NotifyFlags::$class, name: $name };)* }
    };
}

events! {
    DEL = GENERIC "del",
    RENAME_FROM = GENERIC "rename_from",
    RENAME_TO = GENERIC "rename_to",
    MOVE_FROM = GENERIC "move_from",
    MOVE_TO = GENERIC "move_to",
    COPY_TO = GENERIC "copy_to",
    EXPIRE = GENERIC "expire",
    LPUSH = LIST "lpush",
    RPUSH = LIST "rpush",
    LPOP = LIST "lpop",
    RPOP = LIST "rpop",
    LINSERT = LIST "linsert",
    LSET = LIST "lset",
    LREM = LIST "lrem",
    LTRIM = LIST "ltrim",
    SORTSTORE = LIST "sortstore",
    HSET = HASH "hset",
    HDEL = HASH "hdel",
    HEXPIRE = HASH "hexpire",
    HEXPIRED = HASH "hexpired",
    HINCRBY = HASH "hincrby",
    HINCRBYFLOAT = HASH "hincrbyfloat",
    HPERSIST = HASH "hpersist",
    ZADD = SORTED_SET "zadd",
    ZDIFFSTORE = SORTED_SET "zdiffstore",
    ZINCR = SORTED_SET "zincr",
    ZINTERSTORE = SORTED_SET "zinterstore",
    ZPOPMAX = SORTED_SET "zpopmax",
    ZPOPMIN = SORTED_SET "zpopmin",
    ZRANGESTORE = SORTED_SET "zrangestore",
    ZREM = SORTED_SET "zrem",
    ZREMRANGEBYLEX = SORTED_SET "zremrangebylex",
    ZREMRANGEBYRANK = SORTED_SET "zremrangebyrank",
    ZREMRANGEBYSCORE = SORTED_SET "zremrangebyscore",
    ZUNIONSTORE = SORTED_SET "zunionstore",
    GEORADIUSSTORE = SORTED_SET "georadiusstore",
    GEOSEARCHSTORE = SORTED_SET "geosearchstore",
    PERSIST = GENERIC "persist",
    RESTORE = GENERIC "restore",
    SADD = SET "sadd",
    SDIFFSTORE = SET "sdiffstore",
    SINTERSTORE = SET "sinterstore",
    SPOP = SET "spop",
    SREM = SET "srem",
    SUNIONSTORE = SET "sunionstore",
    SET = STRING "set",
    SETRANGE = STRING "setrange",
    SETBIT = STRING "setbit",
    PFADD = STRING "pfadd",
    APPEND = STRING "append",
    INCRBY = STRING "incrby",
    INCRBYFLOAT = STRING "incrbyfloat",
    XADD = STREAM "xadd",
    XTRIM = STREAM "xtrim",
    XDEL = STREAM "xdel",
    XSETID = STREAM "xsetid",
    XGROUP_CREATE = STREAM "xgroup-create",
    XGROUP_SETID = STREAM "xgroup-setid",
    XGROUP_DESTROY = STREAM "xgroup-destroy",
    XGROUP_CREATECONSUMER = STREAM "xgroup-createconsumer",
    XGROUP_DELCONSUMER = STREAM "xgroup-delconsumer",
    EXPIRED = EXPIRED "expired",
    EVICTED = EVICTED "evicted",
    KEY_MISS = KEY_MISS "keymiss",
    NEW_KEY = NEW_KEY "new",
}

/// What becomes of the deadline of a key that is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// The key loses the deadline it had.
    Clear,
    Keep,
    /// Unix milliseconds; may have passed already, and then the key is invisible at once.
    At(i64),
}

/// How the present request goes into the write log, besides what it has made expire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Record {
    /// Not at all: it has changed nothing.
    #[default]
    None,
    /// As it came: it does the same whenever it is done again.
    Verbatim,
    /// As `SET key value` with an absolute deadline; the key is argument 1, the value the one named here.
    Set { value: usize, deadline: Deadline },
    /// As other records, which are in [`Records::bytes`] already.
    Written,
}

/// What the write log will hear of the present request.
#[derive(Default)]
pub struct Records {
    pub form: Record,
    /// Records that are ready, with the SELECTs between them.
    pub bytes: Vec<u8>,
    /// How many these are.
    pub count: usize,
    /// The databases that the first of them belongs to, and the last.
    pub databases: (usize, usize),
}

impl Records {
    #[inline]
    pub fn any(&self) -> bool {
        self.form != Record::None || self.count != 0
    }

    /// Adds a ready record; `encode` writes it.
    pub fn add(&mut self, database: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.count == 0 {
            self.databases = (database, database);
        } else if self.databases.1 != database {
            encode_request(&mut self.bytes, &[b"SELECT", itoa::Buffer::new().format(database).as_bytes()]);
            self.databases.1 = database;
        }
        self.count += 1;
        encode(&mut self.bytes);
    }

    pub fn clear(&mut self) {
        self.form = Record::None;
        self.count = 0;
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
    }
}

/// What the present request has caused and others must hear of.
#[derive(Default)]
pub struct Effects {
    pub records: Records,
    /// Keyspace events, in order. They are handed to [`crate::pubsub::KeyspaceEvents`] before the request's locks are released.
    pub events: Vec<Noted>,
    /// Messages for clients of this loop, in order.
    pub local: Vec<Message>,
    /// What the client hears behind the reply to the EXEC that runs: messages cannot come inside of it.
    pub behind_exec: Output,
}

impl Effects {
    /// Notes bytes for a client of this loop.
    pub fn deliver_local(&mut self, client: &Arc<ClientInfo>, bytes: Bytes) {
        let parcel = Arc::new(Parcel::plain(bytes));
        self.local.push(Message::Deliver(Delivery::new([Arc::clone(client)].into(), parcel)));
    }
}
