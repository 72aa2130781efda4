#include "tests/support/engine/tiny_model.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

namespace cambium::test {

using namespace engine;

TempFile::~TempFile() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

TempFile temp_file(const std::string& name) {
  static std::atomic<int> counter = 0;
  const auto path =
      std::filesystem::temp_directory_path() /
      ("cambium-" + std::to_string(getpid()) + "-" + std::to_string(counter++) + "-" + name);
  return TempFile(path.string());
}

TinyModel::TinyModel() {
  shape.name = "tiny";
  shape.n_vocab = 320;
  shape.n_embd = 64;
  shape.n_layer = 3;
  shape.n_head = 4;
  shape.n_kv_head = 2;
  shape.head_dim = 16;
  shape.n_ff = 96;
  shape.context = 512;
}

namespace {

std::vector<std::byte> random_floats(std::mt19937_64& random, size_t n, float mean, float spread) {
  std::normal_distribution<float> normal(mean, spread);
  std::vector<std::byte> data(n * sizeof(float));
  for (size_t i = 0; i < n; ++i) {
    const float v = normal(random);
    std::memcpy(data.data() + i * sizeof v, &v, sizeof v);
  }
  return data;
}

}  // namespace

GgufWriter tiny_model_writer(const TinyModel& model) {
  RandomModelOptions options;
  options.shape = model.shape;
  options.type = model.type;
  options.seed = model.seed;
  auto made = random_model(options);
  REQUIRE_MESSAGE(made.has_value(), made.error().message);
  GgufWriter writer = std::move(*made);
  std::mt19937_64 random(model.seed + 1000);
  const ModelShape& s = model.shape;
  const auto vector = [&](const std::string& name, int64_t n, float mean, float spread) {
    writer.add_tensor(name, DType::f32, {n},
                      random_floats(random, static_cast<size_t>(n), mean, spread));
  };
  for (int32_t i = 0; i < s.n_layer; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    if (model.biases) {
      vector(blk + "attn_q.bias", int64_t{s.n_head} * s.head_dim, 0, 0.5f);
      vector(blk + "attn_k.bias", int64_t{s.n_kv_head} * s.head_dim, 0, 0.5f);
      vector(blk + "attn_v.bias", int64_t{s.n_kv_head} * s.head_dim, 0, 0.5f);
      vector(blk + "attn_output.bias", s.n_embd, 0, 0.2f);
      vector(blk + "ffn_gate.bias", s.n_ff, 0, 0.5f);
      vector(blk + "ffn_up.bias", s.n_ff, 0, 0.5f);
      vector(blk + "ffn_down.bias", s.n_embd, 0, 0.2f);
    }
    if (model.qk_norm) {
      vector(blk + "attn_q_norm.weight", s.head_dim, 1.4f, 0.2f);
      vector(blk + "attn_k_norm.weight", s.head_dim, 1.4f, 0.2f);
    }
    if (!model.structure.empty()) {
      const auto n = static_cast<size_t>(3 * s.n_head);
      writer.add_tensor(blk + "attn_structure_scale", DType::f32, {s.n_head, 3},
                        random_floats(random, n, 0, 0.5f));
      writer.add_tensor(blk + "attn_structure_bias", DType::f32, {s.n_head, 3},
                        random_floats(random, n, 0, 1.0f));
      if (model.tree && model.structure[static_cast<size_t>(i)] == 0) {
        writer.add_tensor(blk + "attn_tree_bias", DType::f32, {s.n_head, 16},
                          random_floats(random, static_cast<size_t>(16 * s.n_head), 0, 1.5f));
      }
    }
  }
  if (model.rope_factors) vector("rope_freqs.weight", s.head_dim / 2, 4.0f, 1.0f);
  if (!model.structure.empty()) {
    writer.set_u32s("cambium.structure.mode", model.structure);
    writer.set_u32("cambium.structure.window", static_cast<uint32_t>(model.rule.window));
    writer.set_u32("cambium.structure.sinks", static_cast<uint32_t>(model.rule.sinks));
    if (model.rule.scope_window != INT32_MAX) {
      writer.set_u32("cambium.structure.scope_window",
                     static_cast<uint32_t>(model.rule.scope_window));
    }
    if (!model.prune_heads.empty()) {
      writer.set_u32s("cambium.structure.prune_heads", model.prune_heads);
    }
  }
  return writer;
}

TempFile write_tiny_model(const TinyModel& model) {
  std::vector<std::byte> bytes = tiny_model_writer(model).bytes();
  {
    const auto parsed = GgufFile::parse(bytes, "tiny.gguf");
    REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message);
    const GgufTensor* output =
        (*parsed)->find_tensor(model.shape.tied ? "token_embd.weight" : "output.weight");
    REQUIRE(output != nullptr);
    const size_t row = row_bytes(output->type, output->cols());
    const auto begin = bytes.begin() + (output->data - bytes.data());
    std::fill(begin + static_cast<ptrdiff_t>(256 * row),
              begin + static_cast<ptrdiff_t>(output->bytes), std::byte{0});
  }
  TempFile file = temp_file("tiny.gguf");
  std::ofstream(file.path(), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file;
}

std::unique_ptr<Model> open_model(const std::string& path, const std::string& isa) {
  auto file = GgufFile::open(path);
  REQUIRE_MESSAGE(file.has_value(), file.error().message);
  auto config = ModelConfig::from_gguf(**file);
  REQUIRE_MESSAGE(config.has_value(), config.error().message);
  auto model = load_model_weights(*file, *config, make_cpu_backend(1, isa), nullptr);
  REQUIRE_MESSAGE(model.has_value(), model.error().message);
  return std::move(*model);
}

// --- the naive model ----------------------------------------------------------------------------

namespace {

using Vector = std::vector<double>;

class Naive {
 public:
  explicit Naive(const GgufFile& file) : file_(file), arch_(*file.architecture()) {}

