#include "framework/error.h"
#include "framework/kernels/cuda/attention.cuh"
#include "framework/kernels/cuda/attention_cudnn.h"
#include "framework/kernels/cuda/find.cuh"
#include "framework/kernels/cuda/formula_kernels.cuh"
#include "framework/kernels/cuda/packed.h"

namespace attune::cuda {
namespace {

using rows::kWarps;

/// delta and used. A warp for every query. wanted: as of tiles.
template <class T>
__global__ void look_at_rows(Attention<T> a, const int* wanted, Upstream<T> up) {
  using C = Compute<T>;
  if (wanted != nullptr && *wanted == 0) return;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= a.batch * a.heads * a.queries) return;
  const int64_t t = row % a.queries, h = row / a.queries % a.heads, b = row / a.queries / a.heads;
  const int64_t at = ((b * a.queries + t) * a.heads + h) * a.width;
  C sum = 0;
  bool any = false;
  for (int64_t i = threadIdx.x % 32; i < a.width; i += 32) {
    const C gradient = load(up.dy[at + i]);
    any = any || gradient != C(0);
    if (gradient != C(0)) sum += gradient * load(up.y[at + i]);
  }
  any = __any_sync(~0u, any);
  sum = rows::warp_sum(sum);
  if (threadIdx.x % 32 == 0) {
    up.delta[row] = any ? sum : C(0);
    up.used[row] = any;
  }
}

void steps(const Tensor& x, int64_t (&to)[3]) {
  for (int axis = 0; axis < 3; ++axis) to[axis] = x.strides()[axis];
}
void steps(const Tensor& x, int64_t (&to)[4]) {
  for (int axis = 0; axis < 4; ++axis) to[axis] = x.strides()[axis];
}

/// The formula that takes the place of scores, or none.
Formula formula_of(const AttentionSpec& spec) {
  static constexpr NoFormula kNone;
  if (!spec.score) return {plain_kernel, &kNone};
  if (!spec.score.cuda()) throw DeviceError("attention: the function of scores is the host's, expected with_cuda()");
  return {spec.score.cuda().kernel, spec.score.cuda().captured.get()};
}

/// Which keys the mask's tensor and its functions allow, the functions computed for the length of a scope.
class KeptKeys {
 public:
  KeptKeys(const Context& c, const MaskSpec& mask, const Tensor& q, const Tensor& k) {
    if (mask.keep.defined()) {
      kept_.data = data<bool>(mask.keep);
      steps(mask.keep, kept_.step);
    }
    if (!mask.where) return;
    if (mask.where.cuda().empty()) throw DeviceError("attention: the mask's function is the host's, expected a tensor");
    const int64_t batch = q.dim(0), queries = q.dim(1), heads = q.dim(2), keys = k.dim(1);
    const int64_t all = batch * heads * queries * keys;
    computed_ = Scratch(c, static_cast<size_t>(all) * sizeof(bool));
    for (const CudaFormula& formula : mask.where.cuda()) {
      const FormulaKernel<Kept, bool*, int64_t, int64_t, int64_t, int64_t> kernel{
          formula.kernel({kMask, DType::kBool, 0}), formula.captured.get()};
      launch(c, "attention", kernel, thread_each(all), kept_, computed_.data<bool>(), batch, heads, queries, keys);
      kept_ = {computed_.data<bool>(), {heads * queries * keys, queries * keys, keys, 1}};
    }
  }

  const Kept& operator()() const { return kept_; }

