"""Which licences allow our use, and what Debian's copyright files say of which paths."""

import collections
import fnmatch
import re

_PERMISSIVE = re.compile(
    r"^(mit|expat|x11|x-11|bsd|freebsd|netbsd|apache|asl|isc|zlib|libpng|psf|python|boost|bsl|"
    r"unlicense(?!d)|public[- ]domain|pd$|cc0|ncsa|postgresql|curl|0bsd|wtfpl|openssl|unicode|"
    r"icu|php|ruby$|hpnd|ntp|tcl|ijg|ssleay|uiuc|blueoak|permissive|sgi-b|khronos|libtiff|"
    r"0-clause|2-clause|3-clause|simplified bsd|new bsd|modified bsd|apple-mit|nodejs|go$)")
COPYLEFT = re.compile(
    r"GNU (Lesser |Affero |Library )?General Public|\b[LA]?GPL|Mozilla Public|\bMPL|Eclipse Public|"
    r"\bEPL\b|\bCDDL\b|Creative Commons|\bCC-BY|Artistic|\bEUPL|non-?commercial", re.I)


def permissive(name):
    """True if a licence expression allows our use: any alternative of an "or", all of an "and"."""
    name = name.strip().strip("()").lower().replace("licence", "license")
    name = re.sub(r"^the\s+", "", name)
    if not name:
        return False
    for part in re.split(r"\s+or\s+|\s*\|\s*|/(?=[a-z])", name):
        terms = [t for t in re.split(r"\s+and\s+|,\s*|;\s*|&", part.strip("() ")) if t]
        if terms and all(_PERMISSIVE.match(t.strip("() ")) for t in terms):
            return True
    return False


class Copyright:
    """Debian's copyright file: which paths of a source are permissively licensed.

    Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/ (the last matching
    stanza wins). A file in no machine-readable format is judged as a whole.
    """

    def __init__(self, text):
        self.rules, self.names = [], collections.Counter()
        self.whole = False
        if re.search(r"^Format(-Specification)?:", text[:2000], re.M) and re.search(r"^Files:", text, re.M):
            for stanza in re.split(r"\n\s*\n", text):
                files = re.search(r"^Files:((?:.*)(?:\n[ \t]+.*)*)", stanza, re.M)
                licence = re.search(r"^License:[ \t]*(.*)", stanza, re.M)
                if not files or not licence:
                    continue
                ok = permissive(licence.group(1))
                for pattern in files.group(1).split():
                    pattern = pattern.strip(",").removeprefix("./")
                    if not pattern.startswith("debian/"):
                        self.rules.append((re.compile(fnmatch.translate(pattern)), pattern, ok))
                        self.names[licence.group(1).strip()] += 1
        elif text:
            body = re.sub(r"(?is)the debian packaging.*", "", text)
            free = re.search(r"\bMIT\b|BSD|Apache License|Permission is hereby granted|\bISC\b|"
                             r"Redistribution and use in source|zlib license|Boost Software", body, re.I)
            self.whole = bool(free) and not COPYLEFT.search(body)
            if self.whole:
                self.names[free.group(0)] += 1

    def allows(self, path, installed=False):
        """`installed`: path is where a binary package puts it, not where the source has it."""
        if not self.rules:
            return self.whole
        verdict = False
        for regex, pattern, ok in self.rules:
            if installed and pattern != "*":
                # Cautious: an installed path only tells the tail of the one in the source.
                if not ok and fnmatch.fnmatch(path, "*/" + "/".join(pattern.split("/")[-2:])):
                    return False
                continue
            if regex.match(path):
                verdict = ok
        return verdict

    def summary(self):
        return " | ".join(n for n, _ in self.names.most_common(3))[:80]


_COPYLEFT_HINTS = ("gpl", "gnu ", "mozilla", "mpl", "eclipse", "epl", "cddl", "creative", "cc-by", "artistic", "eupl", "commercial")


def copyleft(head):
    lower = head.lower()
    return any(hint in lower for hint in _COPYLEFT_HINTS) and bool(COPYLEFT.search(head))
