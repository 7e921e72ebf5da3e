// Masks that change between forward and backward without being noticed, and rows of -infinity that count.

#include <limits>
#include <utility>

#include "examples/gradcheck/faults.h"

namespace attune::examples {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Elements to be written behind the back of Tensor::version().
template <class T>
T* unseen(const Tensor& x) {
  return const_cast<T*>(x.data<T>());
}

/// Other values that are allowed as well: masks negated, indices, lengths and targets one lower.
void change(const Tensor& x) {
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (x.dtype() == DType::kBool) {
      bool& value = unseen<bool>(x)[i];
      value = !value;
    } else if (unseen<int64_t>(x)[i] > 0) {
      --unseen<int64_t>(x)[i];
    }
  }
}

void restore(const Tensor& before, const Tensor& x) {
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (x.dtype() == DType::kBool) {
      unseen<bool>(x)[i] = before.data<bool>()[i];
    } else {
      unseen<int64_t>(x)[i] = before.data<int64_t>()[i];
    }
  }
}

/// The formula sees another value of a tensor that is no operand than the op did, as if its version were not saved.
std::function<void(FaultyStep&)> changed_since(const char* name) {
  return [name](FaultyStep& faulty) {
    for (const auto& [own, tensor] : faulty.constants) {
      if (own != name) continue;
      const Tensor before = tensor.clone();
      change(tensor);
      faulty.step.run();
      restore(before, tensor);
      return;
    }
    faulty.step.run();
  };
}

/// Whether a row of scores or of a bias [T, S] holds nothing but -infinity.
bool is_forbidden(const double* row, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (row[i] != -kInfinity) return false;
  }
  return n > 0;
}

using Forward = std::function<void(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs)>;

/// Every weight of a softmax over nothing but -infinity is f(number of keys).
template <class F>
Forward weights_of_forbidden_rows(F f) {
  return [f](const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs) {
    const Tensor x = inputs[0].contiguous();
    const int64_t n = x.dim(-1);
    for (int64_t r = 0; n > 0 && r < x.numel() / n; ++r) {
      if (!is_forbidden(x.data<double>() + r * n, n)) continue;
      for (int64_t i = 0; i < n; ++i) unseen<double>(outputs[0])[r * n + i] = f(n);
    }
  };
}

/// Calls f(sample, query, head, elements of the head's row of `rows` [B, T, H, K]) where the bias [T, S] forbids all.
template <class F>
void for_forbidden_queries(const std::vector<Tensor>& inputs, const Tensor& rows, F f) {
  const Tensor bias = inputs[3].contiguous();
  const int64_t queries = rows.dim(1), heads = rows.dim(2), width = rows.dim(3);
  for (int64_t b = 0; b < rows.dim(0); ++b) {
    for (int64_t t = 0; t < queries; ++t) {
      if (!is_forbidden(bias.data<double>() + t * bias.dim(1), bias.dim(1))) continue;
      for (int64_t h = 0; h < heads; ++h) f(b, h, unseen<double>(rows) + ((b * queries + t) * heads + h) * width);
    }
  }
}

/// A query without keys gets the mean of all values.
void mean_for_forbidden_queries(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs) {
  const Tensor v = inputs[2].contiguous();
  const int64_t keys = v.dim(1), key_heads = v.dim(2), width = v.dim(3);
  const int64_t group = outputs[0].dim(2) / key_heads;
  for_forbidden_queries(inputs, outputs[0], [&](int64_t b, int64_t h, double* row) {
    for (int64_t i = 0; i < width; ++i) {
      row[i] = 0;
      for (int64_t s = 0; s < keys; ++s) {
        row[i] += v.data<double>()[((b * keys + s) * key_heads + h / group) * width + i] / static_cast<double>(keys);
      }
    }
  });
}

void nan_for_forbidden_queries(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs) {
  for_forbidden_queries(inputs, outputs[0], [&](int64_t, int64_t, double* row) {
    for (int64_t i = 0; i < outputs[0].dim(3); ++i) row[i] = kNan;
  });
}

/// -infinity - -infinity in the scores' softmax: dq of the query is NaN.
void nan_gradient_of_forbidden_queries(FaultyStep& faulty) {
  changed(0, [](Tensor& dq, const FaultyStep& step) {
    for_forbidden_queries(step.inputs, dq, [&](int64_t, int64_t, double* row) {
      for (int64_t i = 0; i < dq.dim(3); ++i) row[i] = kNan;
    });
  })(faulty);
}

}  // namespace

void add_mask_faults(std::vector<Fault>& faults) {
  const auto add = [&](const char* op, const char* what, const char* layer, const char* options,
                       std::vector<MaskPart> mask, std::function<void(FaultyStep&)> backward, Forward forward = {}) {
    faults.push_back(
        {std::string(op) + ": " + what, layer, options, std::move(mask), op, std::move(backward), std::move(forward)});
  };
  // With softcap the backward pass computes scores again.
  const char* again = R"({"path": "fused", "softcap": 2.0})";
  const char* fused = R"({"path": "fused"})";
  const char* composed = R"({"path": "composed"})";
  add("attention", "mask changed since", "ScaledDotProduct", again, {MaskPart::kKeep}, changed_since("mask_keep"));
  add("attention", "lengths changed since", "ScaledDotProduct", again, {MaskPart::kPadding},
      changed_since("mask_lengths"));
  add("attention", "blocks changed since", "ScaledDotProduct", again, {MaskPart::kBlocks},
      changed_since("mask_blocks"));
  add("attention_packed", "mask changed since", "ScaledDotProduct.packed", again, {MaskPart::kKeep},
      changed_since("mask_keep"));
  add("attention_packed_kv", "lengths changed since", "ScaledDotProduct.packed_kv", again, {MaskPart::kPadding},
      changed_since("mask_lengths"));
  add("embedding", "ids changed since", "Embedding", "{}", {}, changed_since("ids"));
  add("masked_mean", "lengths changed since", "MeanPooling", "{}", {}, changed_since("lengths"));
  add("cross_entropy", "targets changed since", "CrossEntropyLoss", "{}", {}, changed_since("targets"));

  const std::vector<MaskPart> forbids = {MaskPart::kInfiniteBias};
  add("masked_softmax", "a row of -infinity is NaN", "ScaledDotProduct", composed, forbids, {},
      weights_of_forbidden_rows([](int64_t) { return kNan; }));
  add("masked_softmax", "a row of -infinity is uniform", "ScaledDotProduct", composed, forbids, {},
      weights_of_forbidden_rows([](int64_t n) { return 1 / static_cast<double>(n); }));
  add("attention", "a row of -infinity is NaN", "ScaledDotProduct", fused, forbids, {}, nan_for_forbidden_queries);
  add("attention", "a row of -infinity is the mean of the values", "ScaledDotProduct", fused, forbids, {},
      mean_for_forbidden_queries);
  add("attention", "dq of a row of -infinity is NaN", "ScaledDotProduct", fused, forbids,
      nan_gradient_of_forbidden_queries);
}

}  // namespace attune::examples
