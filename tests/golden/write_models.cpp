// Writes the models of tests/support/engine/golden_models.h and family_models.h into a folder, the
// latter as family_NAME.gguf: write_models FOLDER
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>

#include "tests/support/engine/family_models.h"
#include "tests/support/engine/golden_models.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  doctest::Context context;  // the support code reports by doctest's macros
  context.setAsDefaultForAssertsOutOfTestCases();
  const auto write = [&](const std::string& name, const std::vector<std::byte>& bytes) {
    const std::string path = std::string(argv[1]) + "/" + name + ".gguf";
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    if (!file) std::fprintf(stderr, "cannot write %s\n", path.c_str());
    std::printf("%s %s\n", cambium::test::fingerprint(bytes).c_str(), path.c_str());
    return static_cast<bool>(file);
  };
  bool written = true;
  for (const auto& model : cambium::test::golden_models()) {
    written = write(model.name, model.bytes) && written;
  }
  for (const auto& spec : cambium::test::family_models().specs) {
    written =
        write("family_" + spec["name"].get<std::string>(), cambium::test::family_file(spec)) &&
        written;
  }
  return written ? 0 : 1;
}
