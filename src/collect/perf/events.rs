//! The counters by node_exporter's names for them.

/// A group of profilers, as the place of its events in the list of groups.
pub const HARDWARE: usize = 0;
pub const SOFTWARE: usize = 1;
pub const CACHE: usize = 2;

pub(super) const GROUPS: [&[Event]; 3] = [&HARDWARE_EVENTS, &SOFTWARE_EVENTS, &CACHE_EVENTS];

/// A counter.
#[derive(Debug)]
pub(super) struct Event {
    /// The profiler's name in the configuration.
    pub name: &'static str,
    /// After `node_perf_`.
    pub metric: &'static str,
    pub help: &'static str,
    /// `type` and `config` of perf_event_open(2).
    pub kind: u32,
    pub config: u64,
}

const fn event(kind: u32, config: u64, name: &'static str, metric: &'static str, help: &'static str) -> Event {
    Event { name, metric, help, kind, config }
}

/// `PERF_TYPE_HARDWARE`, and its `PERF_COUNT_HW_*`.
const HARDWARE_EVENTS: [Event; 9] = [
    event(0, 0, "CpuCycles", "cpucycles_total", "Number of CPU cycles (frequency scaled)"),
    event(0, 1, "CpuInstr", "instructions_total", "Number of CPU instructions"),
    event(0, 4, "BranchInstr", "branch_instructions_total", "Number of CPU branch instructions"),
    event(0, 5, "BranchMisses", "branch_misses_total", "Number of CPU branch misses"),
    event(0, 2, "CacheRef", "cache_refs_total", "Number of cache references (non frequency scaled)"),
    event(0, 3, "CacheMisses", "cache_misses_total", "Number of cache misses"),
    event(0, 9, "RefCpuCycles", "ref_cpucycles_total", "Number of CPU cycles"),
    event(0, 8, "StalledCyclesBackend", "stalled_cycles_backend_total", "Number of stalled backend CPU cycles"),
    event(0, 7, "StalledCyclesFrontend", "stalled_cycles_frontend_total", "Number of stalled frontend CPU cycles"),
];

/// `PERF_TYPE_SOFTWARE`, and its `PERF_COUNT_SW_*`.
const SOFTWARE_EVENTS: [Event; 5] = [
    event(1, 2, "PageFault", "page_faults_total", "Number of page faults"),
    event(1, 3, "ContextSwitch", "context_switches_total", "Number of context switches"),
    event(1, 4, "CpuMigration", "cpu_migrations_total", "Number of CPU process migrations"),
    event(1, 5, "MinorFault", "minor_faults_total", "Number of minor page faults"),
    event(1, 6, "MajorFault", "major_faults_total", "Number of major page faults"),
];

const L1_DATA: u64 = 0;
const L1_INSTRUCTIONS: u64 = 1;
const LAST_LEVEL: u64 = 2;
const DATA_TLB: u64 = 3;
const INSTRUCTION_TLB: u64 = 4;
const BRANCHES: u64 = 5;

const READ: u64 = 0;
const WRITE: u64 = 1;

/// What is called a hit is any access.
const HIT: u64 = 0;
const MISS: u64 = 1;

/// `PERF_TYPE_HW_CACHE`.
const fn cache(
    (cache, operation, result): (u64, u64, u64),
    name: &'static str,
    metric: &'static str,
    help: &'static str,
) -> Event {
    event(3, cache | operation << 8 | result << 16, name, metric, help)
}

const CACHE_EVENTS: [Event; 16] = [
    cache((L1_DATA, READ, HIT), "L1DataReadHit", "cache_l1d_read_hits_total", "Number L1 data cache read hits"),
    cache((L1_DATA, READ, MISS), "L1DataReadMiss", "cache_l1d_read_misses_total", "Number L1 data cache read misses"),
    cache((L1_DATA, WRITE, HIT), "L1DataWriteHit", "cache_l1d_write_hits_total", "Number L1 data cache write hits"),
    cache(
        (L1_INSTRUCTIONS, READ, MISS),
        "L1InstrReadMiss",
        "cache_l1_instr_read_misses_total",
        "Number instruction L1 instruction read misses",
    ),
    cache(
        (INSTRUCTION_TLB, READ, HIT),
        "InstrTLBReadHit",
        "cache_tlb_instr_read_hits_total",
        "Number instruction TLB read hits",
    ),
    cache(
        (INSTRUCTION_TLB, READ, MISS),
        "InstrTLBReadMiss",
        "cache_tlb_instr_read_misses_total",
        "Number instruction TLB read misses",
    ),
    cache((DATA_TLB, READ, HIT), "DataTLBReadHit", "cache_tlb_data_read_hits_total", "Number of data TLB read hits"),
    cache(
        (DATA_TLB, READ, MISS),
        "DataTLBReadMiss",
        "cache_tlb_data_read_misses_total",
        "Number of data TLB read misses",
    ),
    cache(
        (DATA_TLB, WRITE, HIT),
        "DataTLBWriteHit",
        "cache_tlb_data_write_hits_total",
        "Number of data TLB write hits",
    ),
    cache(
        (DATA_TLB, WRITE, MISS),
        "DataTLBWriteMiss",
        "cache_tlb_data_write_misses_total",
        "Number of data TLB write misses",
    ),
    cache((LAST_LEVEL, READ, HIT), "LLReadHit", "cache_ll_read_hits_total", "Number last level read hits"),
    cache((LAST_LEVEL, READ, MISS), "LLReadMiss", "cache_ll_read_misses_total", "Number last level read misses"),
    cache((LAST_LEVEL, WRITE, HIT), "LLWriteHit", "cache_ll_write_hits_total", "Number last level write hits"),
    cache((LAST_LEVEL, WRITE, MISS), "LLWriteMiss", "cache_ll_write_misses_total", "Number last level write misses"),
    cache((BRANCHES, READ, HIT), "BPUReadHit", "cache_bpu_read_hits_total", "Number BPU read hits"),
    cache((BRANCHES, READ, MISS), "BPUReadMiss", "cache_bpu_read_misses_total", "Number BPU read misses"),
];
