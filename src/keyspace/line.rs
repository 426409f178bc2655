//! Cache lines: asking the processor for them before they are needed.

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Asks the processor to bring the cache line at `address` closer; any address is allowed.
#[inline]
pub fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and changes nothing but the cache.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch(std::ptr::without_provenance::<i8>(address), _MM_HINT_T0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// [`prefetch`] of a line that this thread is going to write: it comes without the copies that other processors have of it, which the
/// write would have to wait for. Processors without the instruction skip it.
#[inline]
pub fn prefetch_to_write(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
