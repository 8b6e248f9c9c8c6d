#!/usr/bin/env bash
# down.sh FOLDER: removes what a node leaves behind after its end.
set -euo pipefail
name=$(basename "$1")
for hierarchy in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
  [ -d "$hierarchy$name" ] || continue
  find "$hierarchy$name" -depth -type d -exec rmdir {} \; 2> /dev/null || true
done
rm -rf "$1"
# The mount points of the node's folders, if nobody else uses them.
rmdir /var/lib/kubelet /var/log/pods /var/log/containers 2> /dev/null || true
