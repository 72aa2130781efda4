"""The layers of the design, enforced on every #include.

syntax knows text and trees; engine knows tokens and tensors; only lsp/ sees both, and within it
lsp/assist/ knows no JSON-RPC (what a model answers may be JSON).
"""
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)

# layer -> what it must not include, as prefixes of the include path
FORBIDDEN = {
    "syntax": ["engine/", "lsp/", "nlohmann/", "boost/", "cuda", "cublas"],
    "engine": ["syntax/", "lsp/", "tree_sitter/"],
    "engine/cpu": ["syntax/", "lsp/", "tree_sitter/", "boost/", "nlohmann/", "cuda", "cublas"],
    "lsp/assist": ["lsp/protocol/", "lsp/handlers/", "lsp/server", "lsp/jsonrpc", "lsp/transport",
                   "lsp/cli/", "boost/asio", "tree_sitter/"],
    "lsp": ["tree_sitter/", "cuda_runtime", "cublas"],
}
# CUDA headers stay inside the module that is loaded at run time.
CUDA_ONLY_IN = "engine/cuda"
CUDA_HEADERS = ("cuda_runtime", "cublas", "cuda_fp16", "cuda_bf16", "cooperative_groups", "cuda.h")

# Calls that a library must not make (design, section 2).
BANNED_CALLS = re.compile(r"(?<![\w:.>])(?<!void )(?:std::)?(getenv|secure_getenv|exit|_Exit|quick_exit|abort)\s*\(")
# The config parser reads the environment; the command line decides the exit code.
MAY_CALL = {"getenv": {"lsp/settings.cpp"}}


def sources(folder):
    skip = {"node_modules", "build"}
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in SOURCE and not skip & set(path.relative_to(ROOT).parts):
            yield path


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


class Layers(unittest.TestCase):
    def test_includes_follow_the_arrows(self):
        seen = 0
        for layer, forbidden in FORBIDDEN.items():
            for path in sources(layer):
                seen += 1
                for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
                    for prefix in forbidden:
                        with self.subTest(file=str(path.relative_to(ROOT)), include=name):
                            self.assertFalse(name.startswith(prefix),
                                             f"{layer}/ must not include {prefix}*")
        self.assertGreater(seen, 20, "the test looked at no sources: did the folders move?")

    def test_cuda_headers_stay_in_the_module(self):
        for layer in ("syntax", "engine", "lsp"):
            for path in sources(layer):
                if str(path.relative_to(ROOT)).startswith(CUDA_ONLY_IN + "/"):
                    continue
                for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
                    with self.subTest(file=str(path.relative_to(ROOT))):
                        self.assertFalse(name.startswith(CUDA_HEADERS), name)

    def test_libraries_neither_exit_nor_read_the_environment(self):
        for layer in ("syntax", "engine", "lsp"):
            for path in sources(layer):
                name = str(path.relative_to(ROOT))
                for call in BANNED_CALLS.findall(without_comments(path.read_text(encoding="utf-8"))):
                    with self.subTest(file=name, call=call):
                        self.assertIn(name, MAY_CALL.get(call, set()))


if __name__ == "__main__":
    unittest.main()
