//! The bare Pingora proxy with glibc's allocator: what every gateway on Pingora is measured by.

fn main() {
    floor::run();
}
