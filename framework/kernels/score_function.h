#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "framework/dtype.h"
#include "framework/dual.h"

namespace attune {

/// Where a score stands: query `query` of `queries` and key `key` of `keys`, both from 0, in head `head` of sample
/// `batch`.
struct ScoreAt {
  int batch;
  int head;
  int query;
  int key;
  int queries;
  int keys;
};

/// Neighbouring scores of one query: the first stands at `first`, the others at the keys behind it.
template <class T>
struct ScoreRow {
  T* scores;
  T* slopes;  ///< multiplied by the function's derivative; null: not asked for
  int count;
  ScoreAt first;
};

/// Names one of the kernels that there are for every formula (framework/kernels/cuda/formula_kernels.cuh).
struct FormulaKernelName {
  int family;
  DType dtype;
  int64_t size;  ///< of heads
};

/// A formula that a program has compiled for CUDA devices: the backend's kernels with it inside, and what it captures,
/// which these take as their last argument. with_cuda() makes it (framework/kernels/cuda/formula.cuh).
struct CudaFormula {
  std::shared_ptr<const void> captured;
  const void* (*kernel)(const FormulaKernelName&) = nullptr;  ///< cudaKernel_t

  explicit operator bool() const { return kernel != nullptr; }
};

/// A formula of the user's for scores, compiled into the row loop of attention: the formula is inlined, and one call
/// through a pointer serves a whole row of a block. The idea of "FlexAttention" (Dong et al., 2024).
///
///     ScoreFunction alibi([slope](auto score, const ScoreAt& at) { return score - slope * (at.query - at.key); });
///
/// The formula takes the scaled score as any number type and gives what takes its place. Its derivative is found with
/// dual numbers, or given as a second formula of the same arguments. What it captures is a constant for the gradients
/// and is read by several threads at once. On a CUDA device it is computed there where with_cuda() has given it a
/// formula for that; otherwise scores go to the host and back.
class ScoreFunction {
 public:
  ScoreFunction() = default;

  template <class F>
    requires requires(const F& f, ScoreAt at) {
      f(0.0f, at);
      f(Dual<float>(), at);
    }
  // Implicit: a lambda may be given where a function is wanted, as with std::function.
  ScoreFunction(F formula) {  // NOLINT(google-explicit-constructor)
    hold(std::move(formula), [](const auto& f, auto score, const ScoreAt& at) {
      using T = decltype(score);
      return Dual<T>(f(Dual<T>(score, 1), at));
    });
  }

  template <class F, class D>
    requires requires(const F& f, const D& d, ScoreAt at) {
      f(0.0f, at);
      d(0.0f, at);
    }
  ScoreFunction(F formula, D derivative) {
    hold(std::move(formula), [derivative = std::move(derivative)](const auto& f, auto score, const ScoreAt& at) {
      using T = decltype(score);
      return Dual<T>(static_cast<T>(f(score, at)), static_cast<T>(derivative(score, at)));
    });
  }

  explicit operator bool() const { return state_ != nullptr; }
  void operator()(const ScoreRow<float>& row) const { float_(state_.get(), row); }
  void operator()(const ScoreRow<double>& row) const { double_(state_.get(), row); }

  /// The same function with this formula on CUDA devices.
  ScoreFunction with(CudaFormula formula) const {
    ScoreFunction out = *this;
    out.cuda_ = std::move(formula);
    return out;
  }
  const CudaFormula& cuda() const { return cuda_; }

 private:
  template <class F, class WithSlope>
  struct State {
    F formula;
    WithSlope with_slope;
  };

  template <class S, class T>
  static void run(const void* raw, const ScoreRow<T>& row) {
    const S& state = *static_cast<const S*>(raw);
    ScoreAt at = row.first;
    T* scores = row.scores;
    if (row.slopes == nullptr) {
      for (int i = 0; i < row.count; ++i) {
        at.key = row.first.key + i;
        scores[i] = static_cast<T>(state.formula(scores[i], at));
      }
      return;
    }
    for (int i = 0; i < row.count; ++i) {
      at.key = row.first.key + i;
      const Dual<T> y = state.with_slope(state.formula, scores[i], at);
      scores[i] = y.value;
      row.slopes[i] *= y.slope;
    }
  }

  template <class F, class WithSlope>
  void hold(F formula, WithSlope with_slope) {
    using S = State<F, WithSlope>;
    state_ = std::make_shared<const S>(S{std::move(formula), std::move(with_slope)});
    float_ = &run<S, float>;
    double_ = &run<S, double>;
  }

  std::shared_ptr<const void> state_;
  void (*float_)(const void*, const ScoreRow<float>&) = nullptr;
  void (*double_)(const void*, const ScoreRow<double>&) = nullptr;
  CudaFormula cuda_;
};

/// Which keys a query may attend to, as a formula of the user's: true = may be attended. On a CUDA device it is
/// computed there where with_cuda() has given it a formula for that, otherwise on the host; either way as a tensor [B,
/// H, T, S].
///
///     MaskFunction causal([](const ScoreAt& at) { return at.key <= at.query; });
class MaskFunction {
 public:
  MaskFunction() = default;

  template <class F>
    requires(!std::is_same_v<F, MaskFunction> && requires(const F& f, ScoreAt at) {
      { f(at) } -> std::same_as<bool>;
    })
  // NOLINTNEXTLINE(google-explicit-constructor): implicit, as ScoreFunction
  MaskFunction(F allowed)
      : state_(std::make_shared<const F>(std::move(allowed))),
        run_([](const void* raw, ScoreAt at, int count, bool* keep) {
          const F& f = *static_cast<const F*>(raw);
          const int first = at.key;
          for (int i = 0; i < count; ++i) {
            at.key = first + i;
            keep[i] = f(at);
          }
        }) {}

  explicit operator bool() const { return state_ != nullptr; }
  /// keep[i] = whether key first.key + i may be attended, for i < count.
  void operator()(const ScoreAt& first, int count, bool* keep) const { run_(state_.get(), first, count, keep); }
  bool operator()(const ScoreAt& at) const {
    bool keep = false;
    run_(state_.get(), at, 1, &keep);
    return keep;
  }

  /// What both allow.
  friend MaskFunction operator&(const MaskFunction& a, const MaskFunction& b) {
    if (!a) return b;
    if (!b) return a;
    MaskFunction both([a, b](const ScoreAt& at) { return a(at) && b(at); });
    if (!a.cuda_.empty() && !b.cuda_.empty()) {
      both.cuda_ = a.cuda_;
      both.cuda_.insert(both.cuda_.end(), b.cuda_.begin(), b.cuda_.end());
    }
    return both;
  }

  /// The same function with this formula on CUDA devices.
  MaskFunction with(CudaFormula formula) const {
    MaskFunction out = *this;
    out.cuda_ = {std::move(formula)};
    return out;
  }
  /// All of which must allow a key; none: the host computes it.
  const std::vector<CudaFormula>& cuda() const { return cuda_; }

 private:
  std::shared_ptr<const void> state_;
  void (*run_)(const void*, ScoreAt, int, bool*) = nullptr;
  std::vector<CudaFormula> cuda_;
};

}  // namespace attune
