#include "tests/benchmarks/peer.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "framework/device.h"

namespace attune::bench {

std::vector<std::string> tuned_environment() {
  return {"OMP_NUM_THREADS=" + std::to_string(num_threads()), "MKL_NUM_THREADS=" + std::to_string(num_threads()),
          "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=17179869184:"
          "glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456"};
}

Peer::Peer(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  int request[2];
  int answer[2];
  // Closed on exec, or a later peer would hold this one's pipe open and it would never see the end of its input.
  if (pipe2(request, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0) return;
  std::signal(SIGPIPE, SIG_IGN);
  process_ = fork();
  if (process_ == 0) {
    dup2(request[0], STDIN_FILENO);
    dup2(answer[1], STDOUT_FILENO);
    if (const int silent = open("/dev/null", O_WRONLY); silent >= 0) dup2(silent, STDERR_FILENO);
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("OPENBLAS_L2_SIZE");
    for (const std::string& entry : environment) putenv(const_cast<char*>(entry.c_str()));
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(request[0]);
  close(answer[1]);
  to_ = fdopen(request[1], "w");
  from_ = fdopen(answer[0], "r");
}

Peer::~Peer() {
  if (to_ != nullptr) fclose(to_);
  if (from_ != nullptr) fclose(from_);
  if (process_ > 0) waitpid(process_, nullptr, 0);
}

std::optional<std::string> Peer::ask(const std::string& request) {
  if (to_ == nullptr || from_ == nullptr) return std::nullopt;
  if (fprintf(to_, "%s\n", request.c_str()) < 0 || fflush(to_) != 0) return std::nullopt;
  char* line = nullptr;
  size_t size = 0;
  const ssize_t length = getline(&line, &size, from_);
  std::optional<std::string> result;
  if (length > 0) result = std::string(line, static_cast<size_t>(length));
  std::free(line);
  return result;
}

}  // namespace attune::bench
