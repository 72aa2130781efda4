// cambium_cuda_check: every GPU kernel against its plain twin, then figures at real sizes.
//
//   cambium_cuda_check [--seed N] [--bench[=part of a row's name] [--no-kernels] [--rows=WAY]]
//                      [--no-check | --check=GROUP] [--model FILE --text FILE...]
//
// GROUP: small, matmul, rows, attention, branches, sparse, decode, mixture, families, devices, errors or
// engine; the last needs a model and texts. Only by name: sanitize, a few steps of every fused kernel, small
// enough for compute-sanitizer to end in a minute.
// WAY: whole or ready, how rows go through the steps that are measured; without it by the model's width.
//
// Exit code 0 all good, 1 something failed, 77 no device (ctest shows "skipped").
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "tests/cuda/check.h"

int main(int argc, char** argv) {
  using namespace cambium::engine::cuda;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was found survives a crash
  bool with_check = true, with_bench = false, kernels = true;
  StepRows rows = StepRows::by_width;
  std::string only, group, model;
  std::vector<std::string> texts;
  uint64_t seed = std::random_device{}();
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    if (a == "--no-check") {
      with_check = false;
    } else if (a.starts_with("--check=")) {
      group = a.substr(8);
    } else if (a.starts_with("--bench")) {
      with_bench = true;
      if (a.starts_with("--bench=")) only = a.substr(8);
    } else if (a == "--no-kernels") {
      kernels = false;
    } else if (a == "--rows=whole") {
      rows = StepRows::whole;
    } else if (a == "--rows=ready") {
      rows = StepRows::ready;
    } else if (a == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (a == "--model" && i + 1 < argc) {
      model = argv[++i];
    } else if (a == "--text") {
      while (i + 1 < argc && argv[i + 1][0] != '-') texts.emplace_back(argv[++i]);
    } else {
      std::printf(
          "usage: %s [--seed N] [--bench[=NAME] [--no-kernels] [--rows=whole|ready]] "
          "[--no-check | --check=GROUP] [--model FILE --text FILE...]\n",
          argv[0]);
      return 2;
    }
  }
  auto backend = CudaBackend::create(0);
  if (!backend) {
    std::printf("skipped: %s\n", backend.error().message.c_str());
    return 77;
  }
  CudaBackend& b = **backend;
  std::printf("%s\nseed %llu\n", b.description().c_str(), static_cast<unsigned long long>(seed));
  int failures = 0;
  if (with_check) {
    verify::Random random(seed);
    verify::Report report;
    const auto wanted = [&](std::string_view name) { return group.empty() || group == name; };
    if (wanted("small")) verify::check_elementwise(b, random, report);
    if (wanted("matmul")) verify::check_matmul(b, random, report);
    if (wanted("rows")) verify::check_rows(b, random, report, false);
    if (wanted("attention")) verify::check_attention(b, random, report);
    if (wanted("branches")) verify::check_branches(b, random, report);
    if (wanted("sparse")) {
      verify::check_sparse(b, random, report);
      verify::check_sparse_steps(b, random, report);
    }
    if (wanted("decode")) verify::check_decode(b, random, report);
    if (wanted("mixture")) verify::check_mixture(b, random, report);
    if (wanted("families")) verify::check_families(random, report);
    if (group == "sanitize") verify::check_sanitize(b, random, report);
    if (wanted("devices")) verify::check_devices(random, report);
    if (wanted("errors")) verify::check_errors(b, report);
    if (!model.empty() && wanted("engine")) verify::check_engine(model, texts, random, report);
    report.close();
    failures = report.total();
    std::printf(failures == 0 ? "all checks passed\n" : "%d checks FAILED\n", failures);
  }
  b.set_step_rows(rows);
  if (with_bench) verify::bench(b, only, kernels);
  return failures == 0 ? 0 : 1;
}
