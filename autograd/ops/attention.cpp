#include "autograd/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/mask.h"
#include "framework/kernels/random.h"
#include "framework/kernels/reduce.h"

namespace attune {
namespace {

constexpr const char* kOp = "attention";

struct Sizes {
  int64_t batch, heads, queries, keys;
};

Sizes check(const Tensor& q, const Tensor& k, const Tensor& v, const MaskSpec& mask, const Variable& bias,
            const AttentionOptions& options) {
  require<ShapeError>(q.rank() == 4, "{}: q has shape {}, expected [B, T, H, K]", kOp, q.shape());
  require<ShapeError>(k.rank() == 4, "{}: k has shape {}, expected [B, S, Hkv, K]", kOp, k.shape());
  require<ShapeError>(v.rank() == 4, "{}: v has shape {}, expected [B, S, Hkv, Kv]", kOp, v.shape());
  require<ShapeError>(k.dim(0) == q.dim(0) && k.dim(3) == q.dim(3),
                      "{}: q has shape {} and k {}; batch and head size must be equal", kOp, q.shape(), k.shape());
  require<ShapeError>(v.dim(0) == k.dim(0) && v.dim(1) == k.dim(1) && v.dim(2) == k.dim(2),
                      "{}: k has shape {} and v {}; batch, keys and heads must be equal", kOp, k.shape(), v.shape());
  require<ShapeError>(k.dim(2) > 0 && q.dim(2) % k.dim(2) == 0,
                      "{}: q has {} heads and k {}; the first must be a multiple of the second", kOp, q.dim(2),
                      k.dim(2));
  require<DTypeError>(q.dtype() == k.dtype() && k.dtype() == v.dtype(),
                      "{}: q, k, v are {}, {}, {}; expected one dtype", kOp, dtype_name(q.dtype()),
                      dtype_name(k.dtype()), dtype_name(v.dtype()));
  check_probability(kOp, options.dropout);
  require<ValueError>(options.softcap >= 0, "{}: softcap is {}, expected 0 (none) or a positive number", kOp,
                      options.softcap);
  const Sizes sizes{q.dim(0), q.dim(2), q.dim(1), k.dim(1)};
  const Shape scores{sizes.batch, sizes.heads, sizes.queries, sizes.keys};
  if (mask.lengths.defined()) {
    require<ShapeError>(mask.lengths.shape() == Shape{sizes.batch}, "{}: mask lengths have shape {}, expected [{}]",
                        kOp, mask.lengths.shape(), sizes.batch);
    const Tensor lengths = mask.lengths.to(Device::cpu()).contiguous();
    for (int64_t b = 0; b < sizes.batch; ++b) {
      const int64_t length = lengths.data<int64_t>()[b];
      require<ValueError>(length >= 0 && length <= sizes.keys, "{}: sample {} has length {}, expected 0 ... {} keys",
                          kOp, b, length, sizes.keys);
    }
  }
  if (mask.keep.defined()) {
    require<DTypeError>(mask.keep.dtype() == DType::kBool, "{}: mask keep is {}, expected bool", kOp,
                        dtype_name(mask.keep.dtype()));
    require<ShapeError>(broadcast_shapes(mask.keep.shape(), scores, kOp) == scores,
                        "{}: mask {} does not broadcast to [B, H, T, S] = {}", kOp, mask.keep.shape(), scores);
  }
  if (bias.defined()) {
    require<ShapeError>(broadcast_shapes(bias.shape(), scores, kOp) == scores,
                        "{}: bias {} does not broadcast to [B, H, T, S] = {}", kOp, bias.shape(), scores);
    require<DTypeError>(bias.dtype() == q.dtype(), "{}: bias is {} and q {}; convert one with cast()", kOp,
                        dtype_name(bias.dtype()), dtype_name(q.dtype()));
  }
  return sizes;
}

AttentionSpec specify(const Sizes& sizes, int64_t key_size, const MaskSpec& mask, const AttentionOptions& options,
                      Device device) {
  AttentionSpec spec;
  spec.mask = mask;
  if (mask.where && !device.is_cpu() && mask.where.cuda().empty()) {
    spec.mask.keep = allowed_keys({.keep = mask.keep, .where = mask.where}, sizes.batch, sizes.heads, sizes.queries,
                                  sizes.keys, device);
    spec.mask.where = {};
  }
  if (mask.lengths.defined()) spec.mask.lengths = mask.lengths.to(device);
  if (spec.mask.keep.defined()) {
    spec.mask.keep = spec.mask.keep.to(device).expand({sizes.batch, sizes.heads, sizes.queries, sizes.keys});
  }
  spec.scale = options.scale != 0 ? options.scale : 1 / std::sqrt(static_cast<double>(std::max<int64_t>(key_size, 1)));
  spec.softcap = options.softcap;
  spec.score = options.score;
  spec.deterministic = deterministic();
  if (options.dropout > 0) {
    RandomStream& stream = options.stream != nullptr ? *options.stream : default_stream();
    spec.dropout = {options.dropout, stream.reserve(sizes.batch * sizes.heads * sizes.queries * sizes.keys)};
  }
  return spec;
}

// What the kernels read of a specification, kept for backward. The mask's tensors may be the caller's own.
class SavedSpec {
 public:
  explicit SavedSpec(const AttentionSpec& spec)
      : spec_(spec),
        lengths_(spec.mask.lengths, "mask lengths"),
        blocks_(spec.mask.blocks, "mask blocks"),
        keep_(spec.mask.keep, "mask keep") {}

