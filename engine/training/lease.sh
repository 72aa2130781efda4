#!/usr/bin/env bash
# One training run on a machine that is lent for half an hour, in stages. Run from the project's root.
# Calls must follow each other within 30 seconds, also while training runs behind them: an idle machine
# is taken back, and everything on it is lost. Then start again on the next one, with SELFTEST=0 if the
# self-test has passed before.
#
#   lease.sh split             here, once: the chunks in .data/1… cut into parts .data/pN that a call can carry
#   lease.sh start [MINUTES]   unpack part 1, prepare it, self-test, start training in the background
#   lease.sh add N…            unpack and prepare the next parts, in order; training picks them up
#   lease.sh installed         add the Python packages installed on the machine
#   lease.sh status [SECONDS]  wait that long (or until training ends), print the last lines
#   lease.sh finish OUT        wait for the end of all runs, then export each
#   lease.sh export RUN OUT    one that has ended, run or twin: its file, what quantization costs, its log, to OUT
#   lease.sh twin MINUTES      what `start` calls for AFTER=1
#   lease.sh weights OUT N     part 1 or 2 of the bfloat16 weights, in pieces
#
# Settings, from the environment:
#   SELFTEST=0       start without the self-test
#   PREPARE_FLAGS    more for cambium-prepare: --labels for a structured model
#   TRAIN_FLAGS      more for train.py: --structure 002200220022
#   HEADS            where set: so many heads of keys get the mask of the first run; heads.py finds which (a minute
#                    on its GPU, then it trains), from the model of HEADS_FROM, with HEADS_FLAGS
#   TWIN_FLAGS       where set: a second run of train.py beside the first, with these flags, on the next GPU;
#                    its results begin with twin-
#   AFTER=1          the second run begins when the first has ended, on the same GPU (say so to `export` as well)
#   GPUS             GPUs of the first run, a process each (1)
#   SEED             another number: other holes in the same files
#   PASSES, THREADS  of cambium-prepare: 2 passes with other holes, 16 threads
#   WORK             folder for everything, /tmp/train
#
# `finish` leaves six files, since a call brings back eight: each model in two pieces, the rest of it as small.tar.gz.
#
# Expects, at `start`, .carry/ (lent.sh) and
# .data/pN/part: the compressed chunks one after the other, cut where a call's limit has it. A structured
# model wants PREPARE_FLAGS=--labels.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${WORK:-/tmp/train}
here=$PWD/engine/training
export PYTHONPATH=$here
# shellcheck source=engine/training/lent.sh
. "$here/lent.sh"
mkdir -p "$work"/{raw,parts,shards,heldout,run}

# As many whole files as the parts so far hold.
add_chunk() {
  cp ".data/p$1/part" "$work/parts/$1"
  python3 "$here/container.py" unpack "$work"/parts/* --skip "$(cat "$work/skip" 2>/dev/null || echo 0)" \
    --out "$work/raw/$1.bin" >"$work/skip.new"
  mv "$work/skip.new" "$work/skip"
  prepare --out "$work/shards" --name "chunk$1" --passes "${PASSES:-2}" --threads "${THREADS:-16}" \
    --seed "$((${SEED:-0} * 100 + $1))" "$work/raw/$1.bin"
}

# train FIRST COUNT RUN FLAGS…: in the background, into $work/RUN, on COUNT GPUs from FIRST on.
train() {
  local first=$1 count=$2 run=$3 rank gpus log program=("python3" "$here/train.py")
  shift 3
  mkdir -p "$work/$run"
  [ "$run" = twin ] || [ -z "${HEADS:-}" ] || program=("$here/lease.sh" with-heads)
  gpus=$(seq -s, "$first" $((first + count - 1)))
  for ((rank = 0; rank < count; ++rank)); do
    log=$work/$run${rank/#0/}.log
    RANK=$rank WORLD_SIZE=$count MASTER_ADDR=127.0.0.1 MASTER_PORT=$((29500 + first)) NCCL_SOCKET_IFNAME=lo \
      NCCL_NVLS_ENABLE=0 CUDA_VISIBLE_DEVICES=$gpus setsid nohup "${program[@]}" --data "$work/shards" \
      --heldout "$work/heldout" --out "$work/$run" --vocabulary "$carry/vocabulary.json" "$@" >"$log" 2>&1 </dev/null &
    echo $! >"$work/$run$rank.pid"
  done
}

# running PID: false for a process that has ended, also where nobody has waited for it.
running() { grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }

# steps RUN: lines that it has written.
steps() { grep -c '"step"' "$work/$1.log" || true; }

# twin MINUTES: the second run, with TWIN_FLAGS; after the first, where AFTER says so.
twin() {
  local first=${GPUS:-1}
  if [ -n "${AFTER:-}" ]; then
    first=0
    while running "$(cat "$work/run0.pid")"; do sleep 1; done
  fi
  # shellcheck disable=SC2086 # several flags
  train "$first" 1 twin --minutes "$1" $TWIN_FLAGS
}

alive() {
  local pid
  for pid in "$work"/*.pid; do running "$(cat "$pid" 2>/dev/null)" && return 0; done
  return 1
}

logs() { tail -n "$1" "$work"/*.log; }

# results RUN OUT: exported and measured; the model in pieces, the rest as small.tar.gz. The twin's begin with twin-.
results() {
  local run=$work/$1 out=$2 prefix=${1#run} gpu=0
  [ "$1" = run ] || [ -n "${AFTER:-}" ] || gpu=${GPUS:-1}
  prefix=${prefix:+$prefix-}
  python3 "$here/export.py" model "$run/model.pt" "$carry/vocabulary.json" "$run" || return
  split -b 14000000 -d -a 1 "$run/coder.gguf" "$out/${prefix}coder.gguf."
  python3 "$here/plot.py" "$run/log.jsonl" "$run/loss.png" || true  # the machine may lack Matplotlib
  CUDA_VISIBLE_DEVICES=$gpu python3 "$here/evaluate.py" "$run/model.pt" "$work/heldout" --gguf "$run/coder.gguf" \
    >"$run/quantization.json" 2>"$run/evaluate.err" || tail -n 5 "$run/evaluate.err"
  cat "$work"/shards/*/meta.json >"$run/shards.json"
  cp "$work/run/installed.tsv" "$run/" 2>/dev/null || true  # only where `installed` ran
  (cd "$run" && tar -czf "$out/${prefix}small.tar.gz" --ignore-failed-read log.jsonl samples.jsonl loss.png \
    quantization.json shards.json installed.tsv 2>/dev/null) || true  # a short run has no samples
  cat "$run/quantization.json"
  sha256sum "$run/coder.gguf"
}