  Vector tensor(const std::string& name) const {
    const GgufTensor* t = file_.find_tensor(name);
    if (t == nullptr) return {};
    REQUIRE(t->type == DType::f32);
    Vector out(static_cast<size_t>(t->elements()));
    for (size_t i = 0; i < out.size(); ++i) {
      float v;
      std::memcpy(&v, t->data + i * sizeof v, sizeof v);
      out[i] = v;
    }
    return out;
  }
  int u32(const std::string& key) const {
    return static_cast<int>(*file_.get_u32(arch_ + "." + key, 0));
  }
  double f32(const std::string& key, float fallback) const {
    return *file_.get_f32(arch_ + "." + key, fallback);
  }
  const GgufFile& file() const { return file_; }

 private:
  const GgufFile& file_;
  const std::string arch_;
};

Vector norm(const Vector& x, const Vector& w, double eps) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  Vector y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    y[i] = x[i] / std::sqrt(sum / static_cast<double>(x.size()) + eps) * w[i];
  }
  return y;
}

Vector product(const Vector& w, const Vector& b, const Vector& x) {
  Vector y(w.size() / x.size());
  for (size_t r = 0; r < y.size(); ++r) {
    y[r] = b.empty() ? 0 : b[r];
    for (size_t c = 0; c < x.size(); ++c) y[r] += w[r * x.size() + c] * x[c];
  }
  return y;
}

/// Of the scopes that labels name, those around token t below the file's, the five outermost.
std::vector<int32_t> path_of(const TokenStructure& labels, size_t t) {
  std::map<int32_t, int32_t> last;  // by scope, as it is said first
  for (size_t i = 0; i < labels.size(); ++i) last.insert({labels.scope[i], labels.last[i]});
  std::vector<int32_t> path;
  for (const auto& [scope, end] : last) {
    if (scope != 0 && scope <= labels.scope[t] && labels.scope[t] <= end && path.size() < 5)
      path.push_back(scope);
  }
  return path;
}

