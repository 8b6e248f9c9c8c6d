# docker build --target operator .    the operator's image; the default
# docker build --target stub .        for deploy/try: an emulation of DingTalk, and a program that reads a token
#
# For both architectures: docker buildx build --platform linux/amd64,linux/arm64
#
# A release sets both base images with their digests, as NAME:TAG@sha256:…, and VERSION. Where a registry
# is out of reach, BUILD_IMAGE and RUNTIME_IMAGE can name a mirror's images, ALPINE_MIRROR a mirror of
# https://dl-cdn.alpinelinux.org/alpine, and CRATES_MIRROR one of crates.io, as sparse+https://…/
# (Cargo.lock has the checksum of each crate).
# The Rust of rust-toolchain.toml; a test compares them.
ARG BUILD_IMAGE=rust:1.95.0-alpine
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILD_IMAGE} AS source
ARG ALPINE_MIRROR
RUN if [ -n "${ALPINE_MIRROR}" ]; then \
      sed -i "s|https*://dl-cdn.alpinelinux.org/alpine|${ALPINE_MIRROR}|" /etc/apk/repositories; \
    fi \
    && apk add --no-cache musl-dev
ARG CRATES_MIRROR
ARG TARGETARCH
# BuildKit sets TARGETARCH; other builders may not.
RUN case "${TARGETARCH:-$(uname -m)}" in \
      amd64 | x86_64) target=x86_64-unknown-linux-musl ;; \
      arm64 | aarch64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no image is made for ${TARGETARCH:-$(uname -m)}" >&2; exit 1 ;; \
    esac \
    && printf '[build]\ntarget = "%s"\ntarget-dir = "/target"\n' "$target" > "${CARGO_HOME}/config.toml" \
    && if [ -n "${CRATES_MIRROR}" ]; then \
      printf '[source.crates-io]\nreplace-with = "mirror"\n[source.mirror]\nregistry = "%s"\n' "${CRATES_MIRROR}" \
        >> "${CARGO_HOME}/config.toml"; \
    fi
WORKDIR /src
COPY . .

# Registry and build folder stay between builds, one for each architecture. Several clones may share them:
# cargo compares only times, so without `touch` it could take what another clone has built.
FROM source AS build-stub
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,id=target-${TARGETARCH},sharing=locked \
    find src tests -type f -exec touch {} + \
    && cargo build --release --locked --package dingtalk-stub \
    && cp /target/*-musl/release/dingtalk-stub /target/*-musl/release/token-reader /

FROM source AS build-operator
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,id=target-${TARGETARCH},sharing=locked \
    find src tests -type f -exec touch {} + \
    && cargo build --release --locked --package dingtalk-token-operator \
    && cp /target/*-musl/release/dingtalk-token-operator /

FROM ${RUNTIME_IMAGE} AS stub
ARG VERSION=dev
LABEL org.opencontainers.image.title="dingtalk-stub" \
      org.opencontainers.image.description="For trying dingtalk-token-operator only: an emulation of DingTalk" \
      org.opencontainers.image.source="https://github.com/dingtalk-token-operator/dingtalk-token-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build-stub /dingtalk-stub /token-reader /
USER 65532:65532
ENTRYPOINT ["/dingtalk-stub"]

# CA certificates, and a user that is not root.
FROM ${RUNTIME_IMAGE} AS operator
ARG VERSION=dev
LABEL org.opencontainers.image.title="dingtalk-token-operator" \
      org.opencontainers.image.description="Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times" \
      org.opencontainers.image.source="https://github.com/dingtalk-token-operator/dingtalk-token-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build-operator /dingtalk-token-operator /dingtalk-token-operator
USER 65532:65532
ENTRYPOINT ["/dingtalk-token-operator"]
CMD ["run"]
