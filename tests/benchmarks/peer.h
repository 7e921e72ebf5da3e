#pragma once

#include <sys/types.h>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace attune::bench {

/// The best that is known for eager PyTorch on a CPU: one OpenMP pool, memory on huge pages, nothing handed back to the
/// system between steps.
std::vector<std::string> tuned_environment();

/// A Python process that answers one line of JSON per line of request, so that its steps alternate with ours.
class Peer {
 public:
  /// Starts `command` with `environment` ("NAME=value") added; OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are removed.
  Peer(const std::vector<std::string>& command, const std::vector<std::string>& environment);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Sends a line and waits for the answer; nothing when the process has ended.
  std::optional<std::string> ask(const std::string& request);

 private:
  pid_t process_ = -1;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

}  // namespace attune::bench
