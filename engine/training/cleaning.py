"""Which files are worth training on: paths, contents, secrets, and copies of what was seen."""

import collections
import hashlib
import math
import re
import zlib

from licences import copyleft

LANGUAGES = {
    "py": "python", "pyi": "python", "c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "cxx": "cpp",
    "hpp": "cpp", "hh": "cpp", "hxx": "cpp", "ipp": "cpp", "inl": "cpp", "cu": "cpp", "cuh": "cpp",
    "js": "javascript", "mjs": "javascript", "cjs": "javascript", "jsx": "javascript",
    "ts": "typescript", "mts": "typescript", "tsx": "typescript", "go": "go", "rs": "rust",
    "java": "java", "cs": "csharp", "rb": "ruby", "rake": "ruby", "php": "php", "sh": "bash",
    "bash": "bash", "bats": "bash", "lua": "lua", "kt": "kotlin", "kts": "kotlin",
    "swift": "swift", "scala": "scala", "sbt": "scala",
}
MIN_BYTES, MAX_BYTES = 200, 200_000

_SKIP_DIRS = re.compile(
    r"(^|/)(vendor|vendored|_vendor|third[-_]?party|3rd[-_]?party|externals?|extern|node_modules|bundled|dist|"
    r"min|testdata|test[-_]data|fixtures?|__snapshots__|snapshots|generated|gen|\.git|locales?|i18n|"
    r"l10n|po|tests/ui|clang/test|llvm/test|lldb/test|mlir/test|flang/test|clang-tools-extra/test|"
    r"libcxx/test|lit_tests|test262|mjsunit|webkit|testing/data|baselines|fourslash|tests/cases|"
    r"migrations|cjs|umd|esm|fesm\d+|bundles|esm5|lib-commonjs|lib-amd|es5|commonjs)(/|$)", re.I)
_SKIP_NAMES = re.compile(r"(\.min\.|\.bundle\.|\.pb\.|_pb2|\.d\.ts$|\.umd\.|-min\.|\.generated\.|\.g\.|"
                         r"_generated|zz_generated|unicode_?(data|tables?)|mock_|_string\.go$|parser\.c$|"
                         r"Lexer\.|\.production\.|\.development\.)", re.I)
_TESTS = re.compile(r"(^|/)(tests?|specs?|__tests__|unittests?|testing)(/|$)|[._-](test|spec)\.|(^|/)test_|_test\.", re.I)
_GENERATED = re.compile(r"generated (by|from|code|file|automatically)|auto-?matically generated|auto-?generated|"
                        r"@generated|do not (edit|modify)|machine generated|"
                        r"Object\.defineProperty\(exports, ['\"]__esModule|__webpack_require__|"
                        r"var __awaiter|tslib", re.I)
_SECRETS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|"
                      r"\bxox[abprs]-[0-9A-Za-z-]{10,}|\bAIza[0-9A-Za-z_-]{35}\b|\bsk_live_[0-9a-zA-Z]{16,}|"
                      r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}|\bglpat-[0-9A-Za-z_-]{20}")
