#include "tests/benchmarks/openblas.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "tests/benchmarks/timing.h"

namespace attune::bench {
namespace {

template <class F>
F* find(void* library, const char* name) {
  return reinterpret_cast<F*>(dlsym(library, name));
}

// cblas_sgemm with the values of the CBLAS enumerations: row-major 101, as is 111, transposed 112.
using Sgemm = void(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float* a, int lda,
                   const float* b, int ldb, float beta, float* c, int ldc);

}  // namespace

OpenBlas::OpenBlas() : library_(dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr) return;
  if (auto* set_threads = find<void(int)>(library_, "openblas_set_num_threads")) set_threads(num_threads());
}

OpenBlas::~OpenBlas() {
  // Left open: its threads may still run code of the library.
}

std::string OpenBlas::description() const {
  if (library_ == nullptr) return "no OpenBLAS to compare with (libopenblas.so.0)";
  auto* config = find<char*()>(library_, "openblas_get_config");
  auto* core = find<char*()>(library_, "openblas_get_corename");
  if (config == nullptr || core == nullptr) return "an OpenBLAS that does not tell its version";
  const std::string all = config();
  return fmt::format("{}, kernels for {}, {} threads of its own", all.substr(0, all.find(' ', all.find(' ') + 1)),
                     core(), num_threads());
}

double OpenBlas::rate(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, Tensor& c,
                      double operations) const {
  auto* sgemm = library_ != nullptr ? find<Sgemm>(library_, "cblas_sgemm") : nullptr;
  if (sgemm == nullptr) return 0;
  const auto m = static_cast<int>(c.dim(0));
  const auto n = static_cast<int>(c.dim(1));
  const auto k = static_cast<int>(a.dim(transpose_a ? 0 : 1));
  const double seconds = median_seconds(7, 0.02, [&] {
    sgemm(101, transpose_a ? 112 : 111, transpose_b ? 112 : 111, m, n, k, 1, a.data<float>(),
          static_cast<int>(a.dim(1)), b.data<float>(), static_cast<int>(b.dim(1)), 0, c.data<float>(), n);
  });
  return operations / seconds / 1e9;
}

}  // namespace attune::bench
