"""Running things in namespaces of their own: the steps of the build, and the image.

Scripts for bash, since mounting, changing the root and the user is what its tools are for.
"""

import os
import subprocess


def contained(script, *arguments, sudo, unshare=(), **options):
    """Runs a script in mount and process namespaces of its own, as their root: with `sudo` as that
    of the machine, too, which several users need."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *unshare]
    if os.getuid() != 0:
        command = ["sudo", *command] if sudo else [*command, "--map-root-user"]
    return subprocess.run([*command, "bash", "-euc", script, "bash", *map(str, arguments)], **options)


# $1: the new root; $2: target folder; $3: cargo's and $4 rustup's home; then NAME=VALUE… -- command.
BUILD = """
new=$1 target=$2 cargo=$3 rustup=$4; shift 4
mkdir -p "$new"/{usr/local/{cargo,rustup},target,proc,dev,tmp,root}
mount -t tmpfs tmpfs "$new/tmp"
for folder in /bin /sbin /lib /lib64 /etc; do
  [ -e "$folder" ] || continue
  if [ -L "$folder" ]; then cp -P "$folder" "$new$folder"; else mkdir -p "$new$folder"; mount --rbind "$folder" "$new$folder"; fi
done
for folder in /usr/*; do
  [ -d "$folder" ] && [ "$folder" != /usr/local ] || continue
  mkdir -p "$new$folder"; mount --rbind "$folder" "$new$folder"
done
mkdir -p "$new$cargo" "$new$rustup" "$new$target"
for place in "$cargo" /usr/local/cargo; do mount --rbind "$cargo" "$new$place"; done
for place in "$rustup" /usr/local/rustup; do mount --rbind "$rustup" "$new$place"; done
for place in "$target" /target; do mount --bind "$target" "$new$place"; done
mount --rbind /dev "$new/dev"; mount -t proc proc "$new/proc"
exec env -i "$@"
"""


# $1: the root; $2: its working directory; $3: configuration; $4: uid:gid; $5: a folder for what is
# found out; $6: the health check; then NAME=VALUE… -- the command.
RUN = """
root=$1 workdir=$2 config=$3 user=$4 out=$5 health=$6; shift 6
variables=(); while [ "$1" != -- ]; do variables+=("$1"); shift; done; shift
ip link set lo up
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"
mount --bind "$config" "$root$workdir"
mount -o remount,bind,ro "$root$workdir"; mount -o remount,bind,ro "$root"
cd /
contained() {
  env -i "${variables[@]}" /usr/sbin/chroot --userspec="$user" "$root" "$@"
}
# Not through the function: the process that gets the signal must be the gateway itself.
env -i "${variables[@]}" /usr/sbin/chroot --userspec="$user" "$root" "$@" >"$out/log" 2>&1 &
gateway=$!
for try in $(seq 100); do
  if eval "contained $health" >"$out/health" 2>&1; then break; fi
  kill -0 $gateway 2>/dev/null || { cat "$out/log"; exit 1; }
  sleep 0.1
done
eval "contained $health" >"$out/health" 2>&1 && echo 0 >"$out/healthy" || echo $? >"$out/healthy"
cp /proc/$gateway/status "$out/status"
if contained /usr/local/bin/bridgehead keygen --out /tmp/key.pem >"$out/write" 2>&1; then echo written >"$out/write"; fi
kill -TERM $gateway
wait $gateway && echo 0 >"$out/exit" || echo $? >"$out/exit"
eval "contained $health" >"$out/after" 2>&1 && echo 0 >"$out/unhealthy" || echo $? >"$out/unhealthy"
"""
