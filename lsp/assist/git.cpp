#include "lsp/assist/git.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>

namespace cambium::assist {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostOutput = size_t{8} << 20;
constexpr std::chrono::seconds kMostTime{5};

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) == 0) read = ends[0], write = ends[1];
  }
  ~Pipe() {
    close(read);
    close(write);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  static void close(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
};

/// The caller's surroundings, less what points git elsewhere, plus what keeps it quiet and offline.
std::vector<std::string> environment() {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    if (!variable.starts_with("GIT_")) out.emplace_back(variable);
  }
  for (const char* fixed : {"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_ALLOW_PROTOCOL=",
                            "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "LC_ALL=C"}) {
    out.emplace_back(fixed);
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// All that comes through the pipe; an error after kMostTime or kMostOutput.
Result<std::string> drain(int from) {
  const auto deadline = std::chrono::steady_clock::now() + kMostTime;
  std::string out;
  std::array<char, 65536> buffer;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd waiting{from, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(ErrorCode::unavailable, "git took longer than 5 seconds");
    const ssize_t n = ::read(from, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return out;
    out.append(buffer.data(), static_cast<size_t>(n));
    if (out.size() > kMostOutput) {
      return fail(ErrorCode::unsupported, "git printed more than 8 MiB");
    }
  }
}

Result<std::string> run_git(const std::string& folder, std::vector<std::string> arguments) {
  std::vector<std::string> command = {"git",  "-C",
                                      folder, "--no-pager",
                                      "-c",   "core.fsmonitor=false",
                                      "-c",   "core.untrackedCache=false"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = environment();
  Pipe pipe;
  if (pipe.read < 0) return fail(ErrorCode::io, "no pipe to git could be made");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe.write, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  const int failed = ::posix_spawnp(&child, "git", &actions, nullptr, pointers(command).data(),
                                    pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return fail(ErrorCode::not_found, "git could not be started; is it installed?");
  Pipe::close(pipe.write);
  auto out = drain(pipe.read);
  if (!out) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!out) return out;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return fail(ErrorCode::not_found,
                "git " + arguments.front() + " in " + folder +
                    ": no repository, or it does not hold what was asked for");
  }
  return out;
}

Result<void> check_revision(const std::string& revision) {
  if (!revision.empty() && revision.front() != '-' && revision.find('\0') == revision.npos)
    return {};
  return fail(ErrorCode::invalid_argument,
              "expected a git revision such as HEAD or main, got '" + revision + "'");
}

std::vector<std::string> split_at_zero(std::string_view text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\0', at), text.size());
    if (end > at) parts.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

}  // namespace

Result<std::string> text_in_revision(const std::string& path, const std::string& revision) {
  if (auto good = check_revision(revision); !good) return tl::unexpected(good.error());
  std::error_code ignored;
  const fs::path file = fs::absolute(path, ignored);
  return run_git(file.parent_path().string(),
                 {"cat-file", "blob", revision + ":./" + file.filename().string()});
}

Result<std::vector<std::string>> files_changed_since(const std::string& folder,
                                                     const std::string& revision) {
  if (auto good = check_revision(revision); !good) return tl::unexpected(good.error());
  auto top = run_git(folder, {"rev-parse", "--show-toplevel"});
  if (!top) return tl::unexpected(top.error());
  while (!top->empty() && top->back() == '\n') top->pop_back();
  auto changed =
      run_git(*top, {"diff", "--name-only", "-z", "--no-ext-diff", "--no-textconv", "--no-renames",
                     "--diff-filter=d", "--end-of-options", revision, "--"});
  if (!changed) return tl::unexpected(changed.error());
  auto fresh = run_git(*top, {"ls-files", "-z", "--others", "--exclude-standard"});
  if (!fresh) return tl::unexpected(fresh.error());
  std::vector<std::string> files = split_at_zero(*changed);
  for (std::string& name : split_at_zero(*fresh)) files.push_back(std::move(name));
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  for (std::string& name : files) name.insert(0, *top + "/");
  return files;
}

}  // namespace cambium::assist
