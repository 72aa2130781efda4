// Attention with and without the parent mask, against the plain twin.
#include <cstring>

#include "engine/cpu/half.h"
#include "engine/cpu/quantize.h"
#include "engine/cpu/reference.h"
#include "tests/cuda/check.h"

namespace cambium::engine::cuda::verify {
namespace {

/// Labels of a random tree, in fill-in-the-middle order: prefix, suffix, middle at the cursor's
/// place.
TokenStructure random_structure(Random& random, int32_t n) {
  struct Scope {
    int32_t number, last, next;
  };
  std::vector<Scope> open = {{0, 1 << 30, 1}};
  TokenStructure s;
  const int32_t prefix = n / 2, suffix = n / 3;
  for (int32_t i = 0; i < n; ++i) {
    const int32_t roll = random.below(12);
    Scope& parent = open.back();
    if (roll == 0 && open.size() < 6 && parent.last - parent.next > 8) {
      const int32_t number = parent.next, last = number + (parent.last - number) / 8;
      parent.next = last + 1;
      open.push_back({number, last, number + 1});
    } else if (roll == 1 && open.size() > 1) {
      open.pop_back();
    }
    const int32_t place = i < prefix ? i : i < prefix + suffix ? i : prefix;
    s.push_back({open.back().number, open.back().last, place});
  }
  return s;
}

struct Case {
  int32_t head_dim_k, head_dim_v, n_kv_head, group;
  DType type;
};

std::vector<float> as_stored(std::vector<float> v, DType type) {
  if (type == DType::f16) {
    for (float& x : v) x = cpu::half_to_float(cpu::float_to_half(x));
    return v;
  }
  std::vector<std::byte> q(row_bytes(DType::q8_0, static_cast<int64_t>(v.size())));
  cpu::quantize_row(DType::q8_0, v.data(), q.data(), static_cast<int64_t>(v.size()));
  cpu::dequantize_row(DType::q8_0, q.data(), v.data(), static_cast<int64_t>(v.size()));
  return v;
}

/// Branches behind a sequence, some of which leave another; in longer passes queries of the sequence itself
/// come first.
std::vector<HiddenCells> random_hidden(Random& random, int32_t first, int32_t n) {
  std::vector<HiddenCells> hidden(static_cast<size_t>(n));
  int32_t root_at = 0, root_begin = -1, root_end = 0;
  for (int32_t t = n > 8 ? n / 4 : 0; t < n;) {
    const int32_t begin = first + t, length = std::min(n - t, 1 + random.below(70));
    HiddenCells own;
    if (root_begin >= 0 && random.below(2) == 0) {
      own.ranges[0] = {root_at, root_begin};
      own.ranges[1] = {root_begin + random.below(root_end - root_begin + 1), begin};
    } else {
      root_at = random.below(begin + 1);
      root_begin = begin;
      root_end = begin + length;
      own.ranges[0] = {root_at, begin};
    }
    for (int32_t i = 0; i < length; ++i) hidden[static_cast<size_t>(t++)] = own;
  }
  return hidden;
}

void check_case(CudaBackend& b, Random& random, Report& report, const Case& c, int32_t first,
                int32_t n, StructureMode mode, bool hides) {
  const int32_t n_head = c.n_kv_head * c.group, total = first + n, layer = 1;
  const KvShape shape{2, c.n_kv_head, c.head_dim_k, c.head_dim_v, total + 37, c.type};
  auto kv = b.create_kv(shape);
  if (!report.expect_value(kv, "create_kv")) return;
  const auto k_row = static_cast<size_t>(c.n_kv_head * c.head_dim_k);
  const auto v_row = static_cast<size_t>(c.n_kv_head * c.head_dim_v);
  const std::vector<float> k = random.normal(static_cast<size_t>(total) * k_row);
  const std::vector<float> v = random.normal(static_cast<size_t>(total) * v_row);
  {
    // Cells of an earlier sequence, also past the end.
    const auto cells = static_cast<size_t>(total + 37);
    const std::vector<float> old_k(cells * k_row, 50.0f), old_v(cells * v_row, -300.0f);
    Floats dk(b, old_k), dv(b, old_v);
    b.kv_write(**kv, layer, 0, total + 37, dk.data(), dv.data());
    report.expect_value(b.synchronize(), "kv_write");
  }
  Floats dk(b, k), dv(b, v);
  if (first > 0) b.kv_write(**kv, layer, 0, first, dk.data(), dv.data());
  b.kv_write(**kv, layer, first, n, dk.data() + static_cast<size_t>(first) * k_row,
             dv.data() + static_cast<size_t>(first) * v_row);

  const std::vector<float> q = random.normal(static_cast<size_t>(n * n_head * c.head_dim_k));
  const auto out_size = static_cast<size_t>(n * n_head * c.head_dim_v);
  const std::vector<float> alpha = random.normal(3 * static_cast<size_t>(n_head), 0.4f);
  const std::vector<float> beta = random.normal(3 * static_cast<size_t>(n_head), 0.8f);
  const TokenStructure cells = random_structure(random, total);
  Floats dq(b, q), out(b, out_size);
  AttentionArgs args;
  args.q = dq.data();
  args.out = out.data();
  args.kv = kv->get();
  args.layer = layer;
  args.n_tokens = n;
  args.first_cell = first;
  args.n_head = n_head;
  args.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim_k));
  args.mode = mode;
  args.cells = &cells;
  args.prune = {random.below(2) == 0 ? 12 : 40, random.below(5)};
  if (random.below(2) == 0) args.prune.scope_window = 20 + random.below(100);
  const bool some_heads = mode == StructureMode::prune && random.below(2) == 0;
  if (some_heads) args.prune_heads = 0x5555555555555555ull;
  args.emphasis_scale = alpha.data();
  args.emphasis_bias = beta.data();
  VisibleBlocks visible;
  const bool listed = mode == StructureMode::prune && random.below(4) != 0;
  if (listed) {
    visible = visible_blocks(cells, first, n, args.prune, b.query_tile(n), b.key_block());
    args.visible = &visible;
  }
  std::vector<HiddenCells> hidden;
  if (hides) {
    hidden = random_hidden(random, first, n);
    args.hidden = hidden.data();
  }
  b.attention(args);

