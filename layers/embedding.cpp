#include "layers/embedding.h"

#include <cmath>
#include <utility>

#include "autograd/ops/ops.h"
#include "framework/fail.h"

namespace attune {
namespace {

double factor(int64_t dim, const EmbeddingOptions& options) {
  return options.scale ? std::sqrt(static_cast<double>(dim)) : 1;
}

void check(int64_t count, const EmbeddingOptions& options) {
  require<ValueError>(options.padding_index >= -1 && options.padding_index < count,
                      "Embedding: padding index {} given, expected -1 (none) or 0 ... {}", options.padding_index,
                      count - 1);
}

}  // namespace

Embedding::Embedding(int64_t count, int64_t dim, EmbeddingOptions options)
    : options_(std::move(options)), factor_(factor(dim, options_)) {
  require<ValueError>(count > 0 && dim > 0, "Embedding: table of {} x {} given, expected at least 1 each", count, dim);
  check(count, options_);
  Tensor initial = init::make(options_.weight_init.value_or(init::Normal{.stddev = 1 / factor_}), {count, dim});
  if (options_.padding_index >= 0) initial.select(0, options_.padding_index).zero_();
  weight_ = parameter("weight", std::move(initial));
}

Embedding::Embedding(const Variable& weight, EmbeddingOptions options) : options_(std::move(options)) {
  require<ShapeError>(weight.rank() == 2, "Embedding: the table is {}, expected [count, dim]", weight.shape());
  check(weight.dim(0), options_);
  factor_ = factor(weight.dim(1), options_);
  weight_ = share("weight", weight);
}

Variable Embedding::operator()(const Tensor& ids) const {
  return result(in_precision(embedding(weight_, ids, options_.padding_index, factor_)));
}

}  // namespace attune
