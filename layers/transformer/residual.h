#pragma once

#include <cstddef>
#include <utility>

#include "layers/norm.h"

namespace attune {

/// A residual connection whose branch is not yet added: what stands between two sublayers.
struct ResidualStep {
  Variable sum;
  Variable branch;
};

/// sum + dropout(branch).
Variable add_branch(const ResidualStep& step, double dropout);

/// {sum + dropout(branch), norm of it}.
std::pair<Variable, Variable> add_norm(const ResidualStep& step, const Norm& norm, double dropout);

/// A stack of pre-norm blocks: the branch of one block is added in the same pass as the next block's first norm.
/// first_norm(i): of block i; run(i, y, normed): block i from there on, a ResidualStep. last: the norm behind all
/// blocks, or null.
template <class FirstNorm, class Run>
Variable pre_norm_stack(const Variable& x, size_t blocks, double dropout, const Norm* last, FirstNorm&& first_norm,
                        Run&& run) {
  Variable y = x;
  Variable normed = first_norm(size_t{0})(x);
  for (size_t i = 0;; ++i) {
    const ResidualStep step = run(i, y, normed);
    const bool ends = i + 1 == blocks;
    if (ends && last == nullptr) return add_branch(step, dropout);
    auto added = add_norm(step, ends ? *last : first_norm(i + 1), dropout);
    if (ends) return added.second;
    y = std::move(added.first);
    normed = std::move(added.second);
  }
}

}  // namespace attune
