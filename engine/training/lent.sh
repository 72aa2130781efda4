# shellcheck shell=bash
# What the scripts for a lent machine share. They set `work`, the folder for everything, and source this in the
# project's root.
#
# .carry/ has what a call brings along: cambium-prepare.xz and its libpcre2-8.so.0, vocab.gguf (the tokenizer, for
# it), vocabulary.json (for Python) and heldout.xz. It is taken over at the start, to $carry: a later call may find
# the checkout without the folders that it did not name.
carry=${work:?}/carry
export PYTHONUNBUFFERED=1 LD_LIBRARY_PATH=$work/lib:${LD_LIBRARY_PATH:-}
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True

# unpack FROM TO: an .xz file; the machine has no xz.
unpack() { python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"), 1 << 22)' "$1" "$2"; }

# take_over: .carry, and of it the tools and $work/raw/heldout.bin.
take_over() {
  mkdir -p "$work"/{lib,raw}
  rm -rf "$carry"
  cp -r .carry "$carry" || return
  unpack "$carry/cambium-prepare.xz" "$work/cambium-prepare" || return
  chmod +x "$work/cambium-prepare"
  cp "$carry/libpcre2-8.so.0" "$work/lib/" || return
  unpack "$carry/heldout.xz" "$work/raw/heldout.bin"
}

# shellcheck disable=SC2086 # several flags
prepare() { "$work/cambium-prepare" --vocabulary "$carry/vocab.gguf" ${PREPARE_FLAGS:-} "$@"; }
