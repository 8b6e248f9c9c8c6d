# syntax=docker/dockerfile:1
# docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=$(git describe --tags) .
#
# A release fills in both images with the digests that it was built on, as NAME:TAG@sha256:…; a mirror
# goes here as well.
ARG BUILD_IMAGE=rust:1-alpine
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot
FROM ${BUILD_IMAGE} AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
# Registry and build folder stay between builds, one for each architecture.
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,id=target-${TARGETARCH} \
    case "${TARGETARCH}" in \
      amd64) target=x86_64-unknown-linux-musl ;; \
      arm64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no image is made for ${TARGETARCH}" >&2; exit 1 ;; \
    esac \
    && CARGO_TARGET_DIR=/target cargo build --release --locked --target "$target" --package dingtalk-token-operator \
    && cp "/target/$target/release/dingtalk-token-operator" /dingtalk-token-operator

# CA certificates, and a user that is not root.
FROM ${RUNTIME_IMAGE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="dingtalk-token-operator" \
      org.opencontainers.image.description="Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times" \
      org.opencontainers.image.source="https://github.com/dingtalk-token-operator/dingtalk-token-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /dingtalk-token-operator /dingtalk-token-operator
USER 65532:65532
ENTRYPOINT ["/dingtalk-token-operator"]
CMD ["run"]
