// Block-sparse attention: which blocks the device chooses, and what it makes of them, against the
// plain twin.
#include <algorithm>
#include <cstring>

#include "engine/cpu/half.h"
#include "engine/cpu/reference.h"
#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {
namespace {

using Lists = std::vector<std::vector<int32_t>>;  // [n_tokens, n_kv_head]; an empty one: all blocks

struct Case {
  int32_t head_dim_k, head_dim_v, n_kv_head, group;
  DType type;
  SparseRule rule;
};

/// A cache with what it holds.
struct Cells {
  const Case& c;
  std::unique_ptr<KvStore> kv;
  std::vector<float> k, v;  ///< as stored
};
constexpr int32_t kLayer = 1;

/// What a device's cache of that type holds of `v`, to the bit.
std::vector<float> as_stored(std::vector<float> v, DType type) {
  const auto half = [](float x) { return cpu::half_to_float(cpu::float_to_half(x)); };
  if (type == DType::f16) {
    for (float& x : v) x = half(x);
    return v;
  }
  for (size_t at = 0; at < v.size(); at += 32) {
    const auto block = std::span(v).subspan(at, 32);
    float largest = 0;
    for (const float x : block) largest = std::max(largest, std::abs(x));
    const float scale = half(largest / 127.0f);
    for (float& x : block)
      x = scale > 0 ? scale * std::clamp(std::nearbyint(x / scale), -127.0f, 127.0f) : 0.0f;
  }
  return v;
}

size_t key_row(const Case& c) { return static_cast<size_t>(c.n_kv_head * c.head_dim_k); }
size_t value_row(const Case& c) { return static_cast<size_t>(c.n_kv_head * c.head_dim_v); }

/// Fresh keys and values in cells [first, end).
void write(CudaBackend& b, Random& random, Cells& cells, int32_t first, int32_t end) {
  const Case& c = cells.c;
  const auto n = static_cast<size_t>(end - first), from = static_cast<size_t>(first);
  const std::vector<float> k = random.normal(n * key_row(c)), v = random.normal(n * value_row(c));
  const Floats dk(b, k), dv(b, v);
  b.kv_write(*cells.kv, kLayer, first, end - first, dk.data(), dv.data());
  const auto keep = [&](std::vector<float>& all, const std::vector<float>& some, size_t row) {
    all.resize((from + n) * row);
    const std::vector<float> stored = as_stored(some, c.type);
    std::copy(stored.begin(), stored.end(), all.begin() + static_cast<std::ptrdiff_t>(from * row));
  };
  keep(cells.k, k, key_row(c));
  keep(cells.v, v, value_row(c));
}

/// What the device chooses for the queries of `args`, from a workspace full of rubbish.
Lists chosen(CudaBackend& b, Report& report, const AttentionArgs& args, CudaKv& kv) {
  report.expect_value(kv.reserve_means(b.counter()), "means");
  const SparseSpace space(args.sparse, kv.shape, args.n_head, args.n_tokens);
  const Floats memory(b, static_cast<size_t>(space.bytes) / sizeof(float));
  AttentionKernelArgs a;
  a.q = args.q;
  a.kv = kv.layer(args.layer);
  a.n_tokens = args.n_tokens;
  a.n_head = args.n_head;
  a.first_cell = {nullptr, args.first_cell};
  a.scale = args.scale;
  a.sparse = space.args(args.sparse, kv, args.layer, memory.data());
  report.expect(choose_blocks(b.launch(), a) == cudaSuccess, "choosing");
  std::vector<uint32_t> blocks(static_cast<size_t>(space.bytes - space.score_bytes) / 4);
  report.expect_value(b.download(blocks.data(), a.sparse.blocks, blocks.size() * 4), "the lists");
  Lists lists;
  for (int32_t t = 0; t < args.n_tokens; ++t)
    for (int32_t h = 0; h < kv.shape.n_kv_head; ++h) {
      const SparseRange range = sparse_range(args.sparse, args.first_cell + t, kKeyBlock);
      const auto* from = blocks.data() + (t * kv.shape.n_kv_head + h) * space.capacity;
      const bool fits = range.n_read() <= space.capacity;
      report.expect(range.best == 0 || fits, "room in the list");
      lists.emplace_back();
      if (range.best > 0 && fits) lists.back().assign(from, from + range.n_read());
    }
  return lists;
}

/// Each list in ascending order, sinks and window whole, and of the others those with the largest
/// shares; where the twin chooses otherwise, the shares must lie within rounding.
void judge(Report& report, const AttentionArgs& plain, const Cells& cells, const Lists& lists,
           const std::string& label, int64_t& swapped) {
  const Case& c = cells.c;
  for (int32_t t = 0; t < plain.n_tokens; ++t)
    for (int32_t h = 0; h < c.n_kv_head; ++h) {
      const SparseRange range = sparse_range(plain.sparse, plain.first_cell + t, kKeyBlock);
      const std::vector<int32_t>& list = lists[static_cast<size_t>(t * c.n_kv_head + h)];
      const std::vector<double> shares =
          cpu::reference::sparse_shares(plain, cells.kv->shape, cells.k.data(), t, h);
      report.expect(shares.empty() == (range.best == 0), label + " leaves out");
      if (range.best == 0) continue;
      std::vector<bool> read(static_cast<size_t>(range.end), false);
      bool rises = true;
      for (size_t i = 0; i < list.size(); ++i) {
        rises = rises && list[i] >= 0 && list[i] < range.end && (i == 0 || list[i - 1] < list[i]);
        if (rises) read[static_cast<size_t>(list[i])] = true;
      }
      report.expect(rises, label + " order");
      if (!rises) continue;
      int32_t picked = 0;
      bool ends = true;
      double least = INFINITY, missed = 0;
      for (int32_t block = 0; block < range.end; ++block) {
        const bool is = read[static_cast<size_t>(block)];
        if (block < range.first || block >= range.last) {
          ends = ends && is;
          continue;
        }
        const double share = shares[static_cast<size_t>(block - range.first)];
        picked += is ? 1 : 0;
        if (is) least = std::min(least, share);
        if (!is) missed = std::max(missed, share);
      }
      report.expect(ends, label + " sinks and window");
      report.expect(picked == range.best, label + " number chosen");
      if (missed > least) ++swapped;
      report.expect(std::max(0.0, missed / least - 1), 1e-4, label + " chosen before better ones");
    }
}

void check_case(CudaBackend& b, Random& random, Report& report, const Case& c, int32_t first,
                int32_t n, int64_t& swapped) {
  const int32_t n_head = c.n_kv_head * c.group, total = first + n;
  const KvShape shape{2, c.n_kv_head, c.head_dim_k, c.head_dim_v, total + 37, c.type};
  auto made = b.create_kv(shape);
  if (!report.expect_value(made, "create_kv")) return;
  Cells cells{c, std::move(*made), {}, {}};
  auto& kv = static_cast<CudaKv&>(*cells.kv);
  write(b, random, cells, 0, total + 37);  // an earlier sequence, also past the end
  write(b, random, cells, 0, total);
  const std::vector<float> q = random.normal(static_cast<size_t>(n * n_head * c.head_dim_k), 3.0f);
  const auto out_size = static_cast<size_t>(n * n_head * c.head_dim_v);
  const Floats dq(b, q);
  AttentionArgs args;
  args.q = dq.data();
  args.kv = &kv;
  args.layer = kLayer;
  args.n_tokens = n;
  args.first_cell = first;
  args.n_head = n_head;
  args.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim_k));
  args.sparse = c.rule;
  const auto attend = [&](AttentionArgs a) {
    const Floats out(b, static_cast<size_t>(a.n_tokens * n_head * c.head_dim_v));
    a.out = out.data();
    b.attention(a);
    return out.read(b, report);
  };
  const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  };
  const std::string label = std::to_string(c.head_dim_k) + "/" + std::to_string(c.head_dim_v) +
                            " x" + std::to_string(n_head) + "/" + std::to_string(c.n_kv_head) +
                            " first " + std::to_string(first) + " n " + std::to_string(n) +
                            (c.type == DType::f16 ? " F16" : " Q8_0");
  // As written at first, with what is kept from that, and after a part was written anew.
  std::vector<float> got;
  for (const int32_t from : {0, 1, total * 2 / 5}) {
    if (from > 1) write(b, random, cells, from, total);
    std::vector<float> want(out_size);
    AttentionArgs plain = args;
    plain.q = q.data();
    plain.out = want.data();
    const Lists lists = chosen(b, report, args, kv);
    judge(report, plain, cells, lists, label + " after " + std::to_string(from), swapped);
    cpu::reference::attention(plain, shape, cells.k.data(), cells.v.data(), &lists);
    const std::vector<float> before = got;
    got = attend(args);
    report.expect(relative_error(got, want), c.type == DType::f16 ? 3e-3 : 5e-3, label);
    if (from == 1) report.expect(same(before, got), label + " differs with means that were kept");
    report.expect(kv.means_from(kLayer) == sparse_range(c.rule, total - 1, kKeyBlock).last,
                  label + " means kept");
  }
  std::vector<float> alone;
  for (int32_t i = 0; i < n; ++i) {
    AttentionArgs single = args;
    single.q = args.q + i * n_head * c.head_dim_k;
    single.n_tokens = 1;
    single.first_cell = first + i;
    const std::vector<float> row = attend(single);
    alone.insert(alone.end(), row.begin(), row.end());
  }
  report.expect(same(alone, got), label + " differs token by token");
  AttentionArgs other = args;
  other.sparse = {};
  const std::vector<float> dense = attend(other);
  report.expect(relative_error(got, dense) > 1e-2, label + " leaves nothing out");
  for (const SparseRule& rule :
       {SparseRule{.from = total}, SparseRule{.from = 1, .window = total}}) {
    other.sparse = rule;
    report.expect(same(attend(other), dense), label + " differs where nothing is left out");
  }
}

}  // namespace

