//! What the server records about itself: slow log, latency monitor, command statistics.