  std::vector<float> want(out_size);
  AttentionArgs plain = args;
  plain.q = q.data();
  plain.out = want.data();
  const std::vector<float> stored_k = as_stored(k, c.type), stored_v = as_stored(v, c.type);
  cpu::reference::attention(plain, shape, stored_k.data(), stored_v.data());
  const std::string label = std::to_string(c.head_dim_k) + "/" + std::to_string(c.head_dim_v) +
                            " x" + std::to_string(n_head) + "/" + std::to_string(c.n_kv_head) +
                            " first " + std::to_string(first) + " n " + std::to_string(n) +
                            (c.type == DType::f16 ? " F16" : " Q8_0") + " mode " +
                            std::to_string(static_cast<int>(mode)) + (listed ? " listed" : "") +
                            (some_heads ? " some heads" : "") + (hides ? " hidden" : "");
  const std::vector<float> got = out.read(b, report);
  report.expect(relative_error(got, want), c.type == DType::f16 ? 3e-3 : 1e-2, label);

  if (n > 8) return;
  // Token by token: the same bits.
  std::vector<float> alone(out_size);
  for (int32_t i = 0; i < n; ++i) {
    Floats one(b, out_size / static_cast<size_t>(n));
    AttentionArgs single = args;
    single.q = args.q + i * n_head * c.head_dim_k;
    single.out = one.data();
    single.n_tokens = 1;
    single.first_cell = first + i;
    if (hides) single.hidden = hidden.data() + i;
    VisibleBlocks own;
    if (listed) {
      own = visible_blocks(cells, first + i, 1, args.prune, b.query_tile(1), b.key_block());
      single.visible = &own;
    }
    b.attention(single);
    const std::vector<float> row = one.read(b, report);
    std::copy(
        row.begin(), row.end(),
        alone.begin() + static_cast<std::ptrdiff_t>(i) * static_cast<std::ptrdiff_t>(row.size()));
  }
  report.expect(std::memcmp(alone.data(), got.data(), out_size * sizeof(float)) == 0,
                label + " differs token by token");
}

void check_cases(CudaBackend& b, Random& random, Report& report, bool hides) {
  constexpr Case kCases[] = {{128, 128, 4, 1, DType::f16}, {64, 64, 3, 1, DType::f16},
                             {128, 128, 2, 4, DType::f16}, {64, 64, 2, 7, DType::f16},
                             {192, 128, 2, 1, DType::f16}, {80, 80, 2, 3, DType::f16},
                             {64, 64, 1, 20, DType::f16},  {128, 128, 2, 4, DType::q8_0},
                             {64, 64, 3, 1, DType::q8_0},  {96, 96, 2, 2, DType::q8_0}};
  struct Span {
    int32_t first, n;
  };
  constexpr Span kSpans[] = {{0, 1},  {31, 1},   {700, 1}, {0, 8},     {61, 8}, {500, 3},
                             {0, 13}, {100, 40}, {0, 300}, {333, 150}, {5, 65}};
  for (const StructureMode mode :
       {StructureMode::off, StructureMode::emphasis, StructureMode::prune}) {
    report.group((hides ? "branches: attention mode " : "attention mode ") +
                 std::to_string(static_cast<int>(mode)));
    for (const Case& c : kCases)
      for (const Span& s : kSpans) check_case(b, random, report, c, s.first, s.n, mode, hides);
  }
}

}  // namespace

void check_attention(CudaBackend& b, Random& random, Report& report) {
  check_cases(b, random, report, false);
}

void check_hidden(CudaBackend& b, Random& random, Report& report) {
  check_cases(b, random, report, true);
}

}  // namespace cambium::engine::cuda::verify
