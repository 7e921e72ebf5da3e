#pragma once

#include <cstdint>
#include <string>

namespace attune::bench {

/// How a benchmark compares.
struct Comparison {
  std::string python = "python3";                     ///< with torch
  std::string peers = ATTUNE_BENCHMARK_DIR "/peers";  ///< folder of the scripts that it runs
  int rounds = 7;                                     ///< alternations of ours and the peer
  bool with_peer = true;
};

// One function per benchmark; each prints its table and returns the exit status.

int run_gemm();
int run_conv();
int run_step(const Comparison& comparison);
/// longest: number of queries and keys of the largest problem, doubled up from 128.
int run_attention(const Comparison& comparison, int64_t longest);
struct TranslationBenchmark {
  std::string only;  ///< a part: tiny, small, recurrent, decode or data; empty: all
  std::string data;  ///< folder of Multi30k; empty: none
};
int run_translation(const Comparison& comparison, const TranslationBenchmark& options);
/// Kernels on the first CUDA device. Throws DeviceError without one.
int run_cuda(const Comparison& comparison);
/// Training steps of the models on the first CUDA device. Throws DeviceError without one.
int run_cuda_steps(const Comparison& comparison);
struct CaptioningBenchmark {
  std::string only;  ///< a part: patch, conv, decode or data; empty: all
  std::string data;  ///< folder of pictures and captions; empty: pictures are drawn and written as JPEG files
};
int run_captioning(const Comparison& comparison, const CaptioningBenchmark& options);
/// Single kernels through Google Benchmark, which takes the remaining arguments.
int run_kernels(int argc, char** argv);

}  // namespace attune::bench
