#!/bin/sh
# Makes sure that a Chromium is there for the tests of the saliency map: installs Debian's where it may.
set -eu
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # A browser that cannot be fetched must not stop the other tests; where CI is set, its absence fails them.
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium && exit 0
fi
echo "no Chromium found; the tests in a browser are skipped (install one: apt-get install chromium)" >&2
