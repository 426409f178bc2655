//! Keyspace events on their way from a change to the subscribers, in the order of the changes.
//!
//! Several event loops change keys, and a subscriber must not hear of a deletion before the creation that it ended. So events are appended
//! here under the locks of their change, which gives the events of one key the order of its changes and keeps those of a transaction
//! together. They are published after the unlock, by one loop at a time; whoever has appended some waits until they are out.

use crate::base::lock::Mutex;
use crate::config::NotifyFlags;

/// An event that waits to be published.
#[derive(Debug)]
pub struct Noted {
    /// The event's name in messages.
    pub name: &'static str,
    pub database: usize,
    pub key: Box<[u8]>,
    /// `notify-keyspace-events` at the time of the change: which of the two kinds of channel hear of it.
    pub flags: NotifyFlags,
}

/// See the module's text.
#[derive(Default)]
pub struct KeyspaceEvents {
    /// No longer than what the present request, or shard in a round of expiry, of each event loop has caused: a loop goes on only when its own events are out.
    queue: Mutex<Vec<Noted>>,
    /// Held by the loop that publishes, which takes no shard's lock meanwhile; so one may wait for it under any lock.
    publishing: Mutex<()>,
}

impl KeyspaceEvents {
    /// Adds events, and leaves `events` empty. The locks of the changes are held.
    pub fn append(&self, events: &mut Vec<Noted>) {
        self.queue.lock().append(events);
    }

    /// Publishes what was appended before the call, or waits until another loop has done so. `send` gets a channel and a message.
    pub fn publish(&self, mut send: impl FnMut(&[u8], &[u8])) {
        let _publishing = self.publishing.lock();
        let events = std::mem::take(&mut *self.queue.lock());
        for Noted { name, database, key, flags } in events {
            if flags.contains(NotifyFlags::KEYSPACE) {
                let channel = [format!("__keyspace@{database}__:").as_bytes(), &key].concat();
                send(&channel, name.as_bytes());
            }
            if flags.contains(NotifyFlags::KEYEVENT) {
                send(format!("__keyevent@{database}__:{name}").as_bytes(), &key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn noted(name: &'static str, database: usize) -> Noted {
        let flags = NotifyFlags::parse(b"KEA").expect("known letters");
        Noted { name, database, key: Box::from(*b"k"), flags }
    }

    #[test]
    fn each_kind_of_channel_hears_in_the_order_of_the_changes() {
        let events = KeyspaceEvents::default();
        events.append(&mut vec![noted("set", 0), noted("expire", 0)]);
        events.append(&mut vec![Noted { flags: NotifyFlags::KEYEVENT, ..noted("del", 3) }]);
        let mut sent = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        events.publish(|channel, message| sent.push(format!("{} {}", text(channel), text(message))));
        assert_eq!(
            sent,
            [
                "__keyspace@0__:k set",
                "__keyevent@0__:set k",
                "__keyspace@0__:k expire",
                "__keyevent@0__:expire k",
                "__keyevent@3__:del k",
            ]
        );
        events.publish(|_, _| panic!("each event goes out once"));
    }

    #[test]
    fn changes_of_two_threads_are_published_as_they_were_made() {
        const CHANGES: usize = 10_000;
        let (events, shard, sent) = (KeyspaceEvents::default(), Mutex::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..CHANGES {
                        let mut change = shard.lock();
                        *change += 1;
                        events.append(&mut vec![Noted {
                            flags: NotifyFlags::KEYSPACE,
                            ..noted("set", *change)
                        }]);
                        drop(change);
                        events.publish(|channel, _| sent.lock().push(channel.to_vec()));
                    }
                });
            }
        });
        let expected: Vec<_> =
            (1..=2 * CHANGES).map(|at| format!("__keyspace@{at}__:k").into_bytes()).collect();
        assert!(*sent.lock() == expected, "published in another order than made");
    }
}
