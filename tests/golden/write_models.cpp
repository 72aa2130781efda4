// Writes the models of tests/support/engine/golden_models.h into a folder: write_models FOLDER
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>

#include "tests/support/engine/golden_models.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  doctest::Context context;  // the support code reports by doctest's macros
  context.setAsDefaultForAssertsOutOfTestCases();
  for (const auto& model : cambium::test::golden_models()) {
    const std::string path = std::string(argv[1]) + "/" + model.name + ".gguf";
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(model.bytes.data()),
               static_cast<std::streamsize>(model.bytes.size()));
    if (!file) {
      std::fprintf(stderr, "cannot write %s\n", path.c_str());
      return 1;
    }
    std::printf("%s %s\n", cambium::test::fingerprint(model.bytes).c_str(), path.c_str());
  }
}
