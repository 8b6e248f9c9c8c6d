#!/usr/bin/env bash
# build.sh FOLDER: builds the images of the end-to-end test with buildah, as archives in FOLDER.
#
# docker-build.sh builds the project's own images. Nothing is pulled: their base images are stand-ins with the real
# names, which this script makes from this machine's toolchain and certificates.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the base image that the Dockerfile names.
base() { sed -n "s/^ARG $1=//p" "$root/Dockerfile"; }
build() { # TAG CONTEXT [ARGUMENT...]
  local tag=$1 context=$2
  shift 2
  buildah bud --isolation chroot --pull=false --quiet "$@" --tag "$tag" "$context" > "$work/log" 2>&1 \
    || { cat "$work/log" >&2; exit 1; }
}
archive() { # NAME TAG
  rm -f "$folder/$1.tar"
  buildah push --quiet "$2" "oci-archive:$folder/$1.tar:$2"
}
go_image() { # NAME TAG
  mkdir -p "$work/$1"
  (cd "$here/$1" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$work/$1/program" .)
  printf 'FROM scratch\nCOPY program /program\nUSER 65532:65532\nENTRYPOINT ["/program"]\n' > "$work/$1/Dockerfile"
  build "$2" "$work/$1"
  archive "$1" "$2"
}

# Rust on Alpine: the toolchain comes with volumes, and apk does nothing.
rust=$work/rust
mkdir -p "$rust"/{etc/ssl/certs,etc/alternatives,tmp,root,stand-in}
mkdir -p "$rust"/usr/{bin,sbin,lib,lib64,include,share,local/cargo/registry,local/rustup}
for link in bin sbin lib lib64; do ln -s "usr/$link" "$rust/$link"; done
printf '#!/bin/sh\nexit 0\n' > "$rust/stand-in/apk"
chmod +x "$rust/stand-in/apk"
cat > "$rust/Dockerfile" << 'D'
FROM scratch
COPY . /
ENV PATH=/stand-in:/usr/local/rustup/bin:/usr/bin:/bin CARGO_HOME=/usr/local/cargo \
    CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt
D
build "docker.io/library/$(base BUILD_IMAGE)" "$rust"

# distroless/static: certificates and a user.
static=$work/static
mkdir -p "$static/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$static/etc/ssl/certs/"
echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' > "$static/etc/passwd"
printf 'FROM scratch\nCOPY etc /etc\nUSER 65532\n' > "$static/Dockerfile"
build "$(base RUNTIME_IMAGE)" "$static"

go_image pause registry.k8s.io/pause:3.10
go_image consumer-go docker.io/library/consumer-go:e2e

# This machine's Python, with the libraries that it loads.
python=$work/python
mkdir -p "$python/rootfs/usr/bin" "$python/rootfs/app"
interpreter=$(readlink -f /usr/bin/python3)
version=$(basename "$interpreter")
files=("$interpreter" "/usr/lib/$version"/lib-dynload/_ssl*.so "/usr/lib/$version"/lib-dynload/_hashlib*.so)
cp "$interpreter" "$python/rootfs/usr/bin/python3"
mkdir -p "$python/rootfs/usr/lib/$version"
tar -C "/usr/lib/$version" --exclude=test --exclude=__pycache__ --exclude='config-*' --exclude=idlelib \
  --exclude=tkinter --exclude=ensurepip --exclude=lib2to3 -cf - . | tar -C "$python/rootfs/usr/lib/$version" -xf -
ldd "${files[@]}" | grep -o '/[^ :]*\.so[^ :]*' | sort -u | grep -v lib-dynload | while read -r library; do
  mkdir -p "$python/rootfs$(dirname "$library")"
  cp -L "$library" "$python/rootfs$library"
done
cp "$root/docs/consumers/python/dingtalk_token.py" "$here/consumer-python/main.py" "$python/rootfs/app/"
cat > "$python/Dockerfile" << 'D'
FROM scratch
COPY rootfs /
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/usr/bin/python3", "/app/main.py"]
D
build docker.io/library/consumer-python:e2e "$python"
archive consumer-python docker.io/library/consumer-python:e2e
