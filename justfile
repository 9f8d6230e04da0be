# The verbs of this repository. `just` alone lists them; `scripts/test` needs none of this.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the verbs.
default:
    @just --list --unsorted

# Run what a change must pass: format, house rules, lints, tests, documentation.
check:
    scripts/test

# Run the tests of everything, or those whose name contains NAME.
test NAME="":
    cargo test --locked --workspace {{ NAME }}

# Run the house rules alone; takes about a second.
tidy:
    cargo test --locked --package tidy

# Format the code, then lint it as CI does.
lint:
    cargo fmt --all
    cargo clippy --locked --workspace --all-targets -- -D warnings

# Check licences, banned crates and sources (needs cargo-deny).
deny:
    cargo deny --locked --workspace check licenses bans sources

# Build and open the documentation of our own crates.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --open

# Measure the parts; the method and the numbers are in benches/README.md.
bench NAME="":
    cargo bench --locked --package streamgate {{ NAME }}

# Put the gateway beside a bare Pingora proxy, in one run.
load *ARGS:
    cargo run --locked --release --package load -- {{ ARGS }}

# Take Redis away from two gateways under load, in every way; docs/failure.md says what is promised.
drill *ARGS:
    cargo run --locked --release --package drill -- {{ ARGS }}

# Measure what leases cost (`redis`, `node`), or simulate an event of millions (`event`).
scale *ARGS:
    cargo run --locked --release --package scale -- {{ ARGS }}

# Replay one seed of the lease simulation.
sim SEED:
    SIM_SEED={{ SEED }} cargo test --locked --package streamgate-lease --test it -- sim --nocapture

# Simulate that many seeds, optimised; the ordinary tests run five hundred. Before a release: `just soak`.
soak SEEDS="10000":
    SIM_SEEDS={{ SEEDS }} cargo test --locked --package streamgate-lease --test it \
        --config profile.dev.package.streamgate-lease.opt-level=3 -- sim --nocapture

# Change everything a thousand times under load, and the certificate 50 times; memory may not grow.
soak-reload RELOADS="1000" CERTIFICATES="50":
    SOAK_RELOADS={{ RELOADS }} SOAK_CERTIFICATES={{ CERTIFICATES }} cargo test --locked \
        --package streamgate --release --test it -- churn::everything_changes --nocapture

# Let five thousand connections come, wait and go, six times; memory may not grow.
soak-connections CONNECTIONS="5000":
    ulimit -n "$(ulimit -Hn)"; SOAK_CONNECTIONS={{ CONNECTIONS }} cargo test --locked \
        --package streamgate --release --test it -- churn::connections_come --nocapture

# Replace the program twenty times under load; one in five can't start.
soak-upgrade UPGRADES="20":
    SOAK_UPGRADES={{ UPGRADES }} cargo test --locked --package streamgate --release --test it -- \
        upgrade::no_request_fails --nocapture

# Measure what other clients notice of that many slow attackers: less than a doubled p99, or 10 ms.
attack ATTACKERS="200":
    ulimit -n "$(ulimit -Hn)"; ATTACKERS={{ ATTACKERS }} cargo test --locked --package streamgate \
        --release --test it -- attack:: --nocapture

# Hold both stores to the specification with that many random histories each.
model CASES="10000":
    MODEL_CASES={{ CASES }} cargo test --locked --package streamgate-lease --test it -- model

# Run the gateway with both upstreams from config/gateway.yaml, with a guided tour.
demo *ARGS:
    cargo run --locked --quiet --package demo -- {{ ARGS }}

# Write the documents and the schema again that are made from tables.
bless:
    cargo run --locked --quiet -- denials > docs/denials.md
    cargo run --locked --quiet -- metrics > docs/metrics.md
    cargo run --locked --quiet -- schema > config/schema.json

# Run everything in containers, with Redis; compose.yaml says what it needs.
up *ARGS:
    docker compose up --build {{ ARGS }}
