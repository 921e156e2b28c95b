#!/usr/bin/env bash
# Write what blobfuse2 needs to mount the storage container:  azure/make_fuse_config.sh [FILE]
#
# With a connection string the file holds the account's key, and only its owner may read it; with AZURE_STORAGE_ACCOUNT
# alone, the machine's own identity signs in (AZURE_CLIENT_ID names it, if the machine has several).
set -euo pipefail
# shellcheck source=azure/storage.sh
source "$(dirname "$0")/storage.sh"
file=${1:-$HOME/.blobfuse2/trajectory.yaml}

key=$(part AccountKey)
if [ -n "$key" ]; then
    access="mode: key
  account-key: '$key'"
else
    access="mode: msi${AZURE_CLIENT_ID:+
  appid: $AZURE_CLIENT_ID}"
fi

umask 077
mkdir -p "$(dirname "$file")"
cat > "$file.partial" << END
logging:
  type: syslog
  level: log_warning

components:
  - libfuse
  - file_cache
  - attr_cache
  - azstorage

file_cache:
  path: ${FUSE_CACHE:-$HOME/.cache/blobfuse2}
  timeout-sec: 120

attr_cache:
  timeout-sec: 120

azstorage:
  type: block
  account-name: $account
  container: $container
  endpoint: https://$account.blob.$suffix
  $access
END
mv "$file.partial" "$file"
echo "$file says how to mount $container of $account"
