#!/usr/bin/env bash
# Mount the storage container:  azure/mount.sh [FOLDER, by default ~/azure_mount]      (umount: blobfuse2 unmount FOLDER)
set -euo pipefail
folder=${1:-$HOME/azure_mount}
file=${FUSE_CONFIG:-$HOME/.blobfuse2/trajectory.yaml}
if ! command -v blobfuse2 >/dev/null; then
    echo 'mount.sh: error: there is no blobfuse2 on the PATH; Microsoft'\''s package repository has it for apt.' >&2
    exit 2
fi
if mountpoint -q "$folder"; then
    echo "$folder is mounted already"
    exit
fi
"$(dirname "$0")/make_fuse_config.sh" "$file"
mkdir -p "$folder"
blobfuse2 mount "$folder" --config-file="$file"
echo "The container is mounted at $folder"
