#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "framework/kernels/optim.h"

// The ranges of an optimizer's step as a table, and what kernels look up in it. Plain functions, constexpr so that
// device code may call them; tested on the host.

namespace attune::cuda {

/// A range as kernels see it; they number the elements of all ranges as if these followed each other without gaps.
template <class Rule>
struct FlatRow {
  int64_t begin = 0;  ///< in the tensors
  int64_t end = 0;    ///< number of its last element, plus one
  Rule rule{};
};

/// rule(range): what a kernel needs of it.
template <class Rule, class MakeRule>
std::vector<FlatRow<Rule>> flat_table(std::span<const FlatRange> ranges, const MakeRule& rule) {
  std::vector<FlatRow<Rule>> rows;
  rows.reserve(ranges.size());
  int64_t end = 0;
  for (const FlatRange& range : ranges) {
    end += range.end - range.begin;
    rows.push_back({range.begin, end, rule(range)});
  }
  return rows;
}

/// The row of element number `at`, which becomes its index in the tensors.
template <class Rule>
constexpr const Rule& find_row(const FlatRow<Rule>* rows, int count, int64_t& at) {
  int low = 0;
  for (int high = count - 1; low < high;) {
    const int middle = (low + high) / 2;
    if (at < rows[middle].end) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  at += rows[low].begin - (low == 0 ? 0 : rows[low - 1].end);
  return rows[low].rule;
}

/// What a step of SGD does to an element: g = gradient + decay w; b = keep b + take g; w -= rate b.
template <class C>
struct SgdRow {
  C rate, decay, keep, take;
  bool zero_gradient;

  SgdRow() = default;
  SgdRow(const FlatRange& range, const SgdRule& rule)
      : rate(static_cast<C>(range.learning_rate)),
        decay(static_cast<C>(range.weight_decay)),
        // The first gradient enters the momentum undampened.
        keep(static_cast<C>(range.step == 1 ? 0 : rule.momentum)),
        take(static_cast<C>(range.step == 1 ? 1 : 1 - rule.dampening)),
        zero_gradient(range.zero_gradient) {}
};

/// What a step of Adam does to an element: g = gradient + decay w; w = shrink w - rate m / (sqrt(v) correction +
/// epsilon).
template <class C>
struct AdamRow {
  C rate, correction, shrink, decay;
  bool zero_gradient;

  AdamRow() = default;
  AdamRow(const FlatRange& range, const AdamRule& rule)
      : rate(static_cast<C>(range.learning_rate / (1 - std::pow(rule.beta1, static_cast<double>(range.step))))),
        correction(static_cast<C>(1 / std::sqrt(1 - std::pow(rule.beta2, static_cast<double>(range.step))))),
        shrink(static_cast<C>(rule.decoupled ? 1 - range.learning_rate * range.weight_decay : 1)),
        decay(static_cast<C>(rule.decoupled ? 0 : range.weight_decay)),
        zero_gradient(range.zero_gradient) {}
};

}  // namespace attune::cuda
