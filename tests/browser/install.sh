#!/bin/bash
# Install Debian's Chromium for `make test-browser` if no Chromium is found.
set -euo pipefail

is_installed() {
  command -v "${CHROMIUM:-chromium}" >/dev/null || command -v chromium-browser google-chrome >/dev/null
}

is_installed && exit 0
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "error: Chromium is not installed: run sudo apt-get install chromium fonts-dejavu-core" >&2
  exit 1
fi
echo "tests/browser: apt-get now installs the system packages chromium and fonts-dejavu-core"
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } \
  >/dev/null
is_installed || {
  echo "error: Chromium is still missing: run sudo apt-get install chromium" >&2
  exit 1
}
