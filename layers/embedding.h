#pragma once

#include <cstdint>
#include <optional>

#include "layers/init.h"
#include "layers/module.h"

namespace attune {

struct EmbeddingOptions {
  int64_t padding_index = -1;                      ///< its row is zero at first and gets no gradient; -1: none
  bool scale = false;                              ///< multiply by sqrt(dim) (Vaswani et al., 2017, section 3.4)
  std::optional<init::Initializer> weight_init{};  ///< otherwise as Embedding says
};

/// ids int64 [...] -> [..., dim]: rows of a table.
/// Parameter: weight [count, dim], normal; its stddev is 1, or 1 / sqrt(dim) with `scale`, so that what comes out has
/// variance 1.
class Embedding : public Module {
 public:
  /// Throws ValueError for extents below 1 and a padding index outside the table.
  Embedding(int64_t count, int64_t dim, EmbeddingOptions options = {});
  /// On a parameter that is there already, [count, dim]: one table for several uses. It is left as it is.
  explicit Embedding(const Variable& weight, EmbeddingOptions options = {});

  /// Throws ValueError for an id outside the table.
  Variable operator()(const Tensor& ids) const;

  const Variable& weight() const { return weight_; }

 private:
  EmbeddingOptions options_;
  double factor_;
  Variable weight_;
};

}  // namespace attune
