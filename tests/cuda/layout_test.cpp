// The tile layout on the host: what repacking writes, reading gives back. And what a step chooses there.
#include "engine/cuda/layout.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "engine/cpu/quantize.h"
#include "engine/cuda/backend.h"

namespace cambium::engine::cuda {
namespace {

struct Case {
  DType type;
  int64_t rows, cols;
};

constexpr Case kCases[] = {
    {DType::q4_0, 16, 256},  {DType::q4_0, 37, 352}, {DType::q4_1, 5, 96},
    {DType::q5_0, 40, 5504}, {DType::q5_1, 17, 544}, {DType::q8_0, 33, 288},
    {DType::q4_k, 16, 512},  {DType::q4_k, 21, 768}, {DType::q5_k, 18, 512},
    {DType::q6_k, 31, 768},  {DType::q3_k, 20, 512}, {DType::iq4_nl, 19, 160}};

std::vector<uint8_t> random_blocks(const Case& c, std::mt19937& random) {
  std::vector<float> row(static_cast<size_t>(c.cols));
  const size_t stride = row_bytes(c.type, c.cols);
  std::vector<uint8_t> bytes(stride * static_cast<size_t>(c.rows));
  std::normal_distribution<float> normal;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (float& x : row) x = normal(random);
    cpu::quantize_row(c.type, row.data(), bytes.data() + static_cast<size_t>(r) * stride, c.cols);
  }
  return bytes;
}

TEST_CASE("every weight of a repacked matrix is the weight of the file") {
  std::mt19937 random(11);
  for (const Case& c : kCases) {
    CAPTURE(type_traits(c.type)->name);
    TileType tile{};
    REQUIRE(tile_type(c.type, &tile));
    REQUIRE(raw_block_bytes(c.type) == static_cast<int>(type_traits(c.type)->block_bytes));
    const std::vector<uint8_t> raw = random_blocks(c, random);
    const auto stride = static_cast<int64_t>(row_bytes(c.type, c.cols));
    const int64_t row_tiles = ceil_div(c.rows, kTileRows), col_tiles = ceil_div(c.cols, kTileCols);
    const auto bytes = static_cast<size_t>(tile_bytes(tile));
    std::vector<uint8_t> tiles(static_cast<size_t>(row_tiles * col_tiles) * bytes, 0xee);
    const auto at = [&](int64_t rt, int64_t ct) {
      return tiles.data() + static_cast<size_t>(rt * col_tiles + ct) * bytes;
    };
    for (int64_t rt = 0; rt < row_tiles; ++rt)
      for (int64_t ct = 0; ct < col_tiles; ++ct)
        for (int lane = 0; lane < 32; ++lane)
          repack_lane(c.type, tile, raw.data(), stride, c.rows, c.cols, rt, ct, lane, at(rt, ct));
    std::vector<float> want(static_cast<size_t>(col_tiles * kTileCols));
    double worst = 0;
    for (int64_t r = 0; r < row_tiles * kTileRows; ++r) {
      std::fill(want.begin(), want.end(), 0.0f);  // beyond the matrix: zeros
      if (r < c.rows) cpu::dequantize_row(c.type, raw.data() + r * stride, want.data(), c.cols);
      for (int64_t k = 0; k < col_tiles * kTileCols; ++k) {
        const float got =
            tile_weight(tile, at(r / kTileRows, k / kTileCols), static_cast<int>(r % kTileRows),
                        static_cast<int>(k % kTileCols));
        worst = std::max(worst, static_cast<double>(std::fabs(got - want[static_cast<size_t>(k)])));
        // Four at once are the same four.
        const int row = static_cast<int>(r % kTileRows), column = static_cast<int>(k % kTileCols);
        const uint8_t* in = at(r / kTileRows, k / kTileCols);
        const uint32_t byte = tile_word(tile, in, row, column / 4 * 4) >> column % 4 * 8 & 255u;
        const int value =
            tile == TileType::q8_0 ? static_cast<int8_t>(byte) : static_cast<int>(byte);
        if (value != tile_value(tile, in, row, column)) worst = 1;
      }
    }
    CHECK(worst < 1e-5);
  }
}

TEST_CASE("a lane's words are the tensor core's A operand") {
  // Row g or g + 8, four neighbouring columns from 4t, the second pair of words 16 columns on.
  std::set<std::pair<int, int>> seen;
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      for (int byte = 0; byte < 4; ++byte) {
        int row, k;
        lane_place(lane, i, byte, &row, &k);
        CHECK(row == lane / 4 + (i % 2 == 1 ? 8 : 0));
        CHECK(k == lane % 4 * 4 + byte + (i >= 2 ? 16 : 0));
        seen.insert({row, k});
      }
  CHECK(seen.size() == 16 * 32);
}

TEST_CASE("tiles take what GGUF takes") {
  CHECK(tile_bytes(TileType::q4_k) == 16 * 144);
  CHECK(tile_bytes(TileType::q5_k) == 16 * 176);
  CHECK(tile_bytes(TileType::q6_k) == 16 * 210);
  CHECK(tile_bytes(TileType::q8_0) == 16 * 8 * 34);
  CHECK(tile_bytes(TileType::q4_0) == 16 * 8 * 18);
  CHECK(tile_bytes(TileType::q4_1) == 16 * 8 * 20);
  CHECK(tile_bytes(TileType::q5_0) == 16 * 8 * 22);
  CHECK(tile_bytes(TileType::q5_1) == 16 * 8 * 24);
}

TEST_CASE(
    "rows leave their kernels ready where a row of the model has more tiles than multiprocessors") {
  constexpr int kH200 = 132;
  CHECK(rows_leave_ready(StepRows::by_width, 4096, kH200));        // 6.7B, R1-Distill-Llama-8B
  CHECK_FALSE(rows_leave_ready(StepRows::by_width, 2048, kH200));  // 1.3B, V2-Lite
  CHECK_FALSE(rows_leave_ready(StepRows::by_width, 16 * kH200, kH200));
  CHECK_FALSE(rows_leave_ready(StepRows::by_width, 16 * kH200 + 8, kH200));
  CHECK(rows_leave_ready(StepRows::by_width, 16 * (kH200 + 1), kH200));
  CHECK(rows_leave_ready(StepRows::by_width, 2048, 82));
  CHECK(rows_leave_ready(StepRows::ready, 64, kH200));
  CHECK_FALSE(rows_leave_ready(StepRows::whole, 8192, kH200));
}

}  // namespace
}  // namespace cambium::engine::cuda
