#!/usr/bin/env bash
# docker-build.sh ARGUMENT...: what `docker build ARGUMENT...` does, with buildah and the base images
# that build.sh has made.
set -euo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The toolchain comes with volumes: with these the stand-in for Rust's image can build.
volumes=(--volume "$(rustc --print sysroot):/usr/local/rustup:ro")
for path in /usr/bin /usr/lib /usr/lib64 /usr/include /usr/share /etc/ssl/certs /etc/alternatives; do
  [ -d "$path" ] && volumes+=(--volume "$path:$path:ro")
done
buildah bud --isolation chroot --pull=false --quiet --layers "${volumes[@]}" "$@" > "$log" 2>&1 \
  || { cat "$log" >&2; exit 1; }
