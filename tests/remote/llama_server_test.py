"""Cambium's remote engine against llama.cpp's own server, with the plain model of this tree in it.

    LLAMA_SYSTEM=FOLDER CAMBIUM_BIN=BINARY python3 llama_server_test.py

FOLDER is a system with llama-server in it, which is run there (chroot, so as root). `./dev test --llama-server` makes
one. What both programs make of the same file may differ where two tokens are as likely; the first hole's is not."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "project"))
from binary import ROOT, run  # noqa: E402

SYSTEM = pathlib.Path(os.environ["LLAMA_SYSTEM"])
MODEL = ROOT / "engine/models/cambium-coder-plain.gguf"
DEMO = ROOT / "lsp/cli/demo"
CURSOR, WANTED = f"{DEMO}/inventory.py:23:13", 'raise ValueError("count must not be negative")'
MARKERS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
KEY = "a key"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class LlamaServerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.copy(MODEL, SYSTEM / "model.gguf")
        cls.port, cls.folder = free_port(), tempfile.TemporaryDirectory()
        cls.log = open(pathlib.Path(cls.folder.name) / "log", "w+", encoding="utf-8")
        cls.server = subprocess.Popen(
            ["chroot", SYSTEM, "llama-server", "-m", "/model.gguf", "--host", "127.0.0.1", "--port", str(cls.port),
             "-c", "2048", "-np", "1", "--threads", "2", "--api-key", KEY], stdout=cls.log, stderr=cls.log)
        end = time.monotonic() + 60
        while True:  # until it says that it is ready
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{cls.port}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            if cls.server.poll() is not None or time.monotonic() > end:
                cls.log.seek(0)
                raise RuntimeError("llama-server did not start: " + cls.log.read()[-2000:])
            time.sleep(0.2)

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()
        cls.log.close()
        cls.folder.cleanup()

    def models(self, role="completion", port=None, **more):
        """A models.json with one role at the server."""
        path = pathlib.Path(self.folder.name) / "models.json"
        model = {"url": f"http://127.0.0.1:{port or self.port}/v1", "model": "model.gguf", "key": {"env": "LLAMA_KEY"}, **more}
        path.write_text(json.dumps({"roles": {role: model}}))
        return path

    def run_cambium(self, *args, key=KEY):
        return run(*args, LLAMA_KEY=key)

    def completed(self, **more):
        done = self.run_cambium("complete", "--json", "--models", self.models(**more), CURSOR)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_infill_and_the_markers_spelled_out_complete_alike(self):
        for more in ({"fim": "infill"}, {"fim": "raw", "fimTokens": MARKERS}):
            with self.subTest(more):
                answer = self.completed(**more)
                self.assertEqual([item["text"] for item in answer["items"]], [WANTED])
                self.assertIn(f"127.0.0.1:{self.port}", answer["model"])
                self.assertGreater(answer["timings"]["generated_tokens"], 5)
        here = self.run_cambium("complete", "--json", "--model", MODEL, CURSOR)
        self.assertEqual(json.loads(here.stdout)["items"][0]["text"], WANTED)

    def test_chats_come_streamed_and_in_the_form_asked_for(self):
        # The model does not chat, so what it says is noise; that its server keeps to the schema it is sent is not.
        sources = pathlib.Path(self.folder.name) / "sources"
        for i, file in enumerate(sorted((ROOT / "engine/training").glob("*.py"))):  # each a project
            (sources / f"python/{i}").mkdir(parents=True)
            shutil.copy(file, sources / f"python/{i}")
        done = self.run_cambium("eval", "--review", "--reasoning", "--models", self.models("reasoning"), "--data", sources,
                                "--languages", "python", "--per-language", "1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = json.loads(done.stdout)["all"]["answers"]
        self.assertEqual([answers[how] for how in ("cases", "failed", "prose", "cut")], [2, 0, 0, 0])
        self.assertGreater(answers["generatedTokens"]["mean"], 0)

    def test_a_wrong_key_is_said_in_a_sentence(self):
        done = self.run_cambium("complete", "--models", self.models(fim="infill"), CURSOR, key="another")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("key", done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_an_endpoint_that_is_down_is_said_in_a_sentence(self):
        done = self.run_cambium("complete", "--models", self.models(port=free_port(), fim="infill"), CURSOR)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("127.0.0.1", done.stderr)


if __name__ == "__main__":
    unittest.main()
