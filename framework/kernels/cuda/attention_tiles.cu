#include "framework/kernels/cuda/attention_tiles.cuh"
#include "framework/kernels/cuda/formula_kernels.cuh"

namespace attune::cuda {

using namespace tiles;

const void* plain_kernel(const FormulaKernelName& name) { return attention_kernel<NoFormula>(name); }

template <class T>
void forward_in_tiles(const Context& c, const Attention<T>& a, const Formula& formula, const int* wanted, T* y,
                      float* stats) {
  const int64_t size = std::max(a.size, a.width);
  visit_size(size, [&](auto bound) {
    constexpr int kSize = decltype(bound)::value;
    constexpr int kOwn = rows_of_thread(kSize) * kLines;
    const int64_t tiles = ceil_div(a.queries, kOwn);
    const auto kernel = formula.inside<Attention<T>, const int*, int64_t, T*, float*>({kForwardTiles, kDType<T>, size});
    launch(c, "attention", kernel, Grid{a.batch * a.heads * tiles, kThreads, shared_bytes(1, kOwn, 2, kSize)}, a,
           wanted, tiles, y, stats);
  });
}

template <class T>
void backward_in_tiles(const Context& c, const Attention<T>& a, const Formula& formula, const int* wanted,
                       const Upstream<T>& up, const StridedGradient<T>& dq, const StridedGradient<T>& dk,
                       const StridedGradient<T>& dv, T* dbias) {
  const int64_t size = std::max(a.size, a.width);
  visit_size(size, [&](auto bound) {
    constexpr int kSize = decltype(bound)::value;
    constexpr int kOwn = rows_of_thread(kSize) * kLines;
    constexpr size_t kShared = shared_bytes(2, kOwn, 2, kSize);
    const int64_t query_tiles = ceil_div(a.queries, kOwn), key_tiles = ceil_div(a.keys, kOwn);
    const auto kernel = [&](int family) {
      return formula.inside<Attention<T>, const int*, Upstream<T>, int64_t, StridedGradient<T>, StridedGradient<T>, T*>(
          {family, kDType<T>, size});
    };
    launch(c, "attention_backward", kernel(kQueryTiles), Grid{a.batch * a.heads * query_tiles, kThreads, kShared}, a,
           wanted, up, query_tiles, dq, StridedGradient<T>{}, dbias);
    launch(c, "attention_backward", kernel(kKeyTiles), Grid{a.batch * a.kv_heads * key_tiles, kThreads, kShared}, a,
           wanted, up, key_tiles, dk, dv, static_cast<T*>(nullptr));
  });
}

template void forward_in_tiles(const Context&, const Attention<float>&, const Formula&, const int*, float*, float*);
template void forward_in_tiles(const Context&, const Attention<bfloat16>&, const Formula&, const int*, bfloat16*,
                               float*);
template void backward_in_tiles(const Context&, const Attention<float>&, const Formula&, const int*,
                                const Upstream<float>&, const StridedGradient<float>&, const StridedGradient<float>&,
                                const StridedGradient<float>&, float*);
template void backward_in_tiles(const Context&, const Attention<bfloat16>&, const Formula&, const int*,
                                const Upstream<bfloat16>&, const StridedGradient<bfloat16>&,
                                const StridedGradient<bfloat16>&, const StridedGradient<bfloat16>&, bfloat16*);

}  // namespace attune::cuda
