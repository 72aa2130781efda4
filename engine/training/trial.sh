#!/usr/bin/env bash
# A trial at full size on a machine that is lent: the shipped model trained a little further in several ways at
# once, on the same rows in the same order, and then compared on all held-out text. Run from the project's root;
# calls must follow each other within 30 seconds, as for lease.sh.
#
#   trial.sh start OUT         prepare the data, start the runs in the background, wait
#   trial.sh status OUT [SECONDS]   wait that long or until all has ended; copy what is there
#
# Settings, from the environment:
#   RUNS      ways, a space between them, each being compared with those before it:
#             plain, own (the mask that the model has), own+count, own+place, tree, tree~ ("own own+count own+place")
#   TOKENS    of each (80e6)
#   RATE      highest rate (1e-3); the tables of `tree` go as far as 0.5 and want more, 2e-3
#   WAIT      seconds that `start` waits at most, from its beginning (560)
#   WORK      folder for everything, /tmp/trial
#
# Expects, at `start`, .carry/ (lent.sh), .data/p/part, the beginning of a compressed chunk, and .from/ with
# coder.gguf, whose weights all runs start from, and for `own` heads, what its --prune-heads takes.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.." || exit
work=${WORK:-/tmp/trial}
began=$SECONDS
# A later call is not told again.
read -ra runs <<<"${RUNS:-$(cat "$work/runs" 2>/dev/null || echo own own+count own+place)}"
PREPARE_FLAGS="--labels --threads 16"
export PYTHONPATH=$work/code OMP_NUM_THREADS=4
# shellcheck source=engine/training/lent.sh
. "$here/lent.sh"

flags() {
  case $1 in
    own*) printf '%s ' --structure 333333333333 --prune-heads "$work/from/heads" --window 96 --scope-window 384 ;;
    tree*) printf -- '--tree ' ;;
  esac
  case $1 in
    *+count) echo --brackets count ;;
    *+place) echo --brackets place ;;
    *~) echo --shuffled ;;
  esac
}

# all: every run at once (they share the GPU, and each compiles for a minute), then the comparison.
all() {
  local run models=()
  for run in "${runs[@]}"; do
    models+=("$work/$run/model.pt")
    # shellcheck disable=SC2046 # several flags
    python3 "$work/code/train.py" --data "$work/shards" --out "$work/$run" --minutes 25 --tokens "$TOKENS" \
      --rows 32 --from "$work/from/coder.gguf" --lr "$RATE" --warmup 40 --decay 0.8 --seed 6 \
      --vocabulary "$carry/vocabulary.json" $(flags "$run") >"$work/log.$run" 2>&1 &
  done
  wait
  python3 "$work/code/compare.py" "$work/held" "${models[@]}" --vocabulary "$carry/vocabulary.json" \
    >"$work/compare.json" 2>"$work/log.compare"
  touch "$work/ended"
}

collect() {
  local end=$((SECONDS + $2)) run
  while [ $SECONDS -lt "$end" ] && [ ! -e "$work/ended" ]; do sleep 1; done
  tail -qn 2 "$work"/log.* | cut -c1-300
  nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader
  for run in "${runs[@]}"; do cp "$work/$run/log.jsonl" "$1/$run.jsonl"; done
  [ ! -e "$work/ended" ] || { cp "$work/compare.json" "$1/"; cat "$work/compare.json"; echo "all has ended"; }
}

case ${1:-} in
start)
  take_over || exit
  mkdir -p "$work"/{shards,held}
  echo "${runs[@]}" >"$work/runs"
  cp -r .from "$work/from"
  cp -r engine/training "$work/code"
  python3 "$work/code/container.py" unpack .data/p/part --skip 0 --out "$work/raw/1.bin"
  prepare --passes 3 --seed 501 --out "$work/shards" --name c "$work/raw/1.bin"
  for fim in 0 1; do
    prepare --fim "$fim" --seed "$fim" --out "$work/held/$fim" --by-language "$work/raw/heldout.bin" >/dev/null
  done
  export TOKENS=${TOKENS:-80e6} RATE=${RATE:-1e-3} WORK=$work
  setsid nohup "$work/code/trial.sh" all >"$work/log.all" 2>&1 </dev/null &
  collect "$2" $((${WAIT:-560} - SECONDS + began))
  ;;
all)
  all
  ;;
status)
  collect "$2" "${3:-1}"
  ;;
*)
  sed -n '2,/^[^#]/{/^#/p}' "$0"
  exit 2
  ;;
esac