  const AttentionSpec& get() const {
    for (const SavedTensor* tensor : {&lengths_, &blocks_, &keep_}) tensor->get();
    return spec_;
  }

 private:
  AttentionSpec spec_;
  SavedTensor lengths_, blocks_, keep_;
};

// The kernels read rows with unit steps.
Tensor unit_rows(const Tensor& x) { return x.dim(-1) == 1 || x.stride(-1) == 1 ? x : x.clone(); }

bool recording(std::initializer_list<const Variable*> inputs) {
  return grad_enabled() &&
         std::any_of(inputs.begin(), inputs.end(), [](const Variable* x) { return x->requires_grad(); });
}

// The fused kernel hands weights out as values only: a gradient through them takes the composed path. So does, on a
// CUDA device, a function of scores that is the host's alone.
bool needs_composed(const AttentionOptions& options, std::initializer_list<const Variable*> inputs) {
  const bool fetched = options.score && !options.score.cuda() && !(*inputs.begin())->device().is_cpu();
  return (options.want_weights && recording(inputs)) || fetched;
}

// Weights of short sequences, no more than the keys and values themselves, are cheaper kept than computed again.
bool keeps_weights(const Sizes& sizes, DType dtype, const AttentionSpec& spec) {
  constexpr int64_t kShort = 128;
  return sizes.keys <= kShort && sizes.queries <= kShort && dtype != DType::kBFloat16 && spec.softcap == 0 &&
         !spec.score;
}

// q, k, v are views into the values of `inputs`; `dviews` cuts gradients of the same layout.
template <class Views>
AttentionResult run(const char* name, std::initializer_list<const Variable*> inputs, const Tensor& q_in,
                    const Tensor& k_in, const Tensor& v_in, const MaskSpec& mask, const Variable& bias,
                    const AttentionOptions& options, Views&& gradients) {
  const Sizes sizes = check(q_in, k_in, v_in, mask, bias, options);
  const Tensor q = unit_rows(q_in);
  const Tensor k = unit_rows(k_in);
  const Tensor v = unit_rows(v_in);
  const AttentionSpec spec = specify(sizes, q.dim(3), mask, options, q.device());
  const Shape scores{sizes.batch, sizes.heads, sizes.queries, sizes.keys};
  Tensor wide_bias;
  if (bias.defined()) wide_bias = bias.value().expand(scores);
  Tensor y = Tensor::empty({sizes.batch, sizes.queries, sizes.heads, v.dim(3)}, q.dtype(), q.device());
  Tensor stats = Tensor::empty({2, sizes.batch, sizes.heads, sizes.queries}, accumulation_dtype(q.dtype()), q.device());
  const bool keeps = q.device().is_cpu() && keeps_weights(sizes, q.dtype(), spec) && recording(inputs);
  Tensor weights;
  if (options.want_weights || keeps) weights = Tensor::empty(scores, q.dtype(), q.device());
  kernels::attention(q, k, v, wide_bias, spec, y, stats, weights);
  const SavedTensor kept(y, "output");
  AttentionResult result;
  if (options.want_weights) result.weights = Variable(weights);
  result.output = Tape::current().record(
      name, std::move(y), inputs,
      [q = SavedTensor(q, "q"), k = SavedTensor(k, "k"), v = SavedTensor(v, "v"),
       wide_bias = SavedTensor(wide_bias, "bias"), bias_shape = bias.shape(), spec = SavedSpec(spec), kept, stats,
       weights = SavedTensor(keeps ? weights : Tensor(), "weights"), gradients](Grads& g) {
        Tensor dbias;
        const int bias_index = gradients.kInputs;
        const bool wants_bias = wide_bias.defined() && g.needs(bias_index);
        if (wants_bias) dbias = Tensor::empty(wide_bias.get().shape(), q.get().dtype(), q.get().device());
        auto d = gradients.make(q.get(), k.get(), v.get());
        kernels::attention_backward(g.dy(), q.get(), k.get(), v.get(), wide_bias.get(), spec.get(), kept.get(), stats,
                                    weights.get(), d.q, d.k, d.v, dbias);
        gradients.deliver(g, d);
        if (wants_bias) {
          g.add(bias_index, unbroadcast(std::move(dbias), bias_shape));
        }
      });
  return result;
}

// Calls f(place of the first score, its index) for every row of scores [B, H, T, S].
template <class F>
void for_each_row(const Shape& shape, F&& f) {
  const auto extent = [&](int axis) { return static_cast<int>(shape[axis]); };
  int64_t at = 0;
  for (int b = 0; b < extent(0); ++b) {
    for (int h = 0; h < extent(1); ++h) {
      for (int t = 0; t < extent(2); ++t, at += shape[3]) f(ScoreAt{b, h, t, 0, extent(2), extent(3)}, at);
    }
  }
}

// Elementwise, with its derivative kept: what the composed path does for a score function, which runs on the host.
Variable apply(const ScoreFunction& function, const Variable& scores) {
  const Device device = scores.device();
  Tensor y = device.is_cpu() ? scores.value().clone() : scores.value().to(Device::cpu());
  const bool sloped = recording({&scores});
  Tensor slopes = sloped ? Tensor::full(y.shape(), 1, y.dtype()) : Tensor();
  visit_floating(y.dtype(), kOp, [&]<class T>(T) {
    for_each_row(y.shape(), [&](const ScoreAt& first, int64_t at) {
      function(ScoreRow<T>{y.data<T>() + at, sloped ? slopes.data<T>() + at : nullptr, first.keys, first});
    });
  });
  // slopes: seen by nobody else.
  return Tape::current().record("score_function", y.to(device), {&scores}, [slopes, device](Grads& g) {
    const Tensor dy = g.dy().to(Device::cpu()).contiguous();
    Tensor dx = Tensor::empty_like(dy);
    visit_floating(dy.dtype(), kOp, [&]<class T>(T) {
      // y = f(x): dx = f'(x) dy; a masked score's dy is 0, and its slope may be anything.
      const T* upstream = dy.data<T>();
      const T* slope = slopes.data<T>();
      T* out = dx.data<T>();
      for (int64_t i = 0; i < dy.numel(); ++i) out[i] = upstream[i] == 0 ? T{0} : upstream[i] * slope[i];
    });
    g.add(0, dx.to(device));
  });
}

struct Gradients {
  Tensor q, k, v;
  Tensor whole;  // that q, k, v (or k, v) are views of
};

struct Separate {
  static constexpr int kInputs = 3;
  static Gradients make(const Tensor& q, const Tensor& k, const Tensor& v) {
    return {Tensor::empty_like(q), Tensor::empty_like(k), Tensor::empty_like(v), Tensor()};
  }
  static void deliver(Grads& g, Gradients& d) {
    g.add(0, std::move(d.q));
    g.add(1, std::move(d.k));
    g.add(2, std::move(d.v));
  }
};

struct Packed {
  static constexpr int kInputs = 1;
  static Gradients make(const Tensor& q, const Tensor&, const Tensor&) {
    Shape shape = q.shape();
    shape.insert(2, 3);
    const Tensor whole = Tensor::empty(shape, q.dtype(), q.device());
    return {whole.select(2, 0), whole.select(2, 1), whole.select(2, 2), whole};
  }
  static void deliver(Grads& g, Gradients& d) {
    d.q = d.k = d.v = Tensor();
    g.add(0, std::move(d.whole));
  }
};

struct PackedKeys {
  static constexpr int kInputs = 2;
  static Gradients make(const Tensor& q, const Tensor& k, const Tensor&) {
    Shape shape = k.shape();
    shape.insert(2, 2);
    const Tensor whole = Tensor::empty(shape, k.dtype(), k.device());
    return {Tensor::empty_like(q), whole.select(2, 0), whole.select(2, 1), whole};
  }
  static void deliver(Grads& g, Gradients& d) {
    d.k = d.v = Tensor();
    g.add(0, std::move(d.q));
    g.add(1, std::move(d.whole));
  }
};

}  // namespace

AttentionResult attention(const Variable& q, const Variable& k, const Variable& v, const MaskSpec& mask,
                          const Variable& bias, const AttentionOptions& options) {
  if (is_rounded_for(q, bias)) return attention(q, k, v, mask, parameter_for(q, bias), options);
  if (needs_composed(options, {&q, &k, &v, &bias})) return attention_composed(q, k, v, mask, bias, options);
  return run("attention", {&q, &k, &v, &bias}, q.value(), k.value(), v.value(), mask, bias, options, Separate());
}

AttentionResult attention_packed(const Variable& qkv, const MaskSpec& mask, const Variable& bias,
                                 const AttentionOptions& options) {
  require<ShapeError>(qkv.rank() == 5 && qkv.dim(2) == 3,
                      "attention_packed: qkv has shape {}, expected [B, T, 3, H, K]", qkv.shape());
  if (is_rounded_for(qkv, bias)) return attention_packed(qkv, mask, parameter_for(qkv, bias), options);
  if (needs_composed(options, {&qkv, &bias})) {
    return attention_composed(select(qkv, 2, 0), select(qkv, 2, 1), select(qkv, 2, 2), mask, bias, options);
  }
  const Tensor& x = qkv.value();
  return run("attention_packed", {&qkv, &bias}, x.select(2, 0), x.select(2, 1), x.select(2, 2), mask, bias, options,
             Packed());
}

AttentionResult attention_packed_kv(const Variable& q, const Variable& kv, const MaskSpec& mask, const Variable& bias,
                                    const AttentionOptions& options) {
  require<ShapeError>(kv.rank() == 5 && kv.dim(2) == 2,
                      "attention_packed_kv: kv has shape {}, expected [B, S, 2, H, K]", kv.shape());
  if (is_rounded_for(q, bias)) return attention_packed_kv(q, kv, mask, parameter_for(q, bias), options);
  if (needs_composed(options, {&q, &kv, &bias})) {
    return attention_composed(q, select(kv, 2, 0), select(kv, 2, 1), mask, bias, options);
  }
  const Tensor& x = kv.value();
  return run("attention_packed_kv", {&q, &kv, &bias}, q.value(), x.select(2, 0), x.select(2, 1), mask, bias, options,
             PackedKeys());
}

Tensor allowed_keys(const MaskSpec& mask, int64_t batch, int64_t heads, int64_t queries, int64_t keys, Device device) {
  Tensor allowed = Tensor::empty({batch, heads, queries, keys}, DType::kBool);
  bool* out = allowed.data<bool>();
  Tensor keep;
  if (mask.keep.defined()) keep = mask.keep.to(Device::cpu()).expand({batch, heads, queries, keys}).contiguous();
  const Tensor lengths = mask.lengths.defined() ? mask.lengths.to(Device::cpu()).contiguous() : Tensor();
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = lengths.defined() ? lengths.data<int64_t>()[b] : keys;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t t = 0; t < queries; ++t) {
        const int64_t at = t + mask.causal_offset;
        for (int64_t s = 0; s < keys; ++s) {
          bool ok = s < length;
          if (mask.causal) ok = ok && s <= at;
          if (mask.window_left >= 0) ok = ok && s >= at - mask.window_left;
          if (mask.window_right >= 0) ok = ok && s <= at + mask.window_right;
          *out++ = ok;
        }
      }
    }
  }
  bool* values = allowed.data<bool>();
  if (keep.defined()) {
    const bool* kept = keep.data<bool>();
    for (int64_t i = 0; i < allowed.numel(); ++i) values[i] = values[i] && kept[i];
  }
  if (mask.where) {
    Tensor row = Tensor::empty({keys}, DType::kBool);
    bool* wanted = row.data<bool>();
    for_each_row(allowed.shape(), [&](const ScoreAt& first, int64_t at) {
      mask.where(first, first.keys, wanted);
      for (int64_t s = 0; s < keys; ++s) values[at + s] = values[at + s] && wanted[s];
    });
  }
  return allowed.to(device);
}