void check_sparse(CudaBackend& b, Random& random, Report& report) {
  report.group("sparse attention");
  constexpr Case kCases[] = {
      {128, 128, 2, 4, DType::f16, {.from = 512, .sinks = 32, .window = 64}},
      {128, 128, 1, 1, DType::f16, {.from = 2399, .sinks = 1, .window = 0}},
      {64, 64, 2, 7, DType::f16, {.from = 1, .sinks = 0, .window = 77}},
      {64, 64, 1, 20, DType::f16, {.from = 1, .sinks = 64, .window = 31}},
      {192, 128, 2, 1, DType::f16, {.from = 1, .sinks = 33, .window = 128}},
      {80, 80, 2, 3, DType::f16, {.from = 1, .sinks = 32, .window = 64}},
      {128, 128, 2, 4, DType::q8_0, {.from = 1, .sinks = 5, .window = 65}},
      {96, 96, 2, 2, DType::q8_0, {.from = 2402, .sinks = 32, .window = 64}}};
  struct Span {
    int32_t first, n;
  };
  int64_t swapped = 0;
  for (const Case& c : kCases)
    for (const Span& s : {Span{2404, 1}, Span{2399, 5}, Span{2397, 8}})
      check_case(b, random, report, c, s.first, s.n, swapped);
  // More blocks than the threads that choose among them.
  check_case(b, random, report, {64, 64, 1, 2, DType::f16, {.from = 1, .sinks = 32, .window = 96}},
             40003, 1, swapped);
  std::printf("  %lld lists differ from the twin's, within rounding\n",
              static_cast<long long>(swapped));

  report.group("sparse attention, equal keys");
  // Every block is worth the same: the earlier ones are taken.
  const Case c{64, 64, 1, 2, DType::f16, {.from = 1, .sinks = 32, .window = 32}};
  constexpr int32_t kCells = 2000;
  auto kv = b.create_kv({2, 1, 64, 64, kCells, DType::f16});
  if (!report.expect_value(kv, "create_kv")) return;
  const std::vector<float> ones(static_cast<size_t>(kCells) * 64, 1.0f), q = random.normal(128);
  const Floats keys(b, ones), queries(b, q);
  b.kv_write(**kv, kLayer, 0, kCells, keys.data(), keys.data());
  AttentionArgs args;
  args.q = queries.data();
  args.layer = kLayer;
  args.n_tokens = 1;
  args.first_cell = kCells - 1;
  args.n_head = 2;
  args.scale = 0.125f;
  args.sparse = c.rule;
  const Lists lists = chosen(b, report, args, static_cast<CudaKv&>(**kv));
  const SparseRange range = sparse_range(c.rule, kCells - 1, kKeyBlock);
  for (int32_t i = 0; i < range.first + range.best; ++i)
    report.expect(lists[0][static_cast<size_t>(i)] == i, "of equals the earlier");
}

}  // namespace cambium::engine::cuda::verify
