# shellcheck shell=bash
# ./dev fresh: the README's two commands on new systems that have nothing but git. Read by dev, whose functions it uses.

fresh() {
  local keep=false suite suites=() lines=() commands=('./dev demo' './dev test') result=0
  while [ $# -gt 0 ]; do
    case $1 in
      --keep) keep=true ;;
      --demo) commands=('./dev demo') ;;
      -*) die "fresh has no option $1: --keep, --demo and names of suites" ;;
      *) suites+=("$1") ;;
    esac
    shift
  done
  [ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie noble)
  [ "$(id -u)" = 0 ] || die "fresh makes file systems of its own and needs root: sudo ./dev fresh"
  [ -z "$(git status --porcelain)" ] || say "fresh: what is not committed is left out"
  mkdir -p build/fresh
  for suite in "${suites[@]}"; do
    local line=build/fresh/$suite.result
    rm -f "$line"
    (fresh_suite "$suite" "$keep" "${commands[@]}") || result=1
    lines+=("$(cat "$line" 2>/dev/null || echo "$suite: failed, see build/fresh/$suite.log")")
  done
  printf '%s\n' "${lines[@]}"
  [[ ${lines[*]} == *' passed in '* ]] || result=1
  return "$result"
}

# fresh_suite SUITE KEEP COMMAND...: leaves its line in build/fresh/SUITE.result.
fresh_suite() {
  local suite=$1 keep=$2 root=$PWD/build/fresh/$1 log=build/fresh/$1.log line=build/fresh/$1.result
  local command begin outcome text="$1:" result=0
  shift 2
  fresh_remove "$root"
  if $keep; then
    say "fresh: $suite stays in $root afterwards (chroot $root)"
  else
    # shellcheck disable=SC2064  # the name as it is now
    trap "fresh_remove $(printf %q "$root")" EXIT
  fi
  say "fresh: $suite, log in $log"
  : >"$log"
  fresh_system "$suite" "$root" "$log" || { [ -e "$line" ]; return; }
  git clone --quiet --no-hardlinks . "$root/root/attune" >>"$log" 2>&1 || die "the clone failed, see $log"
  for command in "$@"; do
    begin=$SECONDS outcome=passed
    printf '\n$ %s\n' "$command" >>"$log"
    fresh_run "$root" "$command" 2>&1 | tee -a "$log" | fresh_lines "$suite" || outcome=failed result=1
    text+=" ${command#./dev } $outcome in $(fresh_minutes $((SECONDS - begin))) min,"
  done
  text=${text%,}
  command=$(grep -aE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1) || true
  echo "$text${command:+ ($command)}" >"$line"
  return "$result"
}

fresh_minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# What dev says of its steps, of the output of a suite.
fresh_lines() {
  local line
  while IFS= read -r line; do
    case $line in
      *$'\033[1m==\033[0m '*) say "$1: ${line##*$'\033[0m '}" ;;
      error:* | *' passed, '*' failed, '*) say "$1: $line" ;;
    esac
  done
}

# Removes what an earlier run left; other file systems that are mounted in it stay untouched, and so does it.
fresh_remove() {
  ! grep -qF " $1/" /proc/self/mountinfo || die "something is mounted below $1: unmount it first"
  rm -rf --one-file-system "$1"
}

# fresh_system SUITE ROOT LOG: the smallest system that has git, with this one's way to packages. A suite whose mirror
# or whose keys are out of reach is skipped, and its line says so.
fresh_system() {
  local suite=$1 root=$2 log=$3 distribution=Debian keys=debian-archive-keyring script=() mirror needs status=0
  local options=(--variant=minbase --force-check-gpg --include=git,ca-certificates)
  case $suite in
    jammy | noble)
      distribution=Ubuntu keys=ubuntu-archive-keyring
      options+=(--components=main,universe)
      [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=(/usr/share/debootstrap/scripts/gutsy)
      ;;
  esac
  mapfile -t needs < <(missing_packages "command debootstrap debootstrap
file /usr/share/keyrings/$keys.gpg ${keys/ubuntu-archive/ubuntu}")
  if [ -n "${needs[*]}" ]; then
    say "fresh: installing ${needs[*]}"
    apt_update
    install "${needs[@]}" || { fresh_skip "$suite" "${needs[*]} could not be installed"; return 1; }
  fi
  options+=("--keyring=/usr/share/keyrings/$keys.gpg")
  mirror=$(fresh_mirror "$distribution")
  # debootstrap mounts file systems; in a space of its own they end with it. It would wait for a silent host for hours.
  printf 'timeout = 20\ntries = 2\n' >build/fresh/wgetrc
  WGETRC=$PWD/build/fresh/wgetrc unshare --mount --pid --fork --kill-child \
    debootstrap "${options[@]}" "$suite" "$root" "$mirror" "${script[@]}" >>"$log" 2>&1 || status=$?
  if grep -q '^E: Failed getting release file' "$log"; then
    fresh_skip "$suite" "its mirror is not reachable${mirror:+ ($mirror)}"
    return 1
  elif [ "$status" != 0 ]; then
    cat "$root/debootstrap/debootstrap.log" >>"$log" 2>/dev/null
    tail -n 5 "$log"
    die "debootstrap could not make $suite, see $log"
  fi
  fresh_packages "$root"
}

fresh_skip() { # fresh_skip SUITE REASON
  echo "$1: skipped, $2" >"build/fresh/$1.result"
}

# The mirror of Debian or Ubuntu: what the environment names, or this system's; nothing: debootstrap's own choice.
fresh_mirror() {
  local named=ATTUNE_${1^^}_MIRROR
  if [ -n "${!named:-}" ]; then
    echo "${!named}"
  else
    # shellcheck disable=SC2016  # apt-get fills in the URI
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Origin: $1" "Label: $1" 2>/dev/null | head -n 1
  fi
}

# Names, certificates and apt's way to packages are the network's matter: as they are here.
fresh_packages() {
  local root=$1 certificates=/usr/local/share/ca-certificates
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  apt-config dump | grep -E '^Acquire::(https?|ftp|Check-|Retries)' >"$root/etc/apt/apt.conf.d/99host" || true
  if [ -n "$(find $certificates -name '*.crt' 2>/dev/null)" ]; then
    cp -rL $certificates/. "$root$certificates"
    chroot "$root" update-ca-certificates >/dev/null 2>&1 || die "certificates could not be added to $root"
  fi
}

# fresh_run ROOT COMMAND: in the clone, with nothing of this environment but the data and the proxies. What is mounted
# and what is started is so in a space of its own, and ends with the command, whatever happens.
fresh_run() {
  local name variables=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
  for name in http_proxy https_proxy no_proxy TERM; do
    [ -z "${!name:-}" ] || variables+=("$name=${!name}")
  done
  for name in ATTUNE_DATA ATTUNE_GOLDEN; do
    [ -z "${!name:-}" ] || variables+=("$name=/srv/$name")
  done
  export -f fresh_mounts
  # shellcheck disable=SC2016  # the inner bash fills in the words
  unshare --mount --pid --fork --kill-child bash -euc '
    fresh_mounts "$1"
    exec env -i "${@:3}" chroot "$1" bash -c "cd /root/attune && $2"' fresh "$1" "$2" "${variables[@]}" </dev/null
}

fresh_mounts() {
  local name
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  for name in ATTUNE_DATA ATTUNE_GOLDEN; do
    [ -n "${!name:-}" ] || continue
    mkdir -p "$1/srv/$name"
    mount --bind "${!name}" "$1/srv/$name"
    mount -o remount,bind,ro "$1/srv/$name"
  done
}
