# Built with Rust, run on a bare Debian: the image holds the binary, and certificates are in it.
FROM rust:1.95.0-slim-trixie AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin rowmetry \
    && install -d -o 65532 -g 65532 /state

FROM debian:trixie-20260803-slim
COPY --from=build /build/target/release/rowmetry /usr/local/bin/rowmetry
COPY --from=build --chown=65532:65532 /state /var/lib/rowmetry
# 65532 is nobody in particular: no login, no home, no file but the state.
USER 65532:65532
ENV ROWMETRY_LISTEN=0.0.0.0:9469 \
    ROWMETRY_STATE_DIR=/var/lib/rowmetry
VOLUME /var/lib/rowmetry
EXPOSE 9469
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["rowmetry", "healthcheck"]
ENTRYPOINT ["rowmetry"]