/// Row of attn_tree_bias: steps up from the query's scope (of 4), steps down to the key's.
size_t tree_class(const std::vector<int32_t>& q, const std::vector<int32_t>& k) {
  size_t common = 0;
  while (common < std::min(q.size(), k.size()) && q[common] == k[common]) ++common;
  return 4 * std::min<size_t>(q.size() - common, 3) + std::min<size_t>(k.size() - common, 3);
}

}  // namespace

std::vector<std::vector<double>> naive_logits(const GgufFile& file,
                                              const std::vector<TokenId>& tokens,
                                              const TokenStructure& labels) {
  const Naive m(file);
  const int n_layer = m.u32("block_count"), n_head = m.u32("attention.head_count");
  const int n_kv = m.u32("attention.head_count_kv"), dim = m.u32("attention.key_length");
  const double eps = m.f32("attention.layer_norm_rms_epsilon", 0),
               base = m.f32("rope.freq_base", 0);
  const double linear = m.f32("rope.scaling.factor", 1);
  const Vector factors = m.tensor("rope_freqs.weight");
  std::vector<uint32_t> modes(static_cast<size_t>(n_layer), 0), heads(modes.size(), ~0u);
  if (file.has("cambium.structure.mode")) modes = *file.get_u32s("cambium.structure.mode");
  if (file.has("cambium.structure.prune_heads")) {
    heads = *file.get_u32s("cambium.structure.prune_heads");
  }
  const PruneRule rule{
      static_cast<int32_t>(*file.get_u32("cambium.structure.window", 0)),
      static_cast<int32_t>(*file.get_u32("cambium.structure.sinks", 0)),
      static_cast<int32_t>(*file.get_u32("cambium.structure.scope_window", INT32_MAX))};

  const Vector embedding = m.tensor("token_embd.weight");
  Vector output = m.tensor("output.weight");
  if (output.empty()) output = embedding;
  const size_t n_embd = m.tensor("output_norm.weight").size();
  const auto n_tokens = tokens.size();
  std::vector<Vector> x(n_tokens);
  for (size_t t = 0; t < n_tokens; ++t) {
    const auto row =
        embedding.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(tokens[t]) * n_embd);
    x[t].assign(row, row + static_cast<ptrdiff_t>(n_embd));
  }

  for (int l = 0; l < n_layer; ++l) {
    const std::string blk = "blk." + std::to_string(l) + ".";
    const auto w = [&](const char* name) { return m.tensor(blk + name + ".weight"); };
    const auto b = [&](const char* name) { return m.tensor(blk + name + ".bias"); };
    const Vector scale = m.tensor(blk + "attn_structure_scale"),
                 shift = m.tensor(blk + "attn_structure_bias");
    const Vector tree_bias = m.tensor(blk + "attn_tree_bias");
    const auto mode =
        static_cast<StructureMode>(labels.empty() ? 0 : modes[static_cast<size_t>(l)]);
    std::vector<std::vector<int32_t>> paths;
    if (!labels.empty() && !tree_bias.empty()) {
      for (size_t t = 0; t < n_tokens; ++t) paths.push_back(path_of(labels, t));
    }
    std::vector<Vector> q(n_tokens), k(n_tokens), v(n_tokens);
    const auto rotate = [&](Vector& y, size_t t, const Vector& head_norm) {
      for (size_t h = 0; h * static_cast<size_t>(dim) < y.size(); ++h) {
        const auto begin = y.begin() + static_cast<ptrdiff_t>(h * static_cast<size_t>(dim));
        Vector head(begin, begin + dim);
        if (!head_norm.empty()) head = norm(head, head_norm, eps);
        for (int i = 0; i < dim / 2; ++i) {
          double angle = static_cast<double>(t) / linear * std::pow(base, -2.0 * i / dim);
          if (!factors.empty()) angle /= factors[static_cast<size_t>(i)];
          const double re = head[static_cast<size_t>(2 * i)],
                       im = head[static_cast<size_t>(2 * i) + 1];
          begin[2 * i] = re * std::cos(angle) - im * std::sin(angle);
          begin[2 * i + 1] = re * std::sin(angle) + im * std::cos(angle);
        }
      }
    };
    const Vector wq = w("attn_q"), wk = w("attn_k"), wv = w("attn_v"), wo = w("attn_output");
    for (size_t t = 0; t < n_tokens; ++t) {
      const Vector h = norm(x[t], w("attn_norm"), eps);
      q[t] = product(wq, b("attn_q"), h);
      k[t] = product(wk, b("attn_k"), h);
      v[t] = product(wv, b("attn_v"), h);
      rotate(q[t], t, w("attn_q_norm"));
      rotate(k[t], t, w("attn_k_norm"));
    }
    for (size_t t = 0; t < n_tokens; ++t) {
      Vector mixed(static_cast<size_t>(n_head * dim));
      for (int h = 0; h < n_head; ++h) {
        const int kv = h / (n_head / n_kv);
        Vector score(t + 1);
        double sum = 0;
        for (size_t j = 0; j <= t; ++j) {
          double s = 0;
          for (int d = 0; d < dim; ++d) {
            s += q[t][static_cast<size_t>(h * dim + d)] * k[j][static_cast<size_t>(kv * dim + d)];
          }
          s /= std::sqrt(static_cast<double>(dim));
          if (mode == StructureMode::emphasis) {
            const auto r = static_cast<size_t>(relation(labels.at(t), labels.at(j)));
            const size_t at = r * static_cast<size_t>(n_head) + static_cast<size_t>(h);
            s = s * (1 + scale[at]) + shift[at];
          }
          if (!paths.empty()) {
            s += tree_bias[tree_class(paths[t], paths[j]) * static_cast<size_t>(n_head) +
                           static_cast<size_t>(h)];
          }
          score[j] = std::exp(s);
          const bool pruning = (heads[static_cast<size_t>(l)] >> h & 1) != 0;
          if (mode == StructureMode::prune && pruning &&
              !visible(labels.at(t), labels.at(j), static_cast<int32_t>(j), rule)) {
            score[j] = 0;
          }
          if (mode == StructureMode::own && pruning) {
            const int32_t apart = std::abs(labels.at(t).place - labels.at(j).place);
            const bool near = apart <= rule.window;
            const bool own = labels.at(t).scope == labels.at(j).scope && apart <= rule.scope_window;
            if (!near && !own && j >= static_cast<size_t>(rule.sinks)) score[j] = 0;
          }
          sum += score[j];
        }
        for (size_t j = 0; j <= t; ++j) {
          for (int d = 0; d < dim; ++d) {
            mixed[static_cast<size_t>(h * dim + d)] +=
                score[j] / sum * v[j][static_cast<size_t>(kv * dim + d)];
          }
        }
      }
      const Vector add = product(wo, b("attn_output"), mixed);
      for (size_t i = 0; i < n_embd; ++i) x[t][i] += add[i];
    }
    const Vector wg = w("ffn_gate"), wu = w("ffn_up"), wd = w("ffn_down");
    for (size_t t = 0; t < n_tokens; ++t) {
      const Vector h = norm(x[t], w("ffn_norm"), eps);
      Vector gate = product(wg, b("ffn_gate"), h);
      const Vector up = product(wu, b("ffn_up"), h);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      const Vector add = product(wd, b("ffn_down"), gate);
      for (size_t i = 0; i < n_embd; ++i) x[t][i] += add[i];
    }
  }
  std::vector<Vector> logits;
  for (size_t t = 0; t < n_tokens; ++t) {
    logits.push_back(product(output, {}, norm(x[t], m.tensor("output_norm.weight"), eps)));
  }
  return logits;
}

}  // namespace cambium::test
