#!/usr/bin/env bash
# The structure experiment on a machine that is lent for half an hour, in stages. Run from the project's
# root; calls must follow each other within 30 seconds, as for lease.sh.
#
#   experiment.sh start OUT      prepare the data, self-test, start the runs in the background, wait
#   experiment.sh more OUT SECONDS QUEUE…   after that: further queues (lists of runs), one a process
#   experiment.sh status OUT [SECONDS]   wait that long or until the runs end; copy what is there
#   experiment.sh models OUT NAME…       exported files of runs, such as hybrid-own-1 (4 at a time)
#
# Settings, from the environment:
#   QUEUES    lists of runs, a space between them, one a process; otherwise all 39 runs in four
#   MINUTES   of training, from the start of the runs (14)
#   WAIT      seconds that `start` waits at most, from its beginning (560)
#   GPUS      the GPUs to use, one queue after the other on each ("0")
#   RAW       a container that is on the machine already, to train on, such as lease.sh's /tmp/train/raw/1.bin
#   WORK      folder for everything, /tmp/experiment
#
# Expects, at `start`, .carry/ (lent.sh) and, without RAW, .data/e/chunk.xz.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
work=${WORK:-/tmp/experiment}
here=$PWD/engine/training
began=$SECONDS
PREPARE_FLAGS="--labels --threads 16"
export PYTHONPATH=$here OMP_NUM_THREADS=4
# shellcheck source=engine/training/lent.sh
. "$here/lent.sh"
export TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton
mkdir -p "$work"/{raw,shards,held,data,out}

# The queues, one a process; what matters most comes first in each.
queues=(
  "plain:1,hybrid-own:1,hybrid-own~:1,plain:2,hybrid-own:2,hybrid-own~:2,plain:3,hybrid-own:3,hybrid-own~:3,hybrid-window:1,hybrid-window:2,hybrid-window:3,hybrid-own2:1,hybrid-own2:2,hybrid-own2:3"
  "prune:1,prune~:1,hybrid-prune:1,hybrid-prune~:1,prune:2,prune~:2,hybrid-prune:2,hybrid-prune~:2,prune:3,prune~:3,hybrid-prune:3,hybrid-prune~:3"
  "emphasis:1,emphasis~:1,emphasis:2,emphasis~:2,emphasis:3,emphasis~:3"
  "tree:1,tree~:1,tree:2,tree~:2,tree:3,tree~:3"
)

read -ra gpus <<<"${GPUS:-0}"
[ -z "${QUEUES:-}" ] || read -ra queues <<<"$QUEUES"

# queue NUMBER LOG DEADLINE RUNS: a process that trains them one after the other.
queue() {
  CUDA_VISIBLE_DEVICES=${gpus[$1 % ${#gpus[@]}]} setsid nohup python3 "$here/experiment.py" run "$work/data" \
    "$work/out" --runs "$4" --vocabulary "$carry"/vocabulary.json --deadline "$3" >"$2" 2>&1 </dev/null &
  echo $! >>"$work/pids"
}
alive() {
  local pid
  for pid in $(cat "$work"/pids 2>/dev/null); do kill -0 "$pid" 2>/dev/null && return 0; done
  return 1
}

# wait_for SECONDS: until the runs have ended.
wait_for() {
  local end=$((SECONDS + $1))
  while [ $SECONDS -lt $end ] && alive; do sleep 1; done
}

collect() {
  cp "$work"/out/{results,failures}.jsonl "$1/" 2>/dev/null
  (cd "$work" && tar -czf "$1/logs.tar.gz" --exclude='*.pt' --exclude='*.gguf' out log.*)
  tail -qn 3 "$work"/log.*
  [ -s "$work/out/failures.jsonl" ] && tail -c 3000 "$work/out/failures.jsonl"
  cut -c1-60 "$work"/out/results.jsonl | sort
  nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader
  if alive; then echo "runs are going on"; else echo "runs have ended"; fi
}

case ${1:-} in
start)
  out=$2
  take_over || exit
  if [ -n "${RAW:-}" ]; then ln -sf "$RAW" "$work/raw/e.bin"; else unpack .data/e/chunk.xz "$work/raw/e.bin"; fi
  prepare --fim 0 --out "$work/held/plain" --by-language "$work/raw/heldout.bin" >"$work/log.prepare" || exit 1
  for seed in 1 2; do
    prepare --fim 1 --seed $seed --out "$work/held/hole$seed" --by-language "$work/raw/heldout.bin" \
      >>"$work/log.prepare" || exit 1
  done
  python3 "$here/rows.py" "$work/held" "$work/data/heldout" --heldout || exit 1
  timeout 60 python3 "$here/experiment.py" selftest "$work/data" >"$work/log.selftest" 2>&1 &
  selftest=$!
  prepare --passes 2 --out "$work/shards" --name e "$work/raw/e.bin" | tee -a "$work/log.prepare"
  python3 "$here/rows.py" "$work/shards" "$work/data/train" --rows 20480 || exit 1
  wait $selftest
  echo "self-test: $? (0 is good)"
  cat "$work/log.selftest"
  deadline=$(($(date +%s) + ${MINUTES:-14} * 60))
  for i in "${!queues[@]}"; do
    queue "$i" "$work/log.$i" $deadline "${queues[$i]}"
  done
  echo "runs began after $((SECONDS - began)) s"
  wait_for $((${WAIT:-560} - SECONDS + began))
  collect "$out"
  ;;
more)
  out=$2
  deadline=$(($(date +%s) + $3))
  wait=$3
  shift 3
  for runs in "$@"; do
    number=$(wc -l <"$work/pids")
    queue "$number" "$work/log.more.$number" $deadline "$runs"
  done
  wait_for "$wait"
  collect "$out"
  ;;
status)
  wait_for "${3:-1}"
  collect "$2"
  ;;
models)
  out=$2
  shift 2
  for name in "$@"; do
    python3 "$here/export.py" run "$work/out/$name.pt" "$carry"/vocabulary.json "$out/$name.gguf" --type Q8_0
  done
  ls -l "$out"
  ;;
*)
  sed -n '2,/^[^#]/{/^#/p}' "$0"
  exit 2
  ;;
esac
