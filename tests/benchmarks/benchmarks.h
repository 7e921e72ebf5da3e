#pragma once

#include <string>

namespace attune::bench {

struct StepOptions {
  std::string python = "python3";  ///< with torch, for the comparison
  int rounds = 7;                  ///< alternations of ours and the peer
  bool compare = true;
};

// One function per benchmark; each prints its table and returns the exit status.

int run_gemm();
int run_step(const StepOptions& options);
/// Single kernels through Google Benchmark, which takes the remaining arguments.
int run_kernels(int argc, char** argv);

}  // namespace attune::bench
