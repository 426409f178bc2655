//! The mailbox's protocol, in all orders of its steps, and what its contents count as.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::super::delivery::{DELIVERY_BYTES, Delivery, Parcel, RECEIVER_BYTES};
use super::super::info::{ClientFlags, ClientInfo};
use super::*;

/// What the loop's poller knows: a ring that it has not told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bell {
    Still,
    Rings,
}

/// Two senders with some messages each, and a loop, at some moment. It is rebuilt for each order of steps from the steps alone, with a
/// real mailbox in the middle.
struct World {
    mailbox: Mailbox,
    bell: Bell,
    /// For each sender: messages that are posted, and whether a ring is still to come.
    senders: [(usize, bool); 2],
    /// The loop is awake and has not taken yet.
    awake: bool,
    received: usize,
    wakes: usize,
}

const MESSAGES: usize = 3;

/// Who takes the next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Sender(usize),
    Loop,
}

impl World {
    fn after(steps: &[Step]) -> World {
        let mut world = World {
            mailbox: Mailbox::new(Box::new(|| {})),
            bell: Bell::Still,
            senders: [(0, false); 2],
            awake: false,
            received: 0,
            wakes: 0,
        };
        steps.iter().for_each(|step| world.step(*step));
        world
    }

    fn can(&self, step: Step) -> bool {
        match step {
            Step::Sender(sender) => self.senders[sender].0 < MESSAGES || self.senders[sender].1,
            Step::Loop => self.awake || self.bell == Bell::Rings,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Sender(sender) => {
                let (posted, must_ring) = &mut self.senders[sender];
                if *must_ring {
                    self.bell = Bell::Rings;
                    *must_ring = false;
                } else {
                    let message = if sender == 0 { Message::Look } else { delivery(&[client(1)]) };
                    *must_ring = self.mailbox.post(message);
                    *posted += 1;
                }
            }
            Step::Loop if self.awake => {
                // One delivery at most: the rest is left for the next turn.
                let mut messages = Vec::new();
                self.mailbox.take(&mut messages, Some(1));
                self.received += messages.len();
                self.awake = self.mailbox.is_signalled();
            }
            Step::Loop => {
                self.bell = Bell::Still;
                self.awake = true;
                self.wakes += 1;
            }
        }
    }
}

/// Takes every further step that is possible, in all orders; gives the number of ends.
fn explore(steps: &mut Vec<Step>) -> usize {
    let world = World::after(steps);
    let queue = world.mailbox.queue.lock();
    let waits = !queue.messages.is_empty() || !queue.deliveries.is_empty();
    drop(queue);
    let is_heard = world.awake || world.bell == Bell::Rings || world.senders.iter().any(|(_, ring)| *ring);
    assert!(!waits || is_heard, "the loop sleeps over a message: {steps:?}");
    let next = [Step::Sender(0), Step::Sender(1), Step::Loop].into_iter().filter(|step| world.can(*step));
    let ends: usize = next
        .map(|step| {
            steps.push(step);
            let ends = explore(steps);
            steps.pop();
            ends
        })
        .sum();
    if ends > 0 {
        return ends;
    }
    // Nobody can do anything: all is received, and the loop did not wake up more often than it was rung for.
    assert_eq!(world.received, 2 * MESSAGES, "{steps:?}");
    assert!(world.wakes <= 2 * MESSAGES, "{steps:?}");
    1
}

#[test]
fn no_order_of_posts_rings_wakes_and_takes_loses_a_message() {
    let ends = explore(&mut Vec::new());
    assert!(ends > 1000, "only {ends} orders");
}

fn client(id: u64) -> Arc<ClientInfo> {
    Arc::new(ClientInfo::new(id, String::new(), String::new(), 0, 0, 0, 0, ClientFlags::default()))
}

fn delivery(receivers: &[Arc<ClientInfo>]) -> Message {
    let parcel = Arc::new(Parcel::plain(bytes::Bytes::from_static(b"+123456789\r\n")));
    Message::Deliver(Delivery::new(receivers.into(), parcel))
}

#[test]
fn what_waits_counts_as_its_receivers_memory_until_it_is_taken() {
    let (mailbox, clients) = (Mailbox::new(Box::new(|| {})), [client(1), client(2)]);
    let in_transit = || [0, 1].map(|index: usize| clients[index].in_transit_bytes.load(Relaxed));
    let at_rest = clients[0].memory_bytes();
    let send = |receivers: &[Arc<ClientInfo>]| mailbox.send(delivery(receivers));
    let one = 12 + RECEIVER_BYTES;
    let (two, last) = (DELIVERY_BYTES + 2 * one, DELIVERY_BYTES + one);
    let taken = |before: usize, after: usize| Taken { before: before as u64, after: after as u64 };
    send(&clients);
    mailbox.send(Message::Look);
    send(&clients[..1]);
    assert_eq!(in_transit(), [2 * one, one]);
    assert_eq!(clients[0].memory_bytes(), at_rest + 2 * one);
    assert!(mailbox.is_full((two + last) as u64 - 1) && !mailbox.is_full((two + last) as u64));

    let mut messages = Vec::new();
    assert_eq!(mailbox.take(&mut messages, None), taken(two + last, two + last));
    assert!(matches!(messages[..], [Message::Look]) && mailbox.is_signalled(), "{messages:?}");
    assert_eq!(mailbox.take(&mut messages, Some(1)), taken(two + last, last));
    assert_eq!((messages.len(), in_transit()), (2, [one, 0]));

    mailbox.send(Message::Look);
    send(&clients[1..]);
    assert_eq!(mailbox.take_deliveries(&mut messages), taken(2 * last, 0));
    assert_eq!((messages.len(), in_transit()), (4, [0, 0]));
    assert!(!mailbox.is_full(0) && mailbox.is_signalled(), "the other message is there");
    mailbox.take(&mut messages, Some(usize::MAX));
    assert!(messages.len() == 5 && !mailbox.is_signalled());
}

#[test]
fn the_bell_rings_once_for_what_is_sent_between_two_looks() {
    let rings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rings);
    let mailbox = Mailbox::new(Box::new(move || {
        counted.fetch_add(1, Relaxed);
    }));
    for round in 1..3 {
        (0..5).for_each(|_| mailbox.send(Message::Look));
        assert_eq!(rings.load(Relaxed), round);
        mailbox.take(&mut Vec::new(), Some(usize::MAX));
    }
}
