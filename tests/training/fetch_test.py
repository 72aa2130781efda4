"""Package lists are read as they are written, and a file is taken whole, as listed, or not at all."""
import hashlib
import json
import pathlib
import random
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import fetch  # noqa: E402


def binary(package, version, digest):
    return f"Package: {package}\nVersion: {version}\nArchitecture: all\nFilename: {package}_{version}\nSHA256: {digest}"


class ListsTest(unittest.TestCase):
    def test_fields_of_one_and_of_several_lines(self):
        fields = fetch.fields_of("Package: a\nFiles:\n 1 2 x.dsc\n 3 4 x.tar\nHomepage: http://a:1/b\n")
        self.assertEqual(fields, {"Package": "a", "Files": "\n 1 2 x.dsc\n 3 4 x.tar", "Homepage": "http://a:1/b"})

    def test_versions_in_order(self):
        rising = ["1.2-1", "1.2-1+deb12u1", "1.2-1+deb12u2", "1.2-2", "1.9-1", "1.10-1", "2.0~rc1-1"]
        mixed = random.Random(1).sample(rising, len(rising))
        self.assertEqual(sorted(mixed, key=fetch.version_key), rising)

    def test_names_that_a_packed_file_may_stand_for(self):
        self.assertEqual([*fetch.scoped_names("a-b-c")], ["a-b-c", "@a/b-c", "@a-b/c"])


class FetchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.mirror, self.out = pathlib.Path(folder.name) / "mirror", pathlib.Path(folder.name) / "out"
        self.mirror.mkdir()
        self.archive = fetch.Archive.__new__(fetch.Archive)  # the lists of no machine
        self.archive.binaries, self.archive.sources = {}, {}

    def put(self, name, text):
        """The file's SHA-256."""
        (self.mirror / name).write_text(text)
        return hashlib.sha256(text.encode()).hexdigest()

    def base(self):
        return f"{self.mirror.as_uri()}/"

    def names(self):
        return sorted(p.name for p in self.out.iterdir())

    def test_the_version_named_and_else_the_newest(self):
        for version in ("1:1.9", "1:1.10"):
            self.archive._add("Packages", self.base(), fetch.fields_of(binary("a", version, self.put(f"a_{version}", version))))
        self.assertTrue(self.archive.fetch(self.archive.binaries, "a", "1%3a1.9", self.out))
        self.assertEqual(self.names(), ["a_1%3a1.9_all.deb"])
        self.assertTrue(self.archive.fetch(self.archive.binaries, "a", "1%3a1.2", self.out))
        self.assertEqual(self.names(), ["a_1%3a1.10_all.deb", "a_1%3a1.9_all.deb"])
        self.assertFalse(self.archive.fetch(self.archive.binaries, "b", "1", self.out))

    def test_another_place_where_the_first_no_longer_has_it(self):
        digest = self.put("a_1", "text")
        gone = (self.mirror / "gone").as_uri() + "/"
        for base in (gone, self.base()):
            self.archive._add("Packages", base, fetch.fields_of(binary("a", "1", digest)))
        self.assertTrue(self.archive.fetch(self.archive.binaries, "a", "1", self.out))
        self.assertEqual((self.out / "a_1_all.deb").read_text(), "text")

    def test_what_is_not_as_listed_is_not_kept(self):
        self.archive._add("Packages", self.base(), fetch.fields_of(binary("a", "1", hashlib.sha256(b"other").hexdigest())))
        self.put("a_1", "text")
        self.assertFalse(self.archive.fetch(self.archive.binaries, "a", "1", self.out))
        self.assertEqual(self.names(), [])

    def test_a_source_has_its_dsc_when_all_of_it_is_there(self):
        digests = {name: self.put(name, name) for name in ("a_1.dsc", "a_1.tar.xz")}
        listed = "\n".join(f" {digest} 1 {name}" for name, digest in digests.items())
        fields = fetch.fields_of(f"Package: a\nVersion: 1\nDirectory: .\nChecksums-Sha256:\n{listed}")
        self.archive._add("Sources", self.mirror.as_uri() + "/", fields)
        (self.mirror / "a_1.tar.xz").rename(self.mirror / "kept")
        self.assertFalse(self.archive.fetch(self.archive.sources, "a", "1", self.out))
        self.assertEqual(self.names(), [])
        (self.mirror / "kept").rename(self.mirror / "a_1.tar.xz")
        self.assertTrue(self.archive.fetch(self.archive.sources, "a", "1", self.out))
        self.assertEqual(self.names(), ["a_1.dsc", "a_1.tar.xz"])

    def test_npm_is_asked_for_every_name_that_it_may_be(self):
        tarball = self.mirror / "t.tgz"
        tarball.write_text("packed")
        answer = self.mirror / "answer"
        answer.write_text(json.dumps({"dist": {"tarball": tarball.as_uri()}}))
        asked, real = [], fetch.urllib.request.urlopen

        def urlopen(address, timeout):
            if address.startswith("registry/"):
                asked.append(address)
                if address != "registry/@a%2Fb/1.0":
                    raise fetch.urllib.error.URLError("none")
                address = answer.as_uri()
            return real(address, timeout=timeout)
        with mock.patch.object(fetch.urllib.request, "urlopen", urlopen):
            self.assertTrue(fetch.fetch_npm("registry", "a-b", "1.0", self.out))
        self.assertEqual(asked, ["registry/a-b/1.0", "registry/@a%2Fb/1.0"])
        self.assertEqual((self.out / "a-b-1.0.tgz").read_text(), "packed")


if __name__ == "__main__":
    unittest.main()
