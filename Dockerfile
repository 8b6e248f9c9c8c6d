# syntax=docker/dockerfile:1
FROM rust:1-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package dingtalk-token-operator \
    && cp target/release/dingtalk-token-operator /dingtalk-token-operator

FROM gcr.io/distroless/static:nonroot
LABEL org.opencontainers.image.title="dingtalk-token-operator" \
      org.opencontainers.image.description="Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /dingtalk-token-operator /dingtalk-token-operator
USER 65532:65532
ENTRYPOINT ["/dingtalk-token-operator"]
CMD ["run"]
