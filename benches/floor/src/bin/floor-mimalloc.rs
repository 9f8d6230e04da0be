//! The bare Pingora proxy with mimalloc, to price the allocator alone.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    floor::run();
}
