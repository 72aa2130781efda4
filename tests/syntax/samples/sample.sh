#!/bin/bash
set -e
source ./lib.sh

name=${1#prefix}
count=${#name}

usage() {
  cat <<EOF
if this were code { then
done
EOF
}

main() {
  local x="a { $(echo "b }")"
  if [ -z "$x" ]; then
    echo done
  elif [ -n "$y" ]; then
    echo fi
  else
    usage
  fi
  for f in a b; do
    echo "$f" # don't {
  done
  while read -r line
  do
    echo '}'
  done < input
  case "$x" in
    a|b)
      echo one
      ;;
    *) echo two ;;
  esac
  { echo a; echo b; }
  if true; then echo one line; fi
}

main "$@"
