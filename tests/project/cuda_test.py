"""The binary needs no GPU driver: what belongs to CUDA is in a module of its own, opened on demand."""
import pathlib
import re
import subprocess
import unittest

from binary import BINARY, MODEL, ROOT, run

SOURCE = ROOT / "engine/gguf.h"


class Cuda(unittest.TestCase):
    def test_the_binary_links_nothing_of_cuda(self):
        listed = subprocess.run(["readelf", "-d", BINARY], capture_output=True, text=True, check=True).stdout
        needed = re.findall(r"NEEDED.*\[(.*)\]", listed)
        self.assertIn("libc.so.6", needed)
        self.assertEqual([name for name in needed if re.match(r"lib(cu|nv)", name)], [])

    @unittest.skipIf(pathlib.Path("/dev/nvidiactl").exists(), "there is a GPU")
    def test_without_a_gpu_it_says_so_and_auto_takes_the_cpu(self):
        asked = run("check", SOURCE, "--model", MODEL, "--device", "cuda")
        self.assertNotEqual(asked.returncode, 0)
        self.assertRegex(asked.stdout + asked.stderr, r'device "cuda": (there is no libcambium_cuda|GPU: no usable device)')
        taken = run("check", SOURCE, "--model", MODEL, "--device", "auto")
        self.assertEqual(taken.returncode, 0, taken.stdout + taken.stderr)
        self.assertIn("CPU", taken.stdout)


if __name__ == "__main__":
    unittest.main()
