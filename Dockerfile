# Three images from one file: docker build --target gateway|auth|stream .
#
# Dependencies are compiled in a layer of their own, from the manifests alone, so a change of our
# code compiles only our code again. No cache mounts and no extra tools: any builder can do this.

ARG RUST=1.95-bookworm
ARG DEBIAN=bookworm-slim

# ── what cargo needs to see to compile dependencies: manifests, and targets with nothing in them ──
FROM docker.io/library/rust:${RUST} AS manifests
WORKDIR /src
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -name config.toml \
      ! -name lib.rs ! -name main.rs ! -path '*/benches/*.rs' ! -path '*/examples/*.rs' -delete \
 && find . -name '*.rs' -exec sh -c 'echo "fn main() { }" >"$1"' _ '{}' ';' \
 && find . -type d -empty -delete

# ── build ────────────────────────────────────────────────────────────────────────────────────────
FROM docker.io/library/rust:${RUST} AS build
# aws-lc and zlib-ng are C, built with cmake.
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The image's compiler is the one that is meant; rust-toolchain.toml would fetch another.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_INCREMENTAL=0
COPY --from=manifests /src .
RUN cargo build --locked --release -p streamgate -p auth -p stream
COPY . .
# Cargo compares times, and the sources are older than the empty targets that were just compiled.
RUN find . -path ./target -prune -o -type f -exec touch {} + \
 && cargo build --locked --release -p streamgate -p auth -p stream \
 && install -D -t /out target/release/streamgate target/release/auth target/release/stream \
 && strip /out/*

# ── what every image stands on ───────────────────────────────────────────────────────────────────
FROM docker.io/library/debian:${DEBIAN} AS runtime
# Roots of trust for key sets over https and stores over TLS.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin streamgate \
 && install -d -o 10001 -g 10001 /var/lib/streamgate
USER 10001:10001
STOPSIGNAL SIGTERM

# ── auth ─────────────────────────────────────────────────────────────────────────────────────────
FROM runtime AS auth
COPY --from=build /out/auth /usr/local/bin/auth
ENV AUTH_LISTEN=0.0.0.0:4001
EXPOSE 4001
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["auth", "healthcheck"]
ENTRYPOINT ["auth"]
CMD ["run"]

# ── stream ───────────────────────────────────────────────────────────────────────────────────────
FROM runtime AS stream
COPY --from=build /out/stream /usr/local/bin/stream
ENV STREAM_LISTEN=0.0.0.0:4002
EXPOSE 4002
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["stream", "healthcheck"]
ENTRYPOINT ["stream"]
CMD ["run"]

# ── gateway, the one that is built when no target is named ───────────────────────────────────────
FROM runtime AS gateway
COPY --from=build /out/streamgate /usr/local/bin/streamgate
COPY config/gateway.yaml /etc/streamgate/gateway.yaml
ENV STREAMGATE_LISTEN=0.0.0.0:8080 STREAMGATE_CONFIG=/etc/streamgate/gateway.yaml
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 \
  CMD ["streamgate", "healthcheck"]
ENTRYPOINT ["streamgate"]
CMD ["run"]
