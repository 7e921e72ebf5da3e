# shellcheck shell=bash
# ./dev format and ./dev lint, and what ./dev test asks of them. Read by dev, whose functions it uses.

sources() {
  find attune.h framework autograd layers datasets examples tests \
    \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) | sort
}

format() {
  say "format: clang-format over $(sources | wc -l) files"
  sources | xargs clang-format -i
}

version_of() { "$1" --version | sed -n 's/.*version \([0-9]*\)\..*/\1/p' | head -n 1; }

# What clang-format 14 says counts; other versions differ in details.
check_format() {
  if sources | xargs clang-format --dry-run -Werror >build/format.log 2>&1; then
    count passed "format"
  elif [ "$(version_of clang-format)" = 14 ]; then
    grep ': error: ' build/format.log | head -n 10
    count failed "format: ./dev format mends it (all places: build/format.log)"
  else
    count skipped "format: clang-format $(version_of clang-format) sees it differently; version 14 decides"
  fi
}

# Checks one file, a folder's files as one, and remembers, by content, that nothing was found in it.
lint_file() {
  local file=$1 key output
  key=build/lint/found-nothing/$( (echo "$LINT_STATE"; cat "$file"
    sed -n 's/^#include "\(.*\.cpp\)"$/\1/p' "$file" | xargs -r cat) | sha256sum | cut -d ' ' -f 1)
  # One instruction set is enough to read; g++ has warnings that clang does not know.
  if [ -e "$key" ]; then
    echo "checked $file"
  elif output=$(clang-tidy -p build/lint --quiet --warnings-as-errors='*' --extra-arg=-DHWY_COMPILE_ONLY_STATIC \
    --extra-arg=-Wno-unknown-warning-option "$file" 2>&1); then
    touch "$key"
    echo "checked $file"
  else
    printf '%s\nchecked %s\n' "$output" "$file"
    return 1
  fi
}

# Everything into build/lint.log; the first findings, each once, and where the log lies, to whoever looks.
lint() {
  local files log=build/lint.configure.log
  cmake --preset lint >$log 2>&1 || { first_error $log; return 1; }
  mkdir -p build/lint/found-nothing
  # A finding may depend on any header, the checks and the compiler's flags.
  LINT_STATE=$( (clang-tidy --version; sources | grep '\.\(cu\)\?h$' | xargs cat .clang-tidy CMakeLists.txt cmake/*) | sha256sum)
  export LINT_STATE
  export -f lint_file
  # The library and the programs; tests are compiled with warnings as errors and run under sanitizers.
  mapfile -t files < <(sed -n 's/^ *"file": "\(.*\)",\?$/\1/p' build/lint/compile_commands.json | grep -v embedded)
  log=build/lint.log
  # shellcheck disable=SC2016  # the inner bash fills in the file
  printf '%s\n' "${files[@]}" | xargs -d '\n' -P "$jobs" -n 1 bash -c 'lint_file "$1"' lint |
    progress $log lint ${#files[@]} && return
  awk '/: (error|warning): / && !seen[$0]++ && ++found <= 10 { print substr($0, 1, 240) }
    END { if (found > 10) printf "... and %d more\n", found - 10; exit !found }' $log || tail -n 12 $log
  say "the whole log: $log"
  return 1
}

# Versions 14 and 19 were tried; others may see things differently.
count_lint() { # count_lint passed|failed
  local version
  version=$(version_of clang-tidy)
  case $1-$version in
    passed-* | failed-14 | failed-19) count "$1" "lint" ;;
    *) count skipped "lint: clang-tidy $version sees it differently; versions 14 and 19 decide" ;;
  esac
}
