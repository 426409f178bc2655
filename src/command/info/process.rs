//! What the operating system and the allocator know about the process. Each function reads when it is called; what cannot be read
//! is 0, because INFO must answer in any case.

use tikv_jemalloc_ctl::{epoch, stats};

use crate::base::slabs;

/// Ticks a second in /proc: Linux shows 100 to every program, whatever the kernel uses itself.
const CLOCK_TICKS: f64 = 100.0;

/// Bytes of the process that are in physical memory.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    kilobytes * 1024
}

/// Bytes of memory that the machine has.
pub fn machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

/// What jemalloc and the entries' slabs say of themselves, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocatorBytes {
    /// Handed out to the program.
    pub allocated: u64,
    /// In pages that hold something.
    pub active: u64,
    /// Mapped to physical memory.
    pub resident: u64,
}

/// The allocators' own account.
pub fn allocator_bytes() -> AllocatorBytes {
    // The numbers are those of the last epoch; a failure leaves them a little old.
    let _ = epoch::advance();
    let entries = slabs::bytes();
    let sum = |general: tikv_jemalloc_ctl::Result<usize>, slabs: usize| {
        (general.unwrap_or_default() + slabs) as u64
    };
    AllocatorBytes {
        allocated: sum(stats::allocated::read(), entries.allocated),
        active: sum(stats::active::read(), entries.active),
        resident: sum(stats::resident::read(), entries.resident),
    }
}

/// `jemalloc-5.3.0`.
pub fn allocator_name() -> String {
    let version = tikv_jemalloc_ctl::version::read().unwrap_or_default();
    format!("jemalloc-{}", version.split('-').next().unwrap_or_default())
}

/// Processor time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuSeconds {
    pub system: f64,
    pub user: f64,
    pub children_system: f64,
    pub children_user: f64,
}

/// Of the whole process.
pub fn process_cpu() -> CpuSeconds {
    cpu_of(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default())
}

/// Of the main thread.
pub fn main_thread_cpu() -> CpuSeconds {
    let path = format!("/proc/self/task/{}/stat", std::process::id());
    cpu_of(&std::fs::read_to_string(path).unwrap_or_default())
}

/// Reads the fields utime, stime, cutime and cstime (proc(5)). The program's name before them may hold spaces and parentheses.
fn cpu_of(stat: &str) -> CpuSeconds {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().unwrap_or_default());
    let mut seconds = || ticks.next().unwrap_or_default() as f64 / CLOCK_TICKS;
    let (user, system, children_user, children_system) = (seconds(), seconds(), seconds(), seconds());
    CpuSeconds { system, user, children_system, children_user }
}

/// `Linux 6.1.0 x86_64`.
pub fn system_name() -> String {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_program_name() {
        let cpu = cpu_of("1 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 3 4 20 0");
        assert_eq!((cpu.user, cpu.system, cpu.children_user, cpu.children_system), (2.5, 0.5, 0.03, 0.04));
        assert_eq!(cpu_of("").user, 0.0);
    }

    #[test]
    fn this_process_is_resident_on_a_machine_with_more_memory() {
        assert!(resident_bytes() > 0 && machine_bytes() > resident_bytes());
        assert!(system_name().starts_with("Linux "));
    }
}
