#!/usr/bin/env bash
# Copy results from the storage container to this machine, only what is new:  azure/sync.sh [FOLDER, by default logs]
#
# Signs in with AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET if they are set, else as `az login` did.
set -euo pipefail
# shellcheck source=azure/storage.sh
source "$(dirname "$0")/storage.sh"
folder=${1:-logs}
command -v azcopy >/dev/null || fail 'there is no azcopy on the PATH; azure/download.sh fetches it.'

if [ -n "${AZURE_CLIENT_SECRET:-}" ]; then
    export AZCOPY_AUTO_LOGIN_TYPE=SPN
    export AZCOPY_SPA_APPLICATION_ID=${AZURE_CLIENT_ID:?is not set} AZCOPY_TENANT_ID=${AZURE_TENANT_ID:?is not set}
    export AZCOPY_SPA_CLIENT_SECRET=$AZURE_CLIENT_SECRET
else
    export AZCOPY_AUTO_LOGIN_TYPE=${AZCOPY_AUTO_LOGIN_TYPE:-AZCLI}
fi
mkdir -p "$folder"
azcopy sync "https://$account.blob.$suffix/$container/logs" "$folder" --recursive=true --delete-destination=false
