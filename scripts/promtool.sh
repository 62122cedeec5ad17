#!/usr/bin/env bash
# Checks deploy/alerts.yml and its tests by promtool: the system's, or that of Debian's package prometheus, which is unpacked and not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

promtool=$(command -v promtool || echo .promtool/usr/bin/promtool)
if [ ! -x "$promtool" ]; then
  mkdir -p .promtool
  (cd .promtool && apt-get download prometheus && dpkg -x prometheus_*.deb .)
fi
"$promtool" check rules deploy/alerts.yml
"$promtool" test rules deploy/alerts.test.yml
