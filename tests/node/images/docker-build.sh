#!/usr/bin/env bash
# docker-build.sh ARGUMENT...: does the same as `docker build ARGUMENT...`, with buildah and the base images that
# build.sh has made.
set -euo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# These volumes bring the toolchain into the stand-in for Rust's image.
volumes=(--volume "$(rustc --print sysroot):/usr/local/rustup:ro")
for path in /usr/bin /usr/lib /usr/lib64 /usr/include /usr/share /etc/ssl/certs /etc/alternatives; do
  [ -d "$path" ] && volumes+=(--volume "$path:$path:ro")
done
buildah bud --isolation chroot --pull=false --quiet --layers "${volumes[@]}" "$@" > "$log" 2>&1 \
  || { cat "$log" >&2; exit 1; }
