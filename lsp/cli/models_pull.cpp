#include "lsp/cli/models_pull.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <ostream>

#include "engine/remote/download.h"
#include "lsp/cli/verbs.h"
#include "lsp/environment.h"

namespace cambium::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Flags {
  std::string url, to, sha256;
  bool json = false;  ///< for programs: a line of JSON a few times a second, and one at the end
};

constexpr std::chrono::milliseconds kBetween{200};  ///< two drawings of the progress

/// One line that is drawn over again, a few times a second.
class ProgressBar {
 public:
  ProgressBar(std::ostream& out, bool shown) : out_(out), shown_(shown) {}
  ~ProgressBar() { clear(); }

  void show(uint64_t done, uint64_t whole) {
    const auto now = Clock::now();
    if (!shown_ || (drawn_ && now - last_ < kBetween)) return;
    if (!drawn_) {
      start_ = now;
      first_ = done;
    }
    drawn_ = true;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double rate = seconds > 0.5 ? static_cast<double>(done - first_) / seconds : 0;
    std::string line = bytes_text(done);
    if (whole > 0) {
      constexpr uint64_t kWidth = 30;
      const uint64_t filled = std::min(kWidth, done * kWidth / whole);
      line = fmt::format("{:>3} % [{:<{}}] {} of {}", done * 100 / whole, std::string(filled, '='),
                         kWidth, line, bytes_text(whole));
    }
    if (rate > 0) line += ", " + bytes_text(static_cast<uint64_t>(rate)) + "/s";
    if (rate > 0 && whole > done) {
      line += fmt::format(", {:.0f} s left", static_cast<double>(whole - done) / rate);
    }
    out_ << "\r\x1b[K" << line << std::flush;
  }
  void clear() {
    if (drawn_) out_ << "\r\x1b[K" << std::flush;
    drawn_ = false;
  }

 private:
  std::ostream& out_;
  const bool shown_;
  bool drawn_ = false;
  Clock::time_point start_, last_;
  uint64_t first_ = 0;
};

/// FILE, a file in a folder, or in the user's folder of models; its name is the URL's.
Result<fs::path> target(const Flags& flags) {
  auto url = engine::parse_url(flags.url);
  if (!url) return tl::unexpected(url.error());
  const std::string path = url->target.substr(0, url->target.find('?'));
  const std::string name = path.substr(path.rfind('/') + 1);
  std::error_code error;
  if (!flags.to.empty() && !fs::is_directory(flags.to, error)) return fs::path(flags.to);
  if (name.empty() || name == "..") {
    return cambium::fail(ErrorCode::invalid_argument,
                         flags.url + ": names no file; say where it goes with --to FILE");
  }
  const fs::path folder = flags.to.empty() ? user_models_folder() : fs::path(flags.to);
  if (folder.empty()) {
    return cambium::fail(ErrorCode::not_found,
                         "there is no home folder; say where the file goes "
                         "with --to FILE");
  }
  fs::create_directories(folder, error);
  if (error) return cambium::fail(ErrorCode::io, folder.string() + ": " + error.message());
  return folder / name;
}

int pull(Run& run, const Flags& flags) {
  const auto path = target(flags);
  if (!path) return run.fail(path.error());
  std::error_code ignored;
  if (fs::exists(*path, ignored)) {
    return run.fail({ErrorCode::invalid_argument,
                     path->string() + ": is there already; check it with 'cambium models verify' "
                                      "or remove it first"});
  }
  engine::DownloadOptions options;
  options.url = flags.url;
  options.path = path->string();
  options.sha256 = flags.sha256;
  options.http.proxy = environment_proxies();
  const bool terminal = &run.err == &std::cerr && isatty(STDERR_FILENO) == 1;
  const auto bar = std::make_shared<ProgressBar>(run.err, terminal);
  options.on_progress = [bar](uint64_t done, uint64_t whole) { bar->show(done, whole); };
  if (flags.json) {
    options.on_progress = [&run, last = Clock::time_point()](uint64_t done,
                                                             uint64_t whole) mutable {
      const auto now = Clock::now();
      if (now - last < kBetween) return;
      last = now;
      run.out << nlohmann::json{{"done", done}, {"whole", whole}}.dump() << '\n' << std::flush;
    };
  }
  const auto pulled = engine::download(options);
  bar->clear();
  if (!pulled) return run.fail(pulled.error());
  if (flags.json) {
    run.out << nlohmann::json{{"path", path->string()},
                              {"bytes", pulled->bytes},
                              {"sha256", pulled->sha256},
                              {"checked", pulled->checked}}
                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
            << '\n';
    return run.exit;
  }
  run.out << path->string() << ": " << bytes_text(pulled->bytes);
  if (pulled->resumed_at > 0) run.out << ", resumed at " << bytes_text(pulled->resumed_at);
  run.out << "\nSHA-256 " << pulled->sha256
          << (pulled->checked ? ", as expected\n" : ", not compared with any: none was given\n");
  return run.exit;
}

}  // namespace

void add_pull(CLI::App& models, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = models.add_subcommand(
      "pull", "Fetch a model file; goes on where an earlier try stopped, and checks its SHA-256");
  verb->add_option("URL", flags->url)->required();
  verb->add_option("--to", flags->to,
                   "File or folder it goes to; default: the user's folder of models");
  verb->add_option("--sha256", flags->sha256, "The sum the file must have");
  verb->add_flag("--json", flags->json, "Progress and result as lines of JSON");
  verb->callback([&run, flags] { run.exit = pull(run, *flags); });
}

}  // namespace cambium::cli
