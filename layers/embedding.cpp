#include "layers/embedding.h"

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {

Embedding::Embedding(int64_t count, int64_t dim, EmbeddingOptions options)
    : options_(options), factor_(options.scale ? std::sqrt(static_cast<double>(dim)) : 1) {
  require<ValueError>(count > 0 && dim > 0, "Embedding: table of {} x {} given, expected at least 1 each", count, dim);
  require<ValueError>(options.padding_index >= -1 && options.padding_index < count,
                      "Embedding: padding index {} given, expected -1 (none) or 0 ... {}", options.padding_index,
                      count - 1);
  Tensor initial = init::normal({count, dim}, 0, 1 / factor_);
  if (options.padding_index >= 0) initial.select(0, options.padding_index).zero_();
  weight_ = parameter("weight", std::move(initial));
}

Variable Embedding::operator()(const Tensor& ids) const {
  return embedding(weight_, ids, options_.padding_index, factor_);
}

}  // namespace attune
