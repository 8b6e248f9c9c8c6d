#!/usr/bin/env bash
# up.sh FOLDER: runs a whole one-node Kubernetes in its own namespaces (net, mount, pid, uts), which ends with this
# process. It is up when FOLDER/ready exists, after about 11 s.
#
# Needs root, runc, nftables and conntrack. PROGRAMS is a folder with the node's programs (bin/, cni/) and the images
# to import (images/*.tar). Nothing in the node can reach the outside, since there is no default route.
set -euo pipefail
FOLDER=$(mkdir -p "$1" && cd "$1" && pwd)
HERE=$(cd "$(dirname "$0")" && pwd)
PROGRAMS=$(cd "$PROGRAMS" && pwd)
mkdir -p "$FOLDER"/{log,pki,kubelet,containerd,podlogs,containerlogs,etcd,conf,cgroup}
mkdir -p /var/lib/kubelet /var/log/pods /var/log/containers /usr/libexec/kubernetes

# The node's own cgroup, in every hierarchy (v1) or in the unified one (v2).
CGROUP=$(basename "$FOLDER")
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$CGROUP"
else
  for hierarchy in /sys/fs/cgroup/*/; do
    [ "$(basename "$hierarchy")" = unified ] || mkdir -p "$hierarchy$CGROUP"
  done
  cpuset=/sys/fs/cgroup/cpuset
  if [ -e $cpuset/cpuset.cpus ] && [ -z "$(cat "$cpuset/$CGROUP/cpuset.cpus")" ]; then
    cat $cpuset/cpuset.cpus > "$cpuset/$CGROUP/cpuset.cpus"
    cat $cpuset/cpuset.mems > "$cpuset/$CGROUP/cpuset.mems"
  fi
fi

export FOLDER PROGRAMS CGROUP
exec unshare --net --mount --uts --pid --fork --kill-child "$HERE/inside.sh" \
  > "$FOLDER/log/inside.log" 2>&1 < /dev/null
