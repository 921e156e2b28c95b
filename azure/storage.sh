# shellcheck shell=bash
# Say which storage account and container are meant, from the environment; sourced by the commands beside it.
#
# AZURE_STORAGE_CONTAINER, and AZURE_STORAGE_CONNECTION_STRING or, where an identity signs in, AZURE_STORAGE_ACCOUNT.

# What a connection string says of one of its parts; it goes through no command line.
part() {
    local pair
    local -a pairs
    IFS=';' read -ra pairs <<< "${AZURE_STORAGE_CONNECTION_STRING:-}"
    for pair in "${pairs[@]}"; do
        if [ "${pair%%=*}" = "$1" ]; then printf '%s' "${pair#*=}"; fi
    done
}

fail() {
    echo "$(basename "$0"): error: $1" >&2
    exit 2
}

account=$(part AccountName)
account=${account:-${AZURE_STORAGE_ACCOUNT:-}}
suffix=$(part EndpointSuffix)
suffix=${suffix:-core.windows.net}
container=${AZURE_STORAGE_CONTAINER:-}
[ -n "$account" ] || fail 'neither AZURE_STORAGE_CONNECTION_STRING nor AZURE_STORAGE_ACCOUNT names the storage account.
  az storage account show-connection-string prints the first; az storage account list names the second.'
[ -n "$container" ] || fail 'AZURE_STORAGE_CONTAINER is not set.
  az storage container list names those there are.'
