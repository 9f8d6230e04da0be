//! What the parts of one request cost, each by itself: `cargo bench --bench micro`, about a minute.
//! Not what a request costs in all; that is `benches/load`.

#[path = "micro/chain.rs"]
mod chain;
#[path = "micro/lease.rs"]
mod lease;
#[path = "micro/fixture.rs"]
mod fixture;
#[path = "micro/route.rs"]
mod route;
#[path = "micro/stream.rs"]
mod stream;
#[path = "micro/token.rs"]
mod token;

/// What ships: the allocator is a part of every figure.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    streamgate::fetch::install_crypto_provider();
    divan::main();
}
