//! The section of INFO about saving, loading and the write log.

use std::sync::atomic::Ordering::Relaxed;

use super::super::cx::Cx;
use super::line;
use crate::snapshot::{SaveKind, SaveState};

/// The names are those of Redis. What is about a forked child there is about the snapshot that runs here, whose memory is what it has
/// captured.
pub fn persistence(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let services = cx.services();
    let steady_ms = cx.steady_ms();
    let log = &services.write_log;
    let state = &*services.snapshots.state.lock();
    let running = state.running;
    let progress = &services.snapshots.progress;
    let loading = services.snapshots.is_loading();
    let captured = services.keyspace.captured_bytes() as u64;
    let keys = services.snapshots.keys_written.load(Relaxed);
    let seconds = |started_ms: i64| (steady_ms - started_ms).max(0) / 1000;
    let running_s =
        |kind| running.filter(|each| each.kind == kind).map_or(-1, |each| seconds(each.started_ms));
    line(text, "loading", u8::from(loading));
    line(text, "async_loading", 0);
    let peak = if running.is_some() { captured.max(state.captured_bytes_peak[0]) } else { 0 };
    line(text, "current_cow_peak", peak);
    line(text, "current_cow_size", captured);
    line(text, "current_cow_size_age", 0);
    let total = if running.is_some() { services.snapshots.keys_total.load(Relaxed) } else { 0 };
    let done = if running.is_some() { keys } else { 0 };
    let percent = if total == 0 { 0.0 } else { 100.0 * done as f64 / total as f64 };
    line(text, "current_fork_perc", format_args!("{:.2}", percent.min(100.0)));
    line(text, "current_save_keys_processed", done);
    line(text, "current_save_keys_total", total);
    line(text, "rdb_changes_since_last_save", services.changes().saturating_sub(state.saved_changes));
    line(text, "rdb_bgsave_in_progress", u8::from(state.is_running(SaveKind::Save)));
    line(text, "rdb_last_save_time", state.last_save_ms / 1000);
    line(text, "rdb_last_bgsave_status", status(state.saves.last_ok));
    line(text, "rdb_last_bgsave_time_sec", state.saves.last_seconds);
    line(text, "rdb_current_bgsave_time_sec", running_s(SaveKind::Save));
    line(text, "rdb_saves", state.saves.completed);
    line(text, "rdb_last_cow_size", state.captured_bytes_peak[SaveKind::Save as usize]);
    line(text, "rdb_last_load_keys_expired", progress.expired_keys.load(Relaxed));
    line(text, "rdb_last_load_keys_loaded", progress.loaded_keys.load(Relaxed));
    line(text, "aof_enabled", u8::from(cx.config().appendonly));
    line(text, "aof_rewrite_in_progress", u8::from(state.is_running(SaveKind::Rewrite)));
    line(text, "aof_rewrite_scheduled", u8::from(state.scheduled[SaveKind::Rewrite as usize]));
    line(text, "aof_last_rewrite_time_sec", state.rewrites.last_seconds);
    line(text, "aof_current_rewrite_time_sec", running_s(SaveKind::Rewrite));
    line(text, "aof_last_bgrewrite_status", status(state.rewrites.last_ok));
    line(text, "aof_rewrites", state.rewrites.completed);
    line(text, "aof_rewrites_consecutive_failures", state.rewrites.failures);
    line(text, "aof_last_write_status", status(log.failure().is_none()));
    line(text, "aof_last_cow_size", state.captured_bytes_peak[SaveKind::Rewrite as usize]);
    line(text, "module_fork_in_progress", 0);
    line(text, "module_fork_last_cow_size", 0);
    if cx.config().appendonly {
        write_log(cx, state, text);
    }
    if loading {
        let (total, loaded) = (progress.total_bytes.load(Relaxed), progress.loaded_bytes.load(Relaxed));
        let started_ms = progress.started_ms.load(Relaxed);
        let elapsed_s = seconds(progress.started_steady_ms.load(Relaxed)).max(1) as u64;
        line(text, "loading_start_time", started_ms / 1000);
        line(text, "loading_total_bytes", total);
        line(text, "loading_rdb_used_mem", 0);
        line(text, "loading_loaded_bytes", loaded);
        let percent = if total == 0 { 0.0 } else { 100.0 * loaded as f64 / total as f64 };
        line(text, "loading_loaded_perc", format_args!("{percent:.2}"));
        let rest = total.saturating_sub(loaded);
        let eta_s = (rest * elapsed_s).checked_div(loaded).unwrap_or(1);
        line(text, "loading_eta_seconds", eta_s);
    }
}

/// The fields that Redis shows only while it has a log.
fn write_log(cx: &Cx<'_, '_>, state: &SaveState, text: &mut Vec<u8>) {
    let log = &cx.services().write_log;
    let buffered = log.buffered_bytes() as u64;
    let behind_base = log.appended().saturating_sub(state.base_offset);
    line(text, "aof_current_size", state.base_bytes + behind_base);
    line(text, "aof_base_size", state.base_bytes);
    line(text, "aof_pending_rewrite", u8::from(state.scheduled[SaveKind::Rewrite as usize]));
    line(text, "aof_buffer_length", buffered);
    line(text, "aof_pending_bio_fsync", u8::from(log.durable() < log.written()));
    line(text, "aof_delayed_fsync", log.delayed_flushes());
}

fn status(ok: bool) -> &'static str {
    if ok { "ok" } else { "err" }
}
