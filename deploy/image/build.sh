#!/usr/bin/env bash
# Builds the container image with docker buildx: `make image`.
#
#   IMAGE=registry.example.com/bridgehead:0.1.0   name; default bridgehead:<version>
#   PUSH=1                                        to the registry of that name instead of to the engine
#   PLATFORMS=linux/amd64,linux/arm64             only with PUSH; default: this machine's
#
# The same commit gives the same image: the time is the commit's, and attestations,
# which tell when and where, are left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { echo "image: $*" >&2; }

if ! command -v docker >/dev/null; then
  say "docker is not installed; it builds the image. 'make test-deploy' checks the build steps without it."
  exit 69
fi
if ! docker buildx version >/dev/null 2>&1; then
  say "docker has no buildx, which the cache mounts of deploy/Dockerfile need: install docker-buildx-plugin."
  exit 69
fi
if ! docker info >/dev/null 2>&1; then
  say "no container engine answers (docker info fails): start it, or name one in DOCKER_HOST."
  say "'make test-deploy' checks the build steps without one."
  exit 69
fi

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
image=${IMAGE:-bridgehead:$version}
revision=unknown
epoch=0
if git rev-parse --git-dir >/dev/null 2>&1; then
  revision=$(git rev-parse HEAD)
  epoch=$(git log -1 --format=%ct)
  if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    revision=$revision-dirty
  fi
fi

output=type=docker,name=$image,rewrite-timestamp=true
if [ "${PUSH:-0}" = 1 ]; then
  output=type=image,name=$image,push=true,rewrite-timestamp=true
fi
arguments=()
if [ -n "${PLATFORMS:-}" ]; then
  arguments+=(--platform "$PLATFORMS")
fi

SOURCE_DATE_EPOCH=$epoch docker buildx build \
  --file deploy/Dockerfile \
  --build-arg "SOURCE_DATE_EPOCH=$epoch" \
  --build-arg "VERSION=$version" \
  --build-arg "REVISION=$revision" \
  --provenance=false --sbom=false \
  --output "$output" \
  "${arguments[@]}" .
say "built $image"
