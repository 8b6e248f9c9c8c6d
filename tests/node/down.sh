#!/usr/bin/env bash
# down.sh FOLDER: removes what a node that has ended leaves behind.
set -euo pipefail
name=$(basename "$1")
for hierarchy in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
  [ -d "$hierarchy$name" ] || continue
  find "$hierarchy$name" -depth -type d -exec rmdir {} \; 2> /dev/null || true
done
rm -rf "$1"
# Where the node mounted folders of its own, if nobody else uses them.
rmdir /var/lib/kubelet /var/log/pods /var/log/containers 2> /dev/null || true
