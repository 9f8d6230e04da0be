//! The settings of Pingora that a gateway must choose, each beside the default.

/// Settings that are compared with each other in the same rounds.
#[derive(Debug)]
pub struct Family {
    /// How the command line and the report name it.
    pub name: &'static str,
    /// Threads of every variant.
    pub threads: usize,
    /// What is asked, one contest each.
    pub paths: &'static [&'static str],
    /// A new connection for every request.
    pub reconnect: bool,
    /// Header lines of the requests.
    pub headers: &'static str,
    /// The first is what the others are compared with.
    pub variants: &'static [Variant],
}

/// One proxy with one choice of settings.
#[derive(Debug)]
pub struct Variant {
    /// How the report names it.
    pub name: &'static str,
    /// Which program: the allocator is linked in.
    pub program: &'static str,
    /// The floor's flags.
    pub flags: &'static [&'static str],
}

const fn variant(
    name: &'static str,
    program: &'static str,
    flags: &'static [&'static str],
) -> Variant {
    Variant { name, program, flags }
}

const DEFAULT: Variant = variant("default", "floor", &[]);

const ALLOCATORS: &[Variant] = &[
    DEFAULT,
    variant("again", "floor", &[]),
    variant("mimalloc", "floor-mimalloc", &[]),
    variant("jemalloc", "floor-jemalloc", &[]),
    variant("no-steal", "floor", &["--no-steal"]),
    variant("mimalloc no-steal", "floor-mimalloc", &["--no-steal"]),
    variant("jemalloc no-steal", "floor-jemalloc", &["--no-steal"]),
];

const READ_BUFFERS: &[Variant] = &[
    variant("64k (default)", "floor-mimalloc", &["--no-steal"]),
    variant("16k", "floor-mimalloc", &["--no-steal", "--read-buffer", "16384"]),
    variant("8k", "floor-mimalloc", &["--no-steal", "--read-buffer", "8192"]),
    variant("4k", "floor-mimalloc", &["--no-steal", "--read-buffer", "4096"]),
    variant("2k", "floor-mimalloc", &["--no-steal", "--read-buffer", "2048"]),
    variant("0", "floor-mimalloc", &["--no-steal", "--read-buffer", "0"]),
];

const WRITE_BUFFERS: &[Variant] = &[
    variant("1460 (default)", "floor-mimalloc", &["--no-steal", "--read-buffer", "0"]),
    variant("0", "floor-mimalloc", &["--no-steal", "--read-buffer", "0", "--write-buffer", "0"]),
    variant(
        "4k",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--write-buffer", "4096"],
    ),
    variant(
        "16k",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--write-buffer", "16384"],
    ),
];

const HABITS: &[Variant] = &[
    variant("mimalloc no-steal read 0", "floor-mimalloc", &["--no-steal", "--read-buffer", "0"]),
    variant(
        "+ pool 1024",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--pool", "1024"],
    ),
    variant("+ pool 16", "floor-mimalloc", &["--no-steal", "--read-buffer", "0", "--pool", "16"]),
    variant(
        "+ peer template",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--peer-template"],
    ),
    variant(
        "+ proxy tasks",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--proxy-tasks"],
    ),
];

const TIMEOUTS: &[Variant] = &[
    variant("mimalloc no-steal read 0", "floor-mimalloc", &["--no-steal", "--read-buffer", "0"]),
    variant(
        "+ keepalive 60 s",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--keepalive"],
    ),
    variant(
        "+ client write",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--write-timeout"],
    ),
    variant(
        "+ peer connect",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--peer-timeouts", "connect"],
    ),
    variant(
        "+ peer read",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--peer-timeouts", "read"],
    ),
    variant(
        "+ peer write",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--peer-timeouts", "write"],
    ),
    variant(
        "+ peer idle",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "0", "--peer-timeouts", "idle"],
    ),
];

const FRUGAL: &[Variant] = &[
    variant("mimalloc no-steal read 0", "floor-mimalloc", &["--no-steal", "--read-buffer", "0"]),
    variant("frugal, read 0", "floor-mimalloc", &["--no-steal", "--read-buffer", "0", "--frugal"]),
    variant(
        "frugal, read 1k",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "1024", "--frugal"],
    ),
    variant(
        "frugal, read 2k",
        "floor-mimalloc",
        &["--no-steal", "--read-buffer", "2048", "--frugal"],
    ),
];

const SMALL: &[&str] = &["/64b"];
const ALL: &[&str] = &["/64b", "/64k", "/1m"];

/// All families.
pub const FAMILIES: &[Family] = &[
    family("allocator", 1, ALL, ALLOCATORS),
    family("read-buffer", 1, ALL, READ_BUFFERS),
    family("write-buffer", 1, ALL, WRITE_BUFFERS),
    family("habits", 1, ALL, HABITS),
    family("timeouts", 1, SMALL, TIMEOUTS),
    family("frugal", 1, SMALL, FRUGAL),
    family("two-threads", 2, SMALL, ALLOCATORS),
    Family {
        reconnect: true,
        headers: "Connection: close\r\n",
        ..family("reconnect", 1, SMALL, ALLOCATORS)
    },
];

const fn family(
    name: &'static str,
    threads: usize,
    paths: &'static [&'static str],
    variants: &'static [Variant],
) -> Family {
    Family { name, threads, paths, reconnect: false, headers: "", variants }
}
