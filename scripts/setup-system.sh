#!/usr/bin/env bash
# Installs the Debian packages that climlink needs: with apt-get as root, else it prints the one
# line to run.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t packages < scripts/system-packages.txt
if ! command -v dpkg-query >/dev/null; then
  echo "setup: not a Debian system; please make sure the" \
    "equivalents of these are installed: ${packages[*]}"
  exit 0
fi
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' \
    || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "setup: these system packages are missing; install them, then run make again:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
