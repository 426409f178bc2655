//! What a request sends to clients other than its own: to those of its loop with its effects, to others through their loops' mailboxes.
//!
//! Nothing waits here. A mailbox that has become too full is noted with a gate (`DELIVERIES_FULL`); admission then lets the next request wait that
//! would send more, and its loop goes on emptying its own mailbox meanwhile. So two loops that send to each other never wait for each other.

use std::sync::Arc;

use super::cx::{Cx, LoopState};
use crate::client::{Client, ClientInfo, Delivery, Gates, Message, Parcel, Taken, Withheld};
use crate::pubsub::Audience;
use crate::resp::{Output, Protocol};

impl LoopState<'_> {
    /// Hands a parcel to everybody in an audience. Whoever calls holds the lock that gives the parcels of this audience their order.
    pub fn deliver(&mut self, audience: &Audience, parcel: Parcel) {
        let (parcel, clients) = (Arc::new(parcel), &self.services.clients);
        for group in audience.groups() {
            let delivery = Delivery::new(Arc::clone(&group.receivers), Arc::clone(&parcel));
            if group.loop_index == self.loop_index {
                // What other loops have sent to clients of this one was sent before, and must not come behind.
                self.take_deliveries();
                self.effects.local.push(Message::Deliver(delivery));
                continue;
            }
            let mailbox = clients.mailbox(group.loop_index);
            mailbox.send(Message::Deliver(delivery));
            if mailbox.is_full(self.config.delivery_buffer_limit) {
                self.services.set_gate(Gates::DELIVERIES_FULL, true);
            }
        }
    }

    /// Takes what other loops have sent to clients of this one so far.
    fn take_deliveries(&mut self) {
        let mailbox = self.services.clients.mailbox(self.loop_index);
        if mailbox.is_signalled() {
            let taken = mailbox.take_deliveries(&mut self.effects.local);
            self.note_taken(taken);
        }
    }

    /// Deliveries were taken out of this loop's mailbox. If it had been too full, those who wait for room hear of it.
    pub fn note_taken(&self, taken: Taken) {
        let (clients, limit) = (&self.services.clients, self.config.delivery_buffer_limit);
        if taken.before <= limit || taken.after > limit {
            return;
        }
        if !clients.has_full_mailbox(self.loop_index, limit) {
            // Who sends at the same time may lose his mark here, and sets it again with the next parcel.
            self.services.set_gate(Gates::DELIVERIES_FULL, false);
        }
        let others = clients.mailboxes().iter().enumerate().filter(|(index, _)| *index != self.loop_index);
        others.for_each(|(_, mailbox)| mailbox.send(Message::Look));
    }

    /// Whether other loops' mailboxes are too full for more. Called only while the gate for that is up.
    pub fn must_wait_with_deliveries(&self) -> bool {
        let full = self.services.clients.has_full_mailbox(self.loop_index, self.config.delivery_buffer_limit);
        if !full {
            // Who raised the gate may have been slower than the loop that made room.
            self.services.set_gate(Gates::DELIVERIES_FULL, false);
        }
        full
    }

    /// Whether what nobody asked for (expiry, eviction) has to wait because its keyspace events would be too much.
    pub fn must_wait_with_events(&self) -> bool {
        self.services.gates().has(Gates::DELIVERIES_FULL)
            && !self.config.notify_keyspace_events.is_silent()
            && self.must_wait_with_deliveries()
    }

    /// Kills a client, which must not be `killer`, whose request runs; false if it was killed before. None of its requests runs any more when the
    /// killer hears the reply.
    pub fn kill(&mut self, killer: &mut Client, client: &ClientInfo) -> bool {
        let loop_index = self.loop_index;
        if client.loop_index != loop_index {
            // Its loop may be in the middle of one of its requests.
            return self.services.clients.kill(client, || {
                killer.set_gate(Gates::WITHHELD, true);
                let withheld = killer.withheld.get_or_insert_with(Box::<Withheld>::default);
                Some(withheld.awaited.expect(loop_index))
            });
        }
        let first = client.mark_killed();
        if first {
            self.effects.local.push(Message::Kill { place: client.place, id: client.id, done: None });
        }
        first
    }
}

impl Cx<'_, '_> {
    /// Writes what was sent to this client so far in front of the present request's reply, or behind that of the EXEC that it belongs to, as in Redis
    /// since 7.2: the request ends a subscription, or changes the protocol, which messages of before still have. Called when the subscription has been taken out of the registry, and before anything is written.
    pub fn write_deliveries_first(&mut self) {
        self.state.take_deliveries();
        if self.client.is_silent() {
            // The reply is dropped, and what confirms the end comes behind like the rest.
            return;
        }
        let mut bytes = self.reply.aside();
        for message in &mut self.state.effects.local {
            if let Message::Deliver(delivery) = message
                && let Some(parcel) = delivery.take_for(self.client.info.id)
            {
                write(parcel, self.client.protocol, &mut bytes);
            }
        }
        if self.in_exec {
            self.state.effects.behind_exec.append_all(bytes);
        } else {
            self.reply.append(bytes);
        }
    }
}

/// Writes a parcel as the client hears it.
pub fn write(parcel: &Parcel, protocol: Protocol, out: &mut Output) {
    let (head, text) = parcel.parts(protocol);
    out.extend(head);
    out.append(text.clone());
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
