#!/usr/bin/env bash
# Fetch azcopy, which azure/sync.sh copies with:  azure/download.sh [FOLDER, by default ~/.local/bin]
set -euo pipefail
folder=${1:-$HOME/.local/bin}
url=${AZCOPY_URL:-https://aka.ms/downloadazcopy-v10-linux}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
curl --fail --location --silent --show-error --retry 3 --output "$scratch/azcopy.tar.gz" "$url"
tar -xzf "$scratch/azcopy.tar.gz" -C "$scratch"
found=$(find "$scratch" -type f -name azcopy -print -quit)
if [ -z "$found" ]; then
    echo "download.sh: error: $url holds no azcopy; name another address: AZCOPY_URL=… azure/download.sh" >&2
    exit 2
fi
mkdir -p "$folder"
install -m 755 "$found" "$folder/.azcopy.partial"
mv "$folder/.azcopy.partial" "$folder/azcopy"
echo "azcopy is in $folder$(command -v azcopy >/dev/null || echo ', which your PATH lacks')"
