//! What an event loop does between two sweeps: clients that wait, expiry, eviction, clients that were idle for too long.

use std::sync::atomic::Ordering::Relaxed;

use super::event_loop::EventLoop;
use crate::client::Gates;
use crate::dispatch::{client_memory_limit, evict_clients, expire_round, relieve, wake};
use crate::keyspace::TICK_MS;
use crate::observe::counters::Gauge;
use crate::observe::rates::SAMPLE_MS;

/// How often clients are looked at for timeouts.
const CRON_MS: i64 = 500;

impl EventLoop<'_> {
    pub(super) fn block(&mut self, place: usize) {
        self.blocked.push(place);
        self.state.statistics.counters.rise(Gauge::BlockedClients);
        if let Some(connection) = self.connections[place].as_deref() {
            connection.client.show_blocked();
        }
    }

    /// Lets blocked clients go on whose time has come.
    pub(super) fn wake_blocked(&mut self) {
        for place in std::mem::take(&mut self.blocked) {
            self.output.begin(self.output_allowed(place));
            let Some(connection) = self.connections[place].as_deref_mut() else { continue };
            if connection.client.blocked.is_none() {
                continue;
            }
            if !wake(&mut self.state, &mut connection.client, &mut self.output) {
                self.blocked.push(place);
                // EXEC answers before it waits once more.
                self.send_output(place);
                continue;
            }
            connection.client.show_blocked();
            self.state.statistics.counters.fall(Gauge::BlockedClients);
            self.poll_input(place, true);
            self.send_output(place);
            self.resume(place);
        }
        self.flush_delivered();
    }

    /// Timers: blocked clients, expiry, idle clients. Gives the milliseconds until it is needed again.
    pub(super) fn housekeeping(&mut self) -> i64 {
        if !self.blocked.is_empty() {
            self.wake_blocked();
        }
        self.look_after_listeners();
        let mut backlog = relieve(&mut self.state);
        if self.state.steady_ms >= self.next_expire_ms {
            let expiry_backlog = expire_round(&mut self.state);
            backlog |= expiry_backlog;
            if !expiry_backlog {
                self.next_expire_ms = self.state.steady_ms + TICK_MS;
            }
        }
        if !self.state.effects.local.is_empty() {
            self.deliver_local(usize::MAX);
            self.flush_delivered();
        }
        if self.state.steady_ms >= self.next_cron_ms {
            self.next_cron_ms = self.state.steady_ms + CRON_MS;
            self.look_after_clients();
        }
        if self.state.loop_index == 0 && self.state.steady_ms >= self.next_sample_ms {
            self.next_sample_ms = self.state.steady_ms + SAMPLE_MS;
            let services = self.state.services;
            services.rates.lock().sample(&services.statistics.counters(), self.state.steady_us);
        }
        if backlog { 0 } else { self.next_expire_ms - self.state.steady_ms }
    }

    /// Counts what a client takes, and closes the largest ones if that makes it too much. Called when a buffer of the client has changed.
    #[inline]
    pub(super) fn weigh(&self, place: usize) {
        let limit = client_memory_limit(&self.state);
        if limit > 0 {
            self.weigh_against(place, limit);
        }
    }

    #[cold]
    fn weigh_against(&self, place: usize, limit: u64) {
        let Some(connection) = self.connections[place].as_deref() else { return };
        let total = self.state.services.clients.recount(&connection.client.info);
        if total as u64 > limit {
            evict_clients(&self.state);
        }
    }

    /// Closes clients that were idle for longer than `timeout` or whose output is above a soft limit for too long.
    pub(super) fn look_after_clients(&mut self) {
        let timeout_ms = i64::from(self.state.config.timeout) * 1000;
        let weighs = client_memory_limit(&self.state) > 0;
        // Those that were connected when the limit was set are counted here first; their own turns tell of what comes later.
        if self.state.loop_index == 0 {
            evict_clients(&self.state);
        }
        for place in 0..self.connections.len() {
            let Some(connection) = self.connections[place].as_deref() else { continue };
            let client = &connection.client;
            client.info.input_capacity.store(connection.input_capacity(), Relaxed);
            if weighs {
                self.state.services.clients.recount(&client.info);
            }
            let idle_ms = self.state.steady_ms - client.info.last_active_ms.load(Relaxed);
            let exempt =
                client.subscriptions() > 0 || client.blocked.is_some() || client.gates.has(Gates::MONITORING);
            let timed_out = timeout_ms > 0 && idle_ms > timeout_ms && !exempt;
            if connection.soft_limit_since_ms.is_some() {
                self.check_output_limit(place, 0);
            }
            if timed_out {
                self.close(place);
            } else {
                self.close_if_marked(place);
            }
        }
    }
}
