// Planning what a model takes of a device's memory.
#include "engine/device.h"

#include <doctest/doctest.h>

namespace cambium::engine {
namespace {

TEST_CASE("memory plan: the longest context is the longest that fits") {
  struct Case {
    MemoryPlan plan;
    uint64_t free;
    int32_t slots, want;
  };
  const Case cases[] = {{{1000, 500, 10}, 1499, 1, 0},
                        {{1000, 500, 10}, 1500, 1, 0},
                        {{1000, 500, 10}, 1500 + 319, 1, 0},
                        {{1000, 500, 10}, 1500 + 320, 1, 32},
                        {{1000, 500, 10}, 1500 + 6400, 1, 640},
                        {{1000, 500, 10}, 1500 + 6400, 2, 320},
                        {{0, 0, 1}, uint64_t{1} << 40, 1, 1 << 30}};
  for (const Case& c : cases) {
    CAPTURE(c.free);
    const int32_t got = c.plan.longest_context(c.free, c.slots);
    CHECK(got == c.want);
    if (got > 0) CHECK(c.plan.bytes(got, c.slots) <= c.free);
    if (got > 0 && got < 1 << 30) CHECK(c.plan.bytes(got + 32, c.slots) > c.free);
  }
  const MemoryPlan plan{uint64_t{3} << 30, uint64_t{512} << 20, uint64_t{1} << 19};
  CHECK(plan.text(2048, 2) ==
        "3.0 GiB for its weights and 2.0 GiB for 2 slots of 2048 tokens, 512 MiB to work in");
}

}  // namespace
}  // namespace cambium::engine