 private:
  Kept kept_{};
  Scratch computed_;
};

template <class T>
Attention<T> arguments(const Context& c, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                       const AttentionSpec& spec, const Kept& kept) {
  using C = Compute<T>;
  Attention<T> a{};
  a.q = data<T>(q);
  a.k = data<T>(k);
  a.v = data<T>(v);
  steps(q, a.q_step);
  steps(k, a.k_step);
  steps(v, a.v_step);
  if (bias.defined()) {
    a.bias = data<T>(bias);
    steps(bias, a.bias_step);
  }
  a.kept = kept;
  if (spec.mask.lengths.defined()) a.lengths = data<int64_t>(spec.mask.lengths);
  a.band = Band(spec.mask.causal, spec.mask.causal_offset, spec.mask.window_left, spec.mask.window_right);
  a.batch = q.dim(0);
  a.queries = q.dim(1);
  a.heads = q.dim(2);
  a.size = q.dim(3);
  a.keys = k.dim(1);
  a.kv_heads = k.dim(2);
  a.width = v.dim(3);
  a.scale = static_cast<C>(spec.scale);
  a.softcap = static_cast<C>(spec.softcap);
  a.dropout = Drop<C>(c, spec.dropout);
  return a;
}

template <class T>
StridedGradient<T> gradient_of(Tensor& x) {
  return {data<T>(x), {x.strides()[0], x.strides()[1], x.strides()[2]}};
}

/// A warp for every row, each with so many numbers of shared memory.
template <class C>
Grid warp_each(int64_t rows, int64_t numbers) {
  return {ceil_div(rows, kWarps), kWarps * 32, static_cast<size_t>(kWarps * numbers) * sizeof(C)};
}

template <class T>
bool fits_tiles(const Attention<T>& a) {
  return std::max(a.size, a.width) <= kMostOfTiles;
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, const AttentionSpec& spec,
               Tensor& y, Tensor& stats, Tensor& weights) {
  const Context& c = context(q);
  const KeptKeys kept(c, spec.mask, q, k);
  const Formula formula = formula_of(spec);
  visit_stored(q.dtype(), "attention", [&]<class T>(T) {
    using C = Compute<T>;
    const Attention<T> a = arguments<T>(c, q, k, v, bias, spec, kept());
    if constexpr (std::is_same_v<C, float>) {
      if (fits_tiles(a) && !weights.defined()) {
        if constexpr (std::is_same_v<T, bfloat16>) {
          if (!spec.score && fits_cudnn(a)) {
            NonFinite<T> odd(c);
            if (forward_in_cudnn(c, a, data<T>(y), data<C>(stats), odd.word())) {
              // Done again where scores are large, or what is masked could be seen.
              if (a.band.high != Band::kUnbounded) odd.look_at(c, "attention", {&k, &v});
              return forward_in_tiles<T>(c, a, formula, odd.word(), data<T>(y), data<C>(stats));
            }
          }
        }
        return forward_in_tiles<T>(c, a, formula, nullptr, data<T>(y), data<C>(stats));
      }
    }
    const auto kernel = formula.inside<Attention<T>, T*, C*, T*>({kForwardRows, kDType<T>, a.size});
    launch(c, "attention", kernel, warp_each<C>(a.batch * a.heads * a.queries, a.size + a.width), a, data<T>(y),
           data<C>(stats), data<T>(weights));
  });
}

void attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                        const AttentionSpec& spec, const Tensor& y, const Tensor& stats, const Tensor&, Tensor& dq,
                        Tensor& dk, Tensor& dv, Tensor& dbias) {
  const Context& c = context(q);
  const KeptKeys kept(c, spec.mask, q, k);
  const Formula formula = formula_of(spec);
  visit_stored(q.dtype(), "attention", [&]<class T>(T) {
    using C = Compute<T>;
    const Attention<T> a = arguments<T>(c, q, k, v, bias, spec, kept());
    const int64_t rows = a.rows();
    const Packed upstream(c, dy);
    const Scratch delta(c, static_cast<size_t>(rows) * sizeof(C));
    const Scratch used(c, static_cast<size_t>(rows) * sizeof(bool));
    const C* largest = data<C>(stats);
    const Upstream<T> up{upstream.data<T>(), data<T>(y), largest, largest + rows, delta.data<C>(), used.data<bool>()};
    const StridedGradient<T> to_q = gradient_of<T>(dq), to_k = gradient_of<T>(dk), to_v = gradient_of<T>(dv);
    const auto look = [&](const int* wanted) {
      launch(c, "attention_backward", look_at_rows<T>, warp_each<C>(rows, 0), a, wanted, up);
    };
    if constexpr (std::is_same_v<C, float>) {
      if (fits_tiles(a)) {
        const auto in_tiles = [&](const int* wanted) {
          look(wanted);
          backward_in_tiles<T>(c, a, formula, wanted, up, to_q, to_k, to_v, data<T>(dbias));
        };
        if constexpr (std::is_same_v<T, bfloat16>) {
          if (!spec.score && !dbias.defined() && fits_cudnn(a)) {
            NonFinite<T> odd(c);
            if (backward_in_cudnn(c, a, up, to_q, to_k, to_v, spec.deterministic, odd.word())) {
              odd.look_at(c, "attention_backward", {&q, &k, &v});
              return in_tiles(odd.word());
            }
          }
        }
        return in_tiles(nullptr);
      }
    }
    look(nullptr);
    const auto of_queries =
        formula.inside<Attention<T>, Upstream<T>, StridedGradient<T>, T*>({kQueryRows, kDType<T>, a.size});
    const auto of_keys = formula.inside<Attention<T>, Upstream<T>, StridedGradient<T>, StridedGradient<T>>(
        {kKeyRows, kDType<T>, a.size});
    launch(c, "attention_backward", of_queries, warp_each<C>(rows, 2 * a.size + a.width), a, up, to_q, data<T>(dbias));
    launch(c, "attention_backward", of_keys, warp_each<C>(a.batch * a.kv_heads * a.keys, 2 * (a.size + a.width)), a, up,
           to_k, to_v);
  });
}

}  // namespace attune::cuda
