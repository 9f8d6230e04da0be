//! The bare Pingora proxy with jemalloc, to price the allocator alone.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    floor::run();
}
