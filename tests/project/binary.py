"""The built binary and the tree it was built from, for the tests that run it."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ["CAMBIUM_BIN"]
MODEL = ROOT / "engine/models/cambium-coder.gguf"


def run(*args, **variables):
    """variables: of the environment, beside those of this process."""
    return subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **variables})