_QUOTED = re.compile(r"[\"'][A-Za-z0-9+/_=-]{24,120}[\"']")
_KEY_WORD = re.compile(r"secret|token|passw|api_?key|credential", re.I)
_SECRET_HINTS = ("-----BEGIN", "AKIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "AIza", "sk_live_", "eyJ", "glpat-")
_WHITE = b" \t\r\n"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LONG = re.compile(r"[A-Za-z0-9+/=]{120,}")
_NOTICE = re.compile(r"licen[sc]e|copyright|\(c\)|all rights reserved|spdx", re.I)
_BLOCK = re.compile(r"\s*(/\*.*?\*/|(?:[ \t]*(?://|#(?!\s*(?:include|if|define|pragma|!))|--)[^\n]*\n)+)[ \t]*\n*", re.S)


def entropy(text):
    counts = collections.Counter(text)
    return -sum(c / len(text) * math.log2(c / len(text)) for c in counts.values())


def has_secret(text):
    if any(hint in text for hint in _SECRET_HINTS) and _SECRETS.search(text):
        return True
    for m in _QUOTED.finditer(text):
        body = m.group(0)[1:-1]
        if (entropy(body) > 4.0 and re.search(r"\d", body) and
                _KEY_WORD.search(text[max(0, m.start() - 40):m.start()])):
            return True
    return False


def strip_notice(text):
    """Without the licence comment at the head, and without the shebang's loss."""
    head = ""
    if text.startswith("#!"):
        head, _, text = text.partition("\n")
        head += "\n"
    for _ in range(2):
        m = _BLOCK.match(text)
        if not m or m.end() == 0 or not _NOTICE.search(m.group(1)):
            break
        text = text[m.end():]
    return head + text


def language_of(path):
    return LANGUAGES.get(path.rsplit(".", 1)[-1].lower()) if "." in path.rsplit("/", 1)[-1] else None


def path_wanted(path, keep_deps=False):
    if language_of(path) is None or _SKIP_NAMES.search(path.rsplit("/", 1)[-1]):
        return False
    if _SKIP_DIRS.search(path.rsplit("/", 1)[0] if "/" in path else ""):
        return False
    if not keep_deps and re.search(r"(^|/)deps/", path):
        return False
    # A third of the tests: they are code too, but there is more of them than of anything else.
    return not (_TESTS.search(path) and zlib.crc32(path.encode()) % 3)


def clean(path, data):
    """The text to train on, or None with the reason it is not wanted: (text, reason)."""
    if not MIN_BYTES <= len(data) <= MAX_BYTES:
        return None, "size"
    if b"\0" in data:
        return None, "binary"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None, "encoding"
    text = text.removeprefix("\ufeff")
    # A prompt shows "\r\n" as "\n" too.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _GENERATED.search(text[:2500]):
        return None, "generated"
    if copyleft(text[:6000]):
        return None, "licence"
    if has_secret(text):
        return None, "secret"
    if zlib.crc32(path.encode()) % 8:  # an eighth keeps its notice, so that the model knows them
        text = strip_notice(text)
    lines = text.split("\n")
    if len(text) < MIN_BYTES or len(lines) < 5:
        return None, "size"
    if max(map(len, lines)) > 600 or len(text) / len(lines) > 90 or _LONG.search(text):
        return None, "long lines"
    sample = text[:20000].encode()
    dense = sample.translate(None, _WHITE)
    if not dense:
        return None, "empty"
    letters = len(dense) - len(dense.translate(None, _LETTERS))
    digits = len(dense) - len(dense.translate(None, b"0123456789"))
    if letters < 0.45 * len(dense) or digits > 0.18 * len(dense):
        return None, "data"
    if len(dense) - len(dense.translate(None, bytes(range(128, 256)))) > 0.15 * len(dense):
        return None, "not code"
    if len(lines) > 60 and len(set(lines)) < 0.4 * len(lines):
        return None, "repetitive"
    return text, None


class NearDuplicates:
    """Drops a file most of whose distinctive lines were seen before.

    A line counts when it is long enough to be distinctive and its hash falls into a fixed eighth of
    all hashes, so that the sketch of a file is small and the same lines are chosen in every copy.
    """

    def __init__(self, share=0.6):
        self.exact, self.lines, self.share = set(), set(), share

    def seen(self, text):
        digest = hashlib.blake2b("".join(text.split()).encode(), digest_size=12).digest()
        if digest in self.exact:
            return "duplicate"
        self.exact.add(digest)
        sketch = set()
        for line in text.encode().split(b"\n"):
            line = line.strip()
            if len(line) >= 24:
                h = zlib.crc32(line)
                if h & 7 == 0:
                    sketch.add(h << 16 | zlib.adler32(line) & 0xFFFF)
        if len(sketch) >= 4 and len(sketch & self.lines) > self.share * len(sketch):
            return "near duplicate"
        self.lines |= sketch
        return None