case ${1:-} in
split)
  cat .data/[0-9]/chunk.xz | split -b "${PART_BYTES:-30000000}" -d -a 1 --numeric-suffixes=1 - .data/part.
  for part in .data/part.*; do
    mkdir -p ".data/p${part##*.}"
    mv "$part" ".data/p${part##*.}/part"
  done
  ls -l .data/p*/part
  ;;
start)
  take_over
  nproc; python3 -c 'import torch; print(torch.__version__, torch.cuda.get_device_name(0))'
  prepare --out "$work/heldout" --by-language "$work/raw/heldout.bin"
  add_chunk 1
  if [ "${SELFTEST:-1}" != 0 ]; then
    timeout 150 python3 "$here/selftest.py" "$work/shards" --vocabulary "$carry/vocabulary.json"
  fi
  # shellcheck disable=SC2086 # several flags
  train 0 "${GPUS:-1}" run --minutes "${2:-17}" ${TRAIN_FLAGS:-}
  if [ -n "${TWIN_FLAGS+set}" ]; then
    if [ -n "${AFTER:-}" ]; then
      setsid nohup "$here/lease.sh" twin "${2:-17}" >"$work/twin.wait" 2>&1 </dev/null &
      echo $! >"$work/wait.pid"
    else
      twin "${2:-17}"
    fi
  fi
  for _ in $(seq 150); do
    sleep 1
    alive || break
    [ "$(steps run)" -lt 1 ] || break
  done
  if [ "${GPUS:-1}" -gt 1 ] && [ "$(steps run)" -lt 1 ]; then  # a run on one GPU is better than none
    echo "no step on $GPUS GPUs; once more on one"
    logs 30
    for rank in $(seq 0 $((GPUS - 1))); do kill -9 "$(cat "$work/run$rank.pid")"; rm "$work/run$rank.pid"; done
    # shellcheck disable=SC2086
    train 0 1 run --minutes "${2:-17}" ${TRAIN_FLAGS:-}
  fi
  logs 12
  alive
  ;;
add)
  shift
  for n in "$@"; do add_chunk "$n"; done
  logs 3
  ;;
installed)
  python3 "$here/corpus.py" site-packages "$work/raw/installed.bin" --seen "$work"/raw/[0-9].bin \
    --held "$(cat "$carry/held-out-projects.txt")" --manifest "$work/run/installed.tsv"
  prepare --out "$work/shards" --name installed --passes "${PASSES:-2}" --threads "${THREADS:-16}" \
    --seed 99 "$work/raw/installed.bin"
  ;;
status)
  for _ in $(seq "${2:-1}"); do
    alive || break
    sleep 1
  done
  logs "${3:-6}"
  if alive; then echo "training is running"; else echo "training has ended"; fi
  ;;
finish)
  out=$2
  for _ in $(seq "${3:-420}"); do
    alive || break
    sleep 1
  done
  logs 2
  results run "$out" &
  [ ! -f "$work/twin/model.pt" ] || results twin "$out"
  wait
  ;;
export)
  results "$2" "$3"
  ;;
twin)
  twin "$2"
  ;;
with-heads)  # what `start` calls for HEADS
  shift
  # shellcheck disable=SC2086 # several flags
  python3 "$here/heads.py" "$HEADS_FROM" "$work/shards" "$work/heads" --heads "$HEADS" ${HEADS_FLAGS:-} >"$work/heads.json"
  exec python3 "$here/train.py" "$@" --prune-heads "$work/heads"
  ;;
weights)
  out=$2
  if [ ! -f "$work/run/weights.0" ]; then
    python3 - "$work/run" <<'PY'
import sys
import torch
saved = torch.load(sys.argv[1] + "/model.pt", map_location="cpu", weights_only=False)
saved["weights"] = {k: v.bfloat16() for k, v in saved["weights"].items()}
torch.save(saved, sys.argv[1] + "/weights.pt")
PY
    split -b 15000000 -d -a 1 "$work/run/weights.pt" "$work/run/weights."
    rm -f "$work/run/weights.pt"
  fi
  if [ "$3" = 1 ]; then cp "$work"/run/weights.[0-3] "$out/"; else cp "$work"/run/weights.[4-9] "$out/"; fi
  ls -l "$out"
  ;;
*)
  sed -n '2,/^[^#]/{/^#/p}' "$0"
  exit 2
  ;;
esac
