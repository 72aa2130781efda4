"""OUT/vocabulary.gguf from DeepSeek V3's tokenizer.json, for make_tokenizer_cases.mjs. Needs NumPy."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import gguf  # noqa: E402

source, out = sys.argv[1], pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
made = json.loads(pathlib.Path(source).read_text())
ids = dict(made["model"]["vocab"])
added = {token["content"]: token["id"] for token in made["added_tokens"]}
ids.update(added)
tokens = [""] * (max(ids.values()) + 1)
for text, i in ids.items():
    tokens[i] = text
writer = gguf.Writer()
writer.add("general.architecture", "deepseek2")
writer.add("tokenizer.ggml.model", "gpt2")
writer.add("tokenizer.ggml.pre", "deepseek-v3")
writer.add("tokenizer.ggml.tokens", [t or f"<unused{i}>" for i, t in enumerate(tokens)])
writer.add("tokenizer.ggml.token_type", [3 if t in added or not t else 1 for t in tokens], "i32")
writer.add("tokenizer.ggml.merges", [m if isinstance(m, str) else " ".join(m) for m in made["model"]["merges"]])
writer.add("tokenizer.ggml.bos_token_id", added["<｜begin▁of▁sentence｜>"])
writer.add("tokenizer.ggml.eos_token_id", added["<｜end▁of▁sentence｜>"])
writer.write(out / "vocabulary.gguf")