Tensor allowed_by_bias(const Tensor& bias) {
  // Whatever is the lowest finite number or more, or NaN.
  const double lowest = bias.dtype() == DType::kBFloat16  ? -0x1.FEp127
                        : bias.dtype() == DType::kFloat32 ? std::numeric_limits<float>::lowest()
                                                          : std::numeric_limits<double>::lowest();
  const Tensor bound = Tensor::full({}, lowest, bias.dtype(), bias.device()).expand(bias.shape());
  Tensor allowed = Tensor::empty(bias.shape(), DType::kBool, bias.device());
  kernels::prefers_first(bias, bound, false, allowed);
  return allowed;
}

Tensor allowed_keys(const MaskSpec& mask, const Tensor& bias, const Shape& scores, Device device) {
  const Tensor by_mask = allowed_keys(mask, scores[0], scores[1], scores[2], scores[3], device);
  if (!bias.defined()) return by_mask;
  Tensor allowed = Tensor::empty(scores, DType::kBool, device);
  kernels::logical_and(by_mask, allowed_by_bias(bias).to(device).expand(scores), allowed);
  return allowed;
}

AttentionResult attention_composed(const Variable& q, const Variable& k, const Variable& v, const MaskSpec& mask,
                                   const Variable& bias, const AttentionOptions& options) {
  if (is_rounded_for(q, bias)) return attention_composed(q, k, v, mask, parameter_for(q, bias), options);
  if (q.dtype() == DType::kBFloat16) {
    // Scores and softmax are float32 whatever the operands are.
    const auto wide = [](const Variable& x) { return x.defined() ? cast(x, accumulation_dtype(x.dtype())) : x; };
    const AttentionResult result = attention_composed(wide(q), wide(k), wide(v), mask, wide(bias), options);
    return {cast(result.output, q.dtype()),
            result.weights.defined() ? cast(result.weights, q.dtype()) : result.weights};
  }
  const Sizes sizes = check(q.value(), k.value(), v.value(), mask, bias, options);
  const AttentionSpec spec = specify(sizes, q.dim(3), {}, options, q.device());
  const Tensor allowed =
      allowed_keys(mask, bias.value(), {sizes.batch, sizes.heads, sizes.queries, sizes.keys}, q.device());
  const int64_t group = sizes.heads / k.dim(2);
  const auto heads_first = [&](const Variable& x) { return permute(x, {0, 2, 1, 3}); };  // [B, H, S, K]
  const auto repeat = [&](const Variable& x) {
    if (group == 1) return x;
    const Variable split = reshape(x, {x.dim(0), x.dim(1), 1, x.dim(2), x.dim(3)});
    return reshape(expand(split, Shape{x.dim(0), x.dim(1), group, x.dim(2), x.dim(3)}),
                   {x.dim(0), x.dim(1) * group, x.dim(2), x.dim(3)});
  };
  const Variable keys = repeat(heads_first(k));
  const Variable values = repeat(heads_first(v));
  Variable scores = matmul(heads_first(q), keys, false, true) * spec.scale;  // [B, H, T, S]
  if (spec.softcap > 0) scores = tanh(scores * (1 / spec.softcap)) * spec.softcap;
  if (spec.score) scores = apply(spec.score, scores);
  if (bias.defined()) scores = scores + bias;
  const Variable weights = masked_softmax(scores, allowed);
  Variable dropped = weights;
  if (spec.dropout.probability > 0) {
    RandomStream replay(spec.dropout.state);
    dropped = dropout(weights, spec.dropout.probability, replay);
  }
  AttentionResult result;
  result.output = heads_first(matmul(dropped, values, false, false, true));  // [B, T, H, Kv]
  if (options.want_weights) result.weights = weights;
  return result;
}

}  // namespace attune
