#include "engine/cpu/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <numeric>
#include <vector>

namespace cambium::engine::cpu {
namespace {

TEST_CASE("thread pool: every index runs exactly once, whatever the sizes") {
  for (int threads = 1; threads <= 4; ++threads) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const int64_t n : {0, 1, 2, 3, 17, 1000}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
      std::atomic<bool> strange_thread = false;
      pool.run(n, [&](int64_t i, int thread) {
        hits[static_cast<size_t>(i)].fetch_add(1);
        if (thread < 0 || thread >= threads) strange_thread = true;
      });
      CHECK(!strange_thread);
      for (const auto& h : hits) CHECK(h.load() == 1);
    }
  }
}

TEST_CASE("thread pool: a job sees what the one before wrote, over many short jobs") {
  // Fork-join after fork-join, as the ops of a decode step: each reads its neighbours' last values.
  ThreadPool pool(3);
  std::vector<int64_t> a(64, 1), b(64, 0);
  for (int round = 0; round < 5000; ++round) {
    pool.run(64, [&](int64_t i, int) {
      const auto at = static_cast<size_t>(i);
      b[at] = (a[at] + a[(at + 1) % 64]) % 1000003;
    });
    a.swap(b);
  }
  std::vector<int64_t> c(64, 1), d(64, 0);
  for (int round = 0; round < 5000; ++round) {
    for (size_t i = 0; i < 64; ++i) d[i] = (c[i] + c[(i + 1) % 64]) % 1000003;
    c.swap(d);
  }
  CHECK(a == c);
}

TEST_CASE("thread pool: the caller finishes a job although no worker comes") {
  // More threads than cores: most workers sleep or wait for a core, and must not be waited for.
  ThreadPool pool(16);
  int64_t total = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> out(8);
    pool.run(8, [&](int64_t i, int) { out[static_cast<size_t>(i)] = i + round; });
    total += std::accumulate(out.begin(), out.end(), int64_t{0});
  }
  CHECK(total == 200 * 28 + 8 * (199 * 200 / 2));
}

TEST_CASE("thread pool: at least one core") { CHECK(physical_cores() >= 1); }

}  // namespace
}  // namespace cambium::engine::cpu
